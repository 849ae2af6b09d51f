/* Futures: single tasks that somebody waits for, or is called back for. */
#include <stdlib.h>
#include <string.h>

#include "client/calls/future.h"
#include "client/last_error.h"
#include "common/block.h"
#include "common/clock.h"
#include "common/error.h"

/* What one program may have submitted and not finished; netpool_submit waits at either. */
#define HELD_TASKS_MAX (UINT64_C(2) << 20)
#define HELD_BYTES_MAX (UINT64_C(512) << 20)
/* Copying fewer bytes takes no time worth two looks at the clock. */
#define COPY_TIMED_MIN ((size_t)64 << 10)
/* Inputs above this are freed as soon as the task is finished. */
#define INPUT_INLINE_MAX 1024
/* Any future has room for so many; the memory of those with more is not used again. */
#define INPUT_MIN 48

static void release(struct netpool_future *future)
{
    if (atomic_fetch_sub(&future->references, 1) > 1) {
        return;
    }
    struct netpool *pool = future->pool;
    np_block_free(future->input);
    reply_fini(&future->reply);
    if (future->capacity > INPUT_MIN || !spares_give(&pool->futures, &future->spare)) {
        free(future);
    }
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
    reply_keep(&future->reply, task, outcome);
    give_room(pool, task->input_size);
    np_block_free(future->input);
    future->input = NULL;
    event_signal(&future->done);
    watch_future_finished(future);
    if (future->on_done != NULL) {
        callbacks_post(&pool->callbacks, &future->callback);
    } else {
        release(future);
    }
}

static void run_callback(struct callback *callback)
{
    struct netpool_future *future = NP_CONTAINER(callback, struct netpool_future, callback);
    const struct netpool *pool = future->pool;
    future->on_done(future, &future->reply.result, future->context);
    if (np_fork_guard_is_child(&pool->guard)) {
        return; /* it has forked and returns in the child, too, where it may have freed the future for good */
    }
    if (future->is_nobodys) {
        netpool_future *own = future;
        netpool_future_free(&own);
    }
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
    atomic_store(&future->is_cancel_posted, false); /* what is asked from now on is posted anew */
    if (!future_is_done(future)) {
        dialogue_cancel(dialogue, &future->task, atomic_load(&future->cancel_asked), now);
    }
    release(future);
}

/* All but its kind is zero. */
static struct netpool_future *take_memory(struct netpool *pool, size_t size)
{
    size_t capacity = size > INPUT_MIN ? size : INPUT_MIN;
    struct spare *spare = size <= INPUT_MIN ? spares_take(&pool->futures) : NULL;
    struct netpool_future *future = (void *)spare;
    if (future == NULL) {
        future = malloc(sizeof *future + capacity);
    }
    if (future != NULL) {
        memset(future, 0, offsetof(struct netpool_future, kind));
        future->capacity = capacity;
    }
    return future;
}

static struct netpool_future *new_future(struct netpool *pool, netpool_bytes input)
{
    bool is_inline = input.size <= INPUT_INLINE_MAX;
    struct netpool_future *future = take_memory(pool, is_inline ? input.size : 0);
    if (future == NULL) {
        return NULL;
    }
    future->task.input = future->inline_input;
    if (!is_inline) {
        future->input = np_block_new_in(engine_heap(pool->engine), input.size);
        if (future->input == NULL) {
            free(future);
            return NULL;
        }
        future->task.input = future->input;
        future->task.is_input_block = true;
    }
    if (input.size > 0) {
        memcpy((void *)(uintptr_t)future->task.input, input.data, input.size);
    }
    future->task.input_size = input.size;
    future->task.finished = task_finished;
    future->pool = pool;
    future->submit_request.run = run_submit;
    future->cancel_request.run = run_cancel;
    future->callback.run = run_callback;
    atomic_store(&future->references, 2);
    return future;
}

static netpool_status check_submit(struct netpool *pool, netpool_bytes input, bool has_callback,
                                   struct netpool_future **out, netpool_error *error)
{
    netpool_status status = pool_check_submit(pool, error);
    if (status == NETPOOL_OK && out == NULL && !has_callback) {
        status = np_error_set(error, NETPOOL_INVALID, "out is NULL, and there is no options.on_done either");
    }
    if (status == NETPOOL_OK) {
        status = task_check_input(input, pool->settings.max_payload, error);
    }
    return status == NETPOOL_OK && has_callback ? callbacks_start(&pool->callbacks, error) : status;
}

static netpool_status submit(netpool *pool, const char *function, netpool_bytes input,
                             const netpool_task_options *options, netpool_future **out, netpool_error *error)
{
    struct np_task_kind own_kind;
    const struct np_task_kind *kind = &own_kind;
    uint64_t lane = 0;
    bool has_callback = options != NULL && options->on_done != NULL;
    netpool_status status = check_submit(pool, input, has_callback, out, error);
    if (status == NETPOOL_OK) {
        status = options != NULL ? pool_describe(pool, function, options, &own_kind, &lane, error)
                                 : pool_plain_kind(pool, function, &kind, error);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    pool_retain(pool); /* the future's; and until then it may be closed while this waits for room */
    status = take_room(pool, input.size);
    if (status != NETPOOL_OK) {
        pool_release(pool);
        return status;
    }
    int64_t copying = input.size >= COPY_TIMED_MIN ? np_clock_now() : 0;
    struct netpool_future *future = new_future(pool, input);
    if (future == NULL) {
        give_room(pool, input.size);
        pool_release(pool);
        return NETPOOL_NO_MEMORY;
    }
    future->task.kind = kind;
    if (kind == &own_kind) {
        future->kind = own_kind;
        future->task.kind = &future->kind;
    }
    future->task.lane = lane;
    if (has_callback) {
        future->on_done = options->on_done;
        future->context = options->context;
        future->is_nobodys = out == NULL;
    }
    future->task.submitted = np_clock_now();
    if (copying > 0) {
        profile_book_serializing(&pool->profile, future->task.submitted - copying);
    }
    if (out != NULL) {
        *out = future; /* before its callback, which may free it through that variable */
    }
    if (!engine_post(pool->engine, &future->submit_request)) {
        if (out != NULL) {
            *out = NULL;
        }
        give_room(pool, input.size);
        atomic_store(&future->references, 1);
        release(future);
        return NETPOOL_CLOSED;
    }
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
    return np_fork_guard_is_child(&future->pool->guard) ? last_error_status(NETPOOL_FORKED, call) : NETPOOL_OK;
}

netpool_status netpool_wait(netpool_future *future, int timeout_ms, netpool_result *result)
{
    netpool_status status = check_future(future, __func__);
    if (status != NETPOOL_OK) {
        return status;
    }
    if (!future_is_done(future) &&
        !engine_wait(future->pool->engine, &future->done, 0, pool_deadline(timeout_ms), true)) {
        return last_error_status(NETPOOL_TIMEOUT, __func__);
    }
    const netpool_result *reply = &future->reply.result;
    if (result != NULL) {
        *result = *reply;
    }
    if (reply->failure != NULL) {
        return last_error_set(reply->status, __func__, "%s: %s", future->task.kind->function,
                              reply->failure->message);
    }
    return last_error_status(reply->status, __func__);
}

/* NETPOOL_CLOSED: it is finished, or will be at once, as the pool was closed. */
static netpool_status ask_cancel(struct netpool_future *future, enum np_cancel how)
{
    if (future_is_done(future)) {
        return NETPOOL_CLOSED;
    }
    enum np_cancel asked = atomic_load(&future->cancel_asked);
    do {
        if (asked >= how) {
            return NETPOOL_OK;
        }
    } while (!atomic_compare_exchange_weak(&future->cancel_asked, &asked, how));
    if (atomic_exchange(&future->is_cancel_posted, true)) {
        return NETPOOL_OK; /* the request on its way will see what is asked now */
    }
    atomic_fetch_add(&future->references, 1);
    if (!engine_post(future->pool->engine, &future->cancel_request)) {
        release(future);
        return NETPOOL_CLOSED;
    }
    return NETPOOL_OK;
}

static netpool_status cancel(netpool_future *future, enum np_cancel how, const char *call)
{
    netpool_status status = check_future(future, call);
    if (status != NETPOOL_OK) {
        return status;
    }
    return last_error_set(ask_cancel(future, how), call, "the task was finished already");
}

netpool_status netpool_cancel(netpool_future *future)
{
    return cancel(future, NP_CANCEL_ALWAYS, __func__);
}

netpool_status netpool_cancel_pending(netpool_future *future)
{
    return cancel(future, NP_CANCEL_UNSTARTED, __func__);
}

bool netpool_is_done(netpool_future *future)
{
    if (future == NULL) {
        (void)last_error_set(NETPOOL_INVALID, __func__, "future is NULL");
        return false;
    }
    return future_is_done(future);
}

void netpool_get_progress(netpool_future *future, uint64_t *done, uint64_t *total)
{
    uint64_t values[2] = {0, 0};
    if (check_future(future, __func__) == NETPOOL_OK) {
        np_task_progress(&future->task, &values[0], &values[1]);
    }
    if (done != NULL) {
        *done = values[0];
    }
    if (total != NULL) {
        *total = values[1];
    }
}

void netpool_future_free(netpool_future **future_at)
{
    struct netpool_future *future = future_at != NULL ? *future_at : NULL;
    if (future == NULL) {
        return;
    }
    *future_at = NULL;
    if (future->is_nobodys) {
        future->is_nobodys = false; /* inside its call, the only place where anybody has it */
    }
    if (np_fork_guard_is_child(&future->pool->guard)) {
        atomic_store(&future->references, 1); /* the engine that holds the others does not run here */
    } else {
        (void)ask_cancel(future, NP_CANCEL_ALWAYS);
    }
    release(future);
}
