/*
 * A fleet: the connected workers with exactly the same functions, labels and number of slots, the ready ones with
 * room in a heap, least loaded first. Most pools have a few fleets, so a worker's change of load touches one heap,
 * whatever it offers.
 */
#ifndef CORE_FLEET_H
#define CORE_FLEET_H

#include <stddef.h>
#include <stdint.h>

#include "broker/core/function.h"
#include "broker/core/label.h"
#include "broker/core/worker.h"
#include "netpool.pb-c.h"

/* A worker as it stands in the heap: by the load that it had when it was last put into its place. */
struct fleet_place {
    uint64_t units;
    struct worker *worker;
};

struct fleet {
    struct np_list node;         /* in core.fleets */
    struct function **functions; /* ascending by address, no doubles */
    size_t function_count;
    struct labels labels;     /* ascending */
    unsigned slots;           /* of each of its workers */
    struct fleet_place *heap; /* ready and not full */
    size_t heap_count;
    size_t heap_capacity; /* >= members, so that joining the heap cannot fail */
    size_t members;       /* connected workers, in any state */
};

/* Finds or makes the fleet for what a worker says of itself, and adds a member. NULL when out of memory. */
struct fleet *fleet_join(struct np_list *fleets, struct functions *functions, const Np__Hello *hello, unsigned slots);

/* The worker must not be in the heap. Frees the fleet with its last member. */
void fleet_leave(struct fleet *fleet, struct functions *functions);

static inline struct worker *fleet_least_loaded(const struct fleet *fleet)
{
    return fleet->heap_count > 0 ? fleet->heap[0].worker : NULL;
}

/* The least loaded one beside that, which stands first; NULL: none. */
struct worker *fleet_second(const struct fleet *fleet);

bool fleet_has(const struct fleet *fleet, const struct function *function);

void fleet_heap_insert(struct fleet *fleet, struct worker *worker);
void fleet_heap_remove(struct fleet *fleet, struct worker *worker);
/* The worker's load has changed. */
void fleet_heap_update(struct fleet *fleet, struct worker *worker);

#endif
