/* A future from inside: future.c, and what waits for sets of futures. */
#ifndef NP_FUTURE_H
#define NP_FUTURE_H

#include "client/calls/callback.h"
#include "client/calls/reply.h"
#include "client/calls/watch.h"
#include "client/dialogue/task.h"
#include "client/pool.h"

struct netpool_future {
    struct spare spare; /* in pool->futures */
    struct np_task task;
    struct netpool *pool;
    struct engine_request submit_request;
    struct engine_request cancel_request;
    atomic_uint references; /* the user's; the engine's, which becomes the callback's; a cancellation's on its way */
    _Atomic(enum np_cancel) cancel_asked;
    atomic_bool is_cancel_posted;
    struct event done; /* past 0: finished, `reply` is filled */
    struct watch_list watchers;
    struct reply reply;

    netpool_callback *on_done; /* NULL: none */
    void *context;             /* of on_done */
    struct callback callback;
    bool is_nobodys; /* submitted without `out`: freed after its call, unless that has done so */

    void *input;              /* owned; NULL: inline */
    size_t capacity;          /* bytes of inline_input */
    struct np_task_kind kind; /* of the task, if it has options */
    uint8_t inline_input[];
};

static inline bool future_is_done(struct netpool_future *future)
{
    return event_is_past(&future->done, 0);
}

#endif
