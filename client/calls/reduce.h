/*
 * A reduction on its way. The engine's leader hands out leaves while a bounded number of steps is on its way, and
 * each combination as soon as its parts are there. The inputs are the caller's own array, and the caller waits for
 * `done`.
 */
#ifndef NP_REDUCE_H
#define NP_REDUCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/calls/chunk_size.h"
#include "client/calls/map_watch.h"
#include "client/calls/reduce_tree.h"
#include "client/pool.h"

struct reduction;

/* What the array form and the form for values of any size do not share. */
struct reduce_operations {
    /* The input of a leaf: borrowed from the caller's array, or a new block, then *owned is it. NETPOOL_NO_MEMORY;
     * NETPOOL_TOO_LARGE with reduction->reason. */
    netpool_status (*leaf)(struct reduction *reduction, size_t first, size_t count, netpool_bytes *input,
                           void **owned);
    /* The input of a combination, a new block. */
    netpool_status (*join)(struct reduction *reduction, const struct reduce_group *group, netpool_bytes *input);
    /* Is this a partial result? Anything but NETPOOL_OK fails the reduction; reduction->reason says why. */
    netpool_status (*check)(struct reduction *reduction, const struct np_outcome *outcome);
};

struct reduction {
    /* set by the caller */
    const struct reduce_operations *operations;
    struct netpool *pool;
    struct np_task_kind leaf_kind;
    struct np_task_kind combine_kind;
    uint64_t lane;          /* of all steps; 0: none */
    bool has_leaf_function; /* without, a leaf of one input is that input */
    const void *in;
    size_t in_size; /* bytes of an input; 0: inputs of any size */
    size_t out_size;
    struct reduce_tree tree;
    struct chunk_size size; /* how many leaves are on their way */
    struct map_watch watch;
    struct np_profile *profile; /* NULL: nobody asks */

    /* once `done` is past 0 */
    netpool_status status;
    netpool_failure failure; /* of the first failed step that is known; item: its first input */
    struct reduce_node failed;
    netpool_bytes result; /* a block, owned by the caller, if status is NETPOOL_OK */

    /* private */
    struct event done;
    struct engine_request start_request;
    bool has_result;
    uint64_t next;     /* leaf not handed out */
    uint64_t finished; /* inputs that have been through their leaves */
    unsigned holds;    /* calls that still look at it: it is not over before */
    size_t in_flight;  /* steps */
    size_t in_flight_bytes;
    struct np_list active; /* step.node */
    struct np_list idle;   /* step.node, to be used again */
    char reason[160];
};

/* Runs it and waits for its end. Returns reduction->status. */
netpool_status reduce_run(struct reduction *reduction);

#endif
