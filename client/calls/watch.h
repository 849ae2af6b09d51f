/*
 * Waiting for a set of futures at a cost of O(1) for each that finishes: the set has a watch in each future's list,
 * and whoever finishes a future goes through that list. Lists are guarded by their pool's watch_mutex, which nobody
 * takes for a future that is not watched.
 */
#ifndef NP_WATCH_H
#define NP_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/event.h"
#include "client/netpool.h"

struct watch_set;

struct watch {
    netpool_future *future; /* may be gone once it has finished */
    struct netpool *pool;   /* of the future; retained */
    struct watch_set *set;
    struct watch *next; /* in the future's list, while is_listed */
    struct watch *previous;
    bool is_listed;
    struct watch *next_finished; /* in watch_set.finished; then the set's owner's */
};

/* The watches of one future. Zero-initialized is empty. */
struct watch_list {
    _Atomic(struct watch *) first;
};

struct watch_set {
    struct netpool *pool; /* of all futures; NULL: of several pools */
    enum netpool_wait_for condition;
    bool wants_each;      /* not only the condition */
    struct event changed; /* signalled when what is wanted has happened */
    _Atomic size_t unfinished;
    atomic_bool has_failure;          /* among the finished ones */
    _Atomic(struct watch *) finished; /* last one first */
    size_t count;
    struct watch watches[]; /* in the order of the array */
};

/* Do `finished` of `count` futures make the condition true? */
bool watch_is_reached(enum netpool_wait_for condition, size_t count, size_t finished, bool has_failure);

/* The words for an array that holds what cannot be waited for: NETPOOL_INVALID, NETPOOL_FORKED. */
NETPOOL_MUST_CHECK netpool_status watch_check(netpool_future *const *futures, size_t count, const char *call);

/* Watches all of a checked array until watch_set_free. A future that is freed meanwhile finishes, cancelled, and is
 * not looked at afterwards. NULL: out of memory. */
struct watch_set *watch_set_new(netpool_future *const *futures, size_t count, enum netpool_wait_for condition,
                                bool wants_each);

/* No watch of it is in any list afterwards, and nobody who finishes a future still looks at it. */
void watch_set_free(struct watch_set *set);

/* Waits until `changed` is past the ticket; false: the deadline has passed. The thread may lead the engine of the
 * only pool. */
bool watch_set_wait(struct watch_set *set, uint32_t ticket, int64_t deadline);

/* The future has finished: future_is_done says so already. On its pool's leader. */
void watch_future_finished(netpool_future *future);

#endif
