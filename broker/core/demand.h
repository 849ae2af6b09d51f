/*
 * Demands: what tasks ask of a worker - a function, labels, slots -, interned. A demand knows the fleets that meet it
 * and the queues that wait for their workers, least served client first.
 */
#ifndef CORE_DEMAND_H
#define CORE_DEMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/function.h"
#include "broker/core/label.h"
#include "common/list.h"

struct core;
struct queue;
struct worker;

#define BLOCK_BYTES 16  /* that the heap adds to a block */
#define ENTRY_BYTES 171 /* of a table, a key of its own, 3/8 full */

struct demand {
    struct demand *next; /* of the same hash */
    uint64_t hash;
    unsigned references;          /* queues, and the reservation */
    uint32_t id;                  /* unique among the demands alive */
    struct function *function;    /* one reference */
    struct np_list function_node; /* in function.demands */
    struct labels labels;         /* required */
    uint32_t slots;               /* that each task takes up, from 1 */
    struct fleet_set fleets;      /* those whose workers could run its tasks */
    struct queue **heap;          /* queues that want to run, least served client first */
    size_t heap_count;
    size_t heap_capacity; /* >= queue_count, so that joining the heap cannot fail */
    size_t queue_count;
    struct np_list wanted_node;   /* in functions.wanted */
    struct np_list reserved_node; /* in functions.reserved while there is ... */
    struct worker *reserved;      /* a worker that is given nothing else until a task of this demand fits it */
    uint64_t counted;             /* scratch of a status: tasks of one client */
};

/* Finds or makes it, with one reference more. The labels must ascend. NULL when out of memory. */
struct demand *demand_take(struct functions *functions, const char *function, char *const *labels, size_t label_count,
                           uint32_t slots);
void demand_release(struct functions *functions, struct demand *demand);

/* What it and its function keep in memory, nearly, beside the list of its fleets. */
size_t demand_bytes(const struct demand *demand);

/* Could a worker of that fleet, which has the function, ever run it? */
bool demand_is_met_by(const struct demand *demand, const struct fleet *fleet);

/* Room for it must have been reserved. */
void demand_add_fleet(struct functions *functions, struct demand *demand, struct fleet *fleet);
void demand_remove_fleet(struct functions *functions, struct demand *demand, struct fleet *fleet);

/* A ready worker with room: for tasks of one slot the least loaded one, for wider ones the one with most slots free,
 * which need not be enough (worker_has_slots). While a worker is reserved: one where it fits. NULL: none now. */
struct worker *demand_worker(const struct demand *demand);
/* The least loaded one beside that, for tasks of one slot; NULL: none. */
struct worker *demand_other_worker(const struct demand *demand, const struct worker *worker);

/* The queue of the client with the least service; NULL when none wants to run. */
struct queue *demand_first_queue(struct demand *demand);

/* One queue more may want to run. */
NETPOOL_MUST_CHECK netpool_status demand_add_queue(struct demand *demand);
void demand_insert(struct functions *functions, struct demand *demand, struct queue *queue);
void demand_remove(struct functions *functions, struct demand *demand, struct queue *queue);

/* The worker is kept free for it, or not any more. */
void demand_reserve(struct core *core, struct demand *demand, struct worker *worker);
void demand_unreserve(struct core *core, struct demand *demand);

#endif
