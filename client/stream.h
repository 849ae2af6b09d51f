/*
 * Streams. One thread puts (stream.c), one takes (stream_take.c), and the engine's leader stands between them:
 *
 *     put --request--> leader --finished--> `done` (a stack that anybody pushes and the taker empties) --> taker
 *
 * What the taker alone owns needs no lock: `ring` holds the finished items by index until it is their turn.
 */
#ifndef NP_STREAM_H
#define NP_STREAM_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/pool.h"
#include "client/reply.h"

struct item {
    struct np_task task;
    struct engine_request request;
    struct netpool_stream *stream;
    struct item *next;   /* in `done` */
    struct np_list node; /* in stream->active; the leader's */
    uint64_t index;
    struct reply reply;
    void *block; /* a large input; NULL: it lies in `input` */
    alignas(16) uint8_t input[];
};

struct netpool_stream {
    struct netpool *pool;
    struct np_list node; /* in pool->streams */
    struct np_task_kind kind;
    uint64_t lane; /* of all items; 0: none */
    bool is_unordered;
    size_t in_flight_max;
    size_t bytes_max;
    atomic_uint references; /* the user's, and one for each item the engine has */
    atomic_bool is_closed;  /* nobody takes any more */
    atomic_bool is_ended;
    _Atomic uint64_t put_count; /* items put; written by the putter */
    _Atomic size_t in_flight;
    _Atomic size_t bytes;
    _Atomic(struct item *) done; /* last one first */
    _Atomic uint64_t wanted;     /* the index that the taker waits for, if ordered */
    struct event taken;          /* there may be room */
    struct event finished;       /* there may be a result */
    struct np_profile profile;
    struct engine_request cancel_request;
    struct np_list active; /* the leader's */

    /* the taker's */
    struct item **ring; /* by index & mask; unordered: a queue from `next` to `queued` */
    uint64_t mask;
    uint64_t next;   /* ordered: index of the next result; else: next place in the queue */
    uint64_t queued; /* unordered: end of the queue */
    uint64_t taken_count;
    struct item *borrowed; /* whose result the user looks at */
};

/* With its result. */
void stream_free_item(struct item *item);

#endif
