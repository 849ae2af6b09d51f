/*
 * Functions: names that tasks ask for and workers offer, interned, so that the rest of the core compares pointers. A
 * function also carries what was measured of its tasks, the fleets that offer it and the demands that name it.
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

/* One slot is worth this many units of work ahead, which stand for FUNCTION_AHEAD_NS of estimated computing. A task
 * costs between 1 unit (so at most 1,024 a slot) and all of them (so nothing is prefetched behind a long task). */
#define FUNCTION_SLOT_UNITS 1024U
#define FUNCTION_AHEAD_NS 4000000U

/* Fleets, in no particular order. */
struct fleet_set {
    struct fleet **items;
    size_t count;
    size_t capacity;
};

struct function {
    struct function *next; /* of the same hash */
    uint64_t hash;
    unsigned references; /* demands, and fleets */
    uint32_t id;         /* unique among the functions alive */
    bool measured;
    uint64_t estimate_ns;    /* moving average of the computing time of its tasks */
    uint16_t units;          /* that estimate as a share of a slot: 1 to FUNCTION_SLOT_UNITS */
    uint64_t queued;         /* tasks */
    struct fleet_set fleets; /* those that offer it: it is known to a connected worker when there is one */
    struct np_list demands;  /* for it */
    char name[];
};

struct functions {
    struct np_table by_hash;
    struct np_table demands; /* by their hash, chained */
    struct np_list wanted;   /* demands for which queues and fleets are there */
    struct np_list reserved; /* demands for which a worker is kept free */
    uint64_t seed;           /* of the hashes, so that a client cannot aim for collisions */
    uint32_t next_id;        /* of functions and demands */
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

/* The fleet serves the function, and those of its demands that it meets. Fails with nothing changed. */
NETPOOL_MUST_CHECK netpool_status function_add_fleet(struct functions *functions, struct function *function,
                                                     struct fleet *fleet);
void function_remove_fleet(struct functions *functions, struct function *function, struct fleet *fleet);

/* Room for one more, so that adding it cannot fail. */
NETPOOL_MUST_CHECK netpool_status fleet_set_reserve(struct fleet_set *set);
void fleet_set_add(struct fleet_set *set, struct fleet *fleet);
/* False: it was not there. */
bool fleet_set_remove(struct fleet_set *set, const struct fleet *fleet);

/* FNV-1a over a text, continued from `hash`; and the end of such a hash. */
uint64_t function_hash_text(uint64_t hash, const char *text);
uint64_t function_hash_end(uint64_t hash);

#endif
