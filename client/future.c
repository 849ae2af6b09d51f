/* Futures: single tasks that somebody waits for. */
#include <stdlib.h>
#include <string.h>

#include "client/last_error.h"
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
    pool_book(pool, NULL, task, outcome, 1);
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
        dialogue_cancel(dialogue, &future->task, NP_CANCEL_ALWAYS, now);
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

static netpool_status check_submit(struct netpool *pool, netpool_bytes input, struct netpool_future **out,
                                   netpool_error *error)
{
    netpool_status status = pool_check_submit(pool, error);
    if (status == NETPOOL_OK && out == NULL) {
        status = np_error_set(error, NETPOOL_INVALID, "out is NULL");
    }
    return status == NETPOOL_OK ? task_check_input(input, pool->settings.max_payload, error) : status;
}

static netpool_status submit(netpool *pool, const char *function, netpool_bytes input,
                             const netpool_task_options *options, netpool_future **out, netpool_error *error)
{
    struct np_task_kind kind;
    uint64_t lane;
    netpool_status status = check_submit(pool, input, out, error);
    if (status == NETPOOL_OK) {
        status = pool_describe(pool, function, options, &kind, &lane, error);
    }
    if (status == NETPOOL_OK) {
        status = take_room(pool, input.size);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    struct netpool_future *future = new_future(pool, input);
    if (future == NULL) {
        give_room(pool, input.size);
        return NETPOOL_NO_MEMORY;
    }
    future->kind = kind;
    future->task.lane = lane;
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

netpool_status netpool_submit(netpool *pool, const char *function, netpool_bytes input,
                              const netpool_task_options *options, netpool_future **out)
{
    netpool_error error;
    error.message[0] = '\0'; /* the rest costs time, and nobody looks at it */
    if (out != NULL) {
        *out = NULL;
    }
    return last_error_from(submit(pool, function, input, options, out, &error), __func__, &error);
}

/* The words for a call that found no future, or one of another process. */
static netpool_status check_future(const struct netpool_future *future, const char *call)
{
    if (future == NULL) {
        return last_error_set(NETPOOL_INVALID, call, "future is NULL");
    }
    return fork_guard_is_child(&future->pool->guard) ? last_error_status(NETPOOL_FORKED, call) : NETPOOL_OK;
}

netpool_status netpool_wait(netpool_future *future, int timeout_ms, netpool_result *result)
{
    netpool_status status = check_future(future, __func__);
    if (status != NETPOOL_OK) {
        return status;
    }
    if (!is_done(future) && !engine_wait(future->pool->engine, &future->done, 0, pool_deadline(timeout_ms), true)) {
        return last_error_status(NETPOOL_TIMEOUT, __func__);
    }
    const netpool_result *reply = &future->reply.result;
    if (result != NULL) {
        *result = *reply;
    }
    if (reply->failure != NULL) {
        return last_error_set(reply->status, __func__, "%s: %s", future->kind.function, reply->failure->message);
    }
    return last_error_status(reply->status, __func__);
}

netpool_status netpool_cancel(netpool_future *future)
{
    netpool_status status = check_future(future, __func__);
    if (status != NETPOOL_OK) {
        return status;
    }
    if (is_done(future)) {
        return last_error_set(NETPOOL_CLOSED, __func__, "the task was finished already");
    }
    if (atomic_exchange(&future->is_cancel_posted, true)) {
        return NETPOOL_OK;
    }
    atomic_fetch_add(&future->references, 1);
    if (!engine_post(future->pool->engine, &future->cancel_request)) {
        release(future);
        return last_error_set(NETPOOL_CLOSED, __func__, "the pool was closed");
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
