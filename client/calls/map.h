/*
 * A map on its way: chunks of its items, made one after the other by the engine's leader as earlier ones come back,
 * so that a bounded number is in flight. Their inputs are the caller's own array. The caller waits for `done`.
 */
#ifndef NP_MAP_H
#define NP_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/calls/chunk_size.h"
#include "client/calls/map_watch.h"
#include "client/pool.h"

struct map;

/* Where items come from and results go. */
struct map_operations {
    /* The bytes of `count` items from `first` on. */
    netpool_bytes (*input)(const struct map *map, size_t first, size_t count);
    /* Keeps the results of a chunk. Anything but NETPOOL_OK fails the map; *reason then says why. */
    netpool_status (*keep)(struct map *map, size_t first, size_t count, const struct np_outcome *outcome,
                           const char **reason);
};

struct map {
    /* set by the caller */
    const struct map_operations *operations;
    struct netpool *pool;
    struct np_task_kind kind;
    uint64_t lane; /* of all chunks; 0: none */
    size_t count;  /* items, > 0 */
    const void *in;
    void *out;
    size_t in_size; /* bytes of an item; 0: items of any size */
    size_t out_size;
    struct chunk_size size;
    struct map_watch watch;
    struct np_profile *profile; /* NULL: nobody asks */

    /* once `done` is past 0 */
    netpool_status status;
    netpool_failure failure; /* of the first failed item that is known */

    /* private */
    struct event done;
    struct engine_request start_request;
    unsigned holds;   /* calls that still look at it: it is not over before */
    size_t next;      /* first item not handed out */
    size_t finished;  /* items */
    size_t in_flight; /* chunks */
    size_t in_flight_bytes;
    struct np_list active; /* chunk.node */
    struct np_list idle;   /* chunk.node, to be used again */
};

/* Runs it and waits for its end. Returns map->status. */
netpool_status map_run(struct map *map);

#endif
