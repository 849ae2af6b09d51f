/*
 * Functions: names that tasks ask for and workers offer, interned, so that the rest of the core compares pointers. A
 * function also carries what was measured of its tasks, the fleets that offer it and the queues that wait for it.
 */
#ifndef CORE_FUNCTION_H
#define CORE_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/list.h"
#include "common/netpool_status.h"
#include "common/random.h"
#include "common/table.h"

struct fleet;
struct queue;
struct worker;

/* One slot is worth this many units of work ahead, which stand for FUNCTION_AHEAD_NS of estimated computing. A task
 * costs between 1 unit (so at most 1,024 a slot) and all of them (so nothing is prefetched behind a long task). */
#define FUNCTION_SLOT_UNITS 1024U
#define FUNCTION_AHEAD_NS 4000000U

struct function {
    struct function *next; /* of the same hash */
    uint64_t hash;
    unsigned references; /* queues, and fleets */
    uint32_t id;         /* unique among the functions alive */
    bool measured;
    uint64_t estimate_ns;  /* moving average of the computing time of its tasks */
    uint16_t units;        /* that estimate as a share of a slot: 1 to FUNCTION_SLOT_UNITS */
    uint64_t queued;       /* tasks in its queues */
    struct fleet **fleets; /* those that offer it: it is known to a connected worker when there is one */
    size_t fleet_count;
    size_t fleet_capacity;
    struct queue **demand; /* heap of the queues that want to run, least served client first */
    size_t demand_count;
    size_t demand_capacity; /* >= queue_count, so that joining the heap cannot fail */
    size_t queue_count;
    struct np_list node; /* in functions.wanted while demand_count > 0 */
    char name[];
};

struct functions {
    struct np_table by_hash;
    struct np_list wanted;
    uint64_t seed; /* of the hash, so that a client cannot aim for collisions */
    uint32_t next_id;
    struct np_random random; /* which queues are express ones */
};

void functions_init(struct functions *functions, uint64_t seed);
/* All must have been released. */
void functions_fini(struct functions *functions);

/* Finds or makes it, with one reference more. NULL when out of memory. */
struct function *functions_take(struct functions *functions, const char *name);

struct function *functions_find(const struct functions *functions, const char *name);

/* Gives one reference back; frees with the last. */
void functions_release(struct functions *functions, struct function *function);

/* A task of it took so long. */
void function_measure(struct function *function, uint64_t compute_ns);

NETPOOL_MUST_CHECK netpool_status function_add_fleet(struct function *function, struct fleet *fleet);
void function_remove_fleet(struct function *function, struct fleet *fleet);

/* The least loaded ready worker that has the function and room; NULL: none now. */
struct worker *function_worker(const struct function *function);

/* The queue of the client with the least service; NULL when none wants to run. */
struct queue *function_first_queue(struct function *function);

NETPOOL_MUST_CHECK netpool_status function_add_queue(struct function *function);
void function_demand_insert(struct functions *functions, struct function *function, struct queue *queue);
void function_demand_remove(struct function *function, struct queue *queue);

#endif
