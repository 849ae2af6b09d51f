/* Futures: single tasks that somebody waits for. */
#include <stdlib.h>
#include <string.h>

#include "client/pool.h"
#include "client/reply.h"
#include "common/clock.h"
#include "common/error.h"

/* What one program may have submitted and not finished; netpool_submit waits at either. */
#define HELD_TASKS_MAX (UINT64_C(2) << 20)
#define HELD_BYTES_MAX (UINT64_C(512) << 20)
/* Inputs above this are freed as soon as the task is finished. */
#define INPUT_INLINE_MAX 1024

struct netpool_future {
    struct np_task task;
    struct np_task_kind kind;
    struct netpool *pool;
    struct engine_request submit_request;
    struct engine_request cancel_request;
    atomic_uint references; /* the user's, the engine's, and one of a cancellation on its way */
    atomic_bool is_cancel_posted;
    struct event done; /* past 0: finished, `reply` is filled */
    struct reply reply;
    void *input; /* owned; NULL: inline */
    uint8_t inline_input[];
};

static bool is_done(struct netpool_future *future)
{
    return event_is_past(&future->done, 0);
}

static void release(struct netpool_future *future)
{
    if (atomic_fetch_sub(&future->references, 1) > 1) {
        return;
    }
    struct netpool *pool = future->pool;
    free(future->input);
    reply_fini(&future->reply);
    free(future);
    pool_release(pool);
}

static void give_room(struct netpool *pool, size_t size)
{
    atomic_fetch_sub(&pool->held_tasks, 1);
    atomic_fetch_sub(&pool->held_bytes, size);
    if (atomic_load(&pool->room_waiters) > 0) {
        event_signal(&pool->room);
    }
}

static bool has_room(struct netpool *pool, size_t size)
{
    uint64_t tasks = atomic_load(&pool->held_tasks);
    return tasks == 0 || (tasks < HELD_TASKS_MAX && atomic_load(&pool->held_bytes) + size <= HELD_BYTES_MAX);
}

/* Some threads may pass at once; the limit is soft by as many tasks. */
static netpool_status take_room(struct netpool *pool, size_t size)
{
    while (!has_room(pool, size)) {
        uint32_t ticket = event_ticket(&pool->room);
        atomic_fetch_add(&pool->room_waiters, 1);
        if (!has_room(pool, size) && !atomic_load(&pool->is_closing)) {
            (void)engine_wait(pool->engine, &pool->room, ticket, NP_NEVER, true);
        }
        atomic_fetch_sub(&pool->room_waiters, 1);
        if (atomic_load(&pool->is_closing)) {
            return NETPOOL_CLOSED;
        }
    }
    atomic_fetch_add(&pool->held_tasks, 1);
    atomic_fetch_add(&pool->held_bytes, size);
    return NETPOOL_OK;
}

static void task_finished(struct np_task *task, const struct np_outcome *outcome)
{
    struct netpool_future *future = NP_CONTAINER(task, struct netpool_future, task);
    struct netpool *pool = future->pool;
    reply_keep(&future->reply, pool, task, outcome);
    give_room(pool, task->input_size);
    free(future->input);
    future->input = NULL;
    event_signal(&future->done);
    release(future);
}

static void run_submit(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    struct netpool_future *future = NP_CONTAINER(request, struct netpool_future, submit_request);
    /* Submitted when netpool_submit was called, as far as its times are concerned. */
    int64_t submitted = future->task.submitted;
    dialogue_submit(dialogue, &future->task, submitted < now ? submitted : now);
}

static void run_cancel(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    struct netpool_future *future = NP_CONTAINER(request, struct netpool_future, cancel_request);
    if (!is_done(future)) {
        dialogue_cancel(dialogue, &future->task, now);
    }
    release(future);
}

static struct netpool_future *new_future(struct netpool *pool, netpool_bytes input)
{
    size_t inline_size = input.size <= INPUT_INLINE_MAX ? input.size : 0;
    struct netpool_future *future = malloc(sizeof *future + inline_size);
    if (future == NULL) {
        return NULL;
    }
    memset(future, 0, sizeof *future);
    future->task.input = future->inline_input;
    if (inline_size < input.size) {
        future->input = malloc(input.size);
        if (future->input == NULL) {
            free(future);
            return NULL;
        }
        future->task.input = future->input;
    }
    if (input.size > 0) {
        memcpy((void *)(uintptr_t)future->task.input, input.data, input.size);
    }
    future->task.input_size = input.size;
    future->task.kind = &future->kind;
    future->task.finished = task_finished;
    future->pool = pool;
    future->submit_request.run = run_submit;
    future->cancel_request.run = run_cancel;
    atomic_store(&future->references, 2);
    return future;
}

static netpool_status check_submit(struct netpool *pool, const char *function, netpool_bytes input,
                                   struct netpool_future **out)
{
    netpool_status status = pool_check_submit(pool, NULL);
    if (status == NETPOOL_OK) {
        status = options_check_function(function, NULL);
    }
    if (status == NETPOOL_OK && (out == NULL || (input.data == NULL && input.size > 0))) {
        status = NETPOOL_INVALID;
    }
    if (status == NETPOOL_OK && input.size > pool->settings.max_payload) {
        status = NETPOOL_TOO_LARGE;
    }
    return status;
}

netpool_status netpool_submit(netpool *pool, const char *function, netpool_bytes input,
                              const netpool_task_options *options, netpool_future **out)
{
    if (out != NULL) {
        *out = NULL;
    }
    struct np_task_kind kind;
    netpool_status status = check_submit(pool, function, input, out);
    if (status == NETPOOL_OK) {
        status = options_of_task(&kind, options, NULL);
    }
    if (status == NETPOOL_OK) {
        status = take_room(pool, input.size);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    kind.function = names_keep(&pool->names, function);
    struct netpool_future *future = kind.function != NULL ? new_future(pool, input) : NULL;
    if (future == NULL) {
        give_room(pool, input.size);
        return NETPOOL_NO_MEMORY;
    }
    future->kind = kind;
    future->task.submitted = np_clock_now();
    pool_retain(pool);
    if (!engine_post(pool->engine, &future->submit_request)) {
        give_room(pool, input.size);
        atomic_store(&future->references, 1);
        release(future);
        return NETPOOL_CLOSED;
    }
    *out = future;
    return NETPOOL_OK;
}

netpool_status netpool_wait(netpool_future *future, int timeout_ms, netpool_result *result)
{
    if (future == NULL) {
        return NETPOOL_INVALID;
    }
    if (fork_guard_is_child(&future->pool->guard)) {
        return NETPOOL_FORKED;
    }
    if (!is_done(future) && !engine_wait(future->pool->engine, &future->done, 0, pool_deadline(timeout_ms), true)) {
        return NETPOOL_TIMEOUT;
    }
    if (result != NULL) {
        *result = future->reply.result;
    }
    return future->reply.result.status;
}

netpool_status netpool_cancel(netpool_future *future)
{
    if (future == NULL) {
        return NETPOOL_INVALID;
    }
    if (fork_guard_is_child(&future->pool->guard)) {
        return NETPOOL_FORKED;
    }
    if (is_done(future)) {
        return NETPOOL_CLOSED;
    }
    if (atomic_exchange(&future->is_cancel_posted, true)) {
        return NETPOOL_OK;
    }
    atomic_fetch_add(&future->references, 1);
    if (!engine_post(future->pool->engine, &future->cancel_request)) {
        release(future);
        return NETPOOL_CLOSED;
    }
    return NETPOOL_OK;
}

void netpool_future_free(netpool_future **future_at)
{
    struct netpool_future *future = future_at != NULL ? *future_at : NULL;
    if (future == NULL) {
        return;
    }
    *future_at = NULL;
    if (fork_guard_is_child(&future->pool->guard)) {
        atomic_store(&future->references, 1); /* the engine that holds the others does not run here */
    } else if (!is_done(future)) {
        (void)netpool_cancel(future);
    }
    release(future);
}
