/*
 * Streams. One thread puts (stream.c), one takes (stream_take.c), and the engine's leader stands between them:
 *
 *     put --request--> leader --batch--> `done` (a stack that the leader pushes and the taker empties) --> taker
 *      ^                                                                                                     |
 *      +----------------------- `spares` (items used again, stream_items.c) ---------------------------------+
 *
 * What one side alone writes needs no locked instructions: counts go up on one side each, and the leader hands over
 * what finishes in one turn at once. `ring` holds the finished items by index until it is their turn.
 */
#ifndef NP_STREAM_H
#define NP_STREAM_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/calls/reply.h"
#include "client/calls/spares.h"
#include "client/pool.h"

struct item {
    struct spare spare; /* in the stream's `spares` or `unused` */
    struct np_task task;
    struct engine_request request;
    struct netpool_stream *stream;
    struct item *next;   /* in a batch or in `done` */
    struct np_list node; /* in stream->active; the leader's */
    uint64_t index;
    struct reply reply;
    void *block;     /* a large input; NULL: it lies in `input` */
    size_t capacity; /* bytes of `input` */
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
    uint64_t mask;         /* of `ring` */
    atomic_bool is_closed; /* nobody takes any more */
    atomic_bool is_ended;
    _Atomic int64_t owed; /* less by one for each thing that the engine gives back; closing adds what it was given:
                             who makes it 0 then, frees */
    _Atomic(struct item *) done; /* last one first */
    struct spares spares;        /* items to be used again */
    _Atomic bool wants_room;     /* the putter waits, or is about to */
    _Atomic uint64_t wanted;     /* the index that the taker waits for, if ordered */
    struct event taken;          /* there may be room */
    struct event finished;       /* there may be a result */
    struct np_profile profile;
    struct engine_request cancel_request;

    /* the putter's; others read the counts */
    alignas(64) _Atomic uint64_t put_count;
    _Atomic uint64_t put_bytes;
    struct spare *unused; /* items that were in `spares` */

    /* the taker's; others read the counts. `taken_count` is the place in `ring` to look at next. */
    alignas(64) _Atomic uint64_t taken_count;
    _Atomic uint64_t taken_bytes;
    struct item **ring; /* by index & mask; unordered: a queue from `taken_count` to `queued` */
    uint64_t queued;
    struct item *borrowed; /* whose result the user looks at */

    /* the leader's */
    alignas(64) struct np_list active;
    struct engine_notice notice; /* `batch` is to be handed over */
    struct item *batch;          /* finished in this turn, last one first */
    struct item *batch_last;
    struct profile_sums batch_sums;
    size_t batch_count;    /* with those that nobody takes any more */
    uint64_t batch_lowest; /* index */
    uint64_t batch_highest;
};

/* With room for so many bytes of input, all of the task but input, size and time filled in. NULL: out of memory. The
 * putter's. */
struct item *stream_new_item(struct netpool_stream *stream, size_t size);

/* The taker needs it no more: it is used again, or freed. */
void stream_return_item(struct netpool_stream *stream, struct item *item);

/* All that are kept for use. When the stream is closed. */
void stream_free_items(struct netpool_stream *stream);

/* A large input has done its duty. */
void stream_drop_block(struct item *item);

/* With its result. */
void stream_free_item(struct item *item);

/* np_task.finished of items (stream.c). */
void stream_item_finished(struct np_task *task, const struct np_outcome *outcome);

/* The engine_request of items (stream.c). */
void stream_run_submit(struct engine_request *request, struct dialogue *dialogue, int64_t now);

/* Nothing can be put any more. */
static inline bool stream_is_over(struct netpool_stream *stream)
{
    return atomic_load(&stream->is_ended) || atomic_load(&stream->pool->is_closing);
}

/* By the side that does not write it. */
static inline uint64_t stream_count(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_acquire);
}

/* By the only side that writes it. */
static inline void stream_add(_Atomic uint64_t *count, uint64_t more)
{
    uint64_t before = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, before + more, memory_order_release);
}

#endif
