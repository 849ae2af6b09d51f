/* The putting side of streams, their beginning and their end. */
#include "client/stream.h"

#include <stdlib.h>
#include <string.h>

#include "client/last_error.h"
#include "client/task_options.h"
#include "common/block.h"
#include "common/clock.h"
#include "common/error.h"

enum { IN_FLIGHT_DEFAULT = 4096 };
#define IN_FLIGHT_MAX ((size_t)1 << 20)
#define IN_FLIGHT_BYTES_DEFAULT ((size_t)64 << 20)

void stream_free_item(struct item *item)
{
    reply_fini(&item->reply);
    np_block_free(item->block);
    free(item);
}

static void release(struct netpool_stream *stream)
{
    if (atomic_fetch_sub(&stream->references, 1) > 1) {
        return;
    }
    for (struct item *done = atomic_load(&stream->done), *next; done != NULL; done = next) {
        next = done->next;
        stream_free_item(done);
    }
    struct netpool *pool = stream->pool;
    profile_fini(&stream->profile);
    free(stream->ring);
    free(stream);
    pool_release(pool);
}

static void item_finished(struct np_task *task, const struct np_outcome *outcome)
{
    struct item *item = NP_CONTAINER(task, struct item, task);
    struct netpool_stream *stream = item->stream;
    np_list_remove(&item->node);
    pool_book(stream->pool, &stream->profile, task, outcome, 1);
    np_block_free(item->block);
    item->block = NULL;
    if (atomic_load(&stream->is_closed)) {
        stream_free_item(item);
    } else {
        reply_keep(&item->reply, task, outcome);
        uint64_t index = item->index;
        item->next = atomic_load(&stream->done);
        while (!atomic_compare_exchange_weak(&stream->done, &item->next, item)) {
        }
        /* The item is the taker's now. It looks for what it wants before it sleeps, after it has said what that is.
         */
        if (stream->is_unordered || atomic_load(&stream->wanted) == index) {
            event_signal(&stream->finished);
        }
    }
    release(stream);
}

static void run_submit(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    struct item *item = NP_CONTAINER(request, struct item, request);
    int64_t submitted = item->task.submitted;
    np_list_push_back(&item->stream->active, &item->node);
    dialogue_submit(dialogue, &item->task, submitted < now ? submitted : now);
}

static void run_cancel(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    struct netpool_stream *stream = NP_CONTAINER(request, struct netpool_stream, cancel_request);
    NP_LIST_EACH(node, &stream->active) {
        dialogue_cancel(dialogue, &NP_CONTAINER(node, struct item, node)->task, NP_CANCEL_ALWAYS, now);
    }
    release(stream);
}

static netpool_status check_options(const netpool_stream_options *options, netpool_error *error)
{
    if (options->task.on_done != NULL) {
        return np_error_set(error, NETPOOL_INVALID, "options.task.on_done is for netpool_submit");
    }
    if (options->in_flight > IN_FLIGHT_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "options.in_flight %zu is above %zu", options->in_flight,
                            IN_FLIGHT_MAX);
    }
    return TASK_CHECK_RESERVED(options, error);
}

static struct netpool_stream *new_stream(const netpool_stream_options *options)
{
    struct netpool_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->is_unordered = options->unordered;
    stream->in_flight_max = options->in_flight > 0 ? options->in_flight : IN_FLIGHT_DEFAULT;
    stream->bytes_max = options->in_flight_bytes > 0 ? options->in_flight_bytes : IN_FLIGHT_BYTES_DEFAULT;
    uint64_t places = 1;
    while (places < stream->in_flight_max) {
        places *= 2;
    }
    stream->mask = places - 1;
    stream->ring = calloc(places, sizeof(struct item *));
    if (stream->ring == NULL) {
        free(stream);
        return NULL;
    }
    np_list_init(&stream->active);
    stream->cancel_request.run = run_cancel;
    atomic_store(&stream->references, 1);
    return stream;
}

static netpool_status open_stream(netpool *pool, const char *function, const netpool_stream_options *options,
                                  netpool_stream **out, netpool_error *error)
{
    struct np_task_kind kind;
    uint64_t lane;
    netpool_status status = pool_check_submit(pool, error);
    if (status == NETPOOL_OK) {
        status = check_options(options, error);
    }
    if (status == NETPOOL_OK) {
        status = pool_describe(pool, function, &options->task, &kind, &lane, error);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    struct netpool_stream *stream = new_stream(options);
    if (stream == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    stream->kind = kind;
    stream->lane = lane;
    stream->pool = pool;
    profile_init(&stream->profile, &pool->profile);
    pool_retain(pool);
    pthread_mutex_lock(&pool->streams_mutex);
    np_list_push_back(&pool->streams, &stream->node);
    pthread_mutex_unlock(&pool->streams_mutex);
    *out = stream;
    return NETPOOL_OK;
}

netpool_status netpool_stream_open(netpool *pool, const char *function, const netpool_stream_options *options,
                                   netpool_stream **out)
{
    static const netpool_stream_options none;
    netpool_error error = {0};
    if (out == NULL) {
        return last_error_set(NETPOOL_INVALID, __func__, "out is NULL");
    }
    *out = NULL;
    netpool_status status = open_stream(pool, function, options != NULL ? options : &none, out, &error);
    return last_error_from(status, __func__, &error);
}

void streams_wake(struct netpool *pool)
{
    pthread_mutex_lock(&pool->streams_mutex);
    NP_LIST_EACH(node, &pool->streams) {
        struct netpool_stream *stream = NP_CONTAINER(node, struct netpool_stream, node);
        event_signal(&stream->taken);
        event_signal(&stream->finished);
    }
    pthread_mutex_unlock(&pool->streams_mutex);
}

static bool has_room(struct netpool_stream *stream, size_t size)
{
    size_t in_flight = atomic_load(&stream->in_flight);
    return in_flight == 0 ||
           (in_flight < stream->in_flight_max && atomic_load(&stream->bytes) + size <= stream->bytes_max);
}

static netpool_status wait_for_room(struct netpool_stream *stream, size_t size, int timeout_ms)
{
    int64_t deadline = INT64_MIN; /* not read yet: the clock is looked at only when there is a wait */
    while (!has_room(stream, size)) {
        uint32_t ticket = event_ticket(&stream->taken);
        if (has_room(stream, size)) {
            break;
        }
        if (atomic_load(&stream->is_ended) || atomic_load(&stream->pool->is_closing)) {
            return NETPOOL_CLOSED;
        }
        if (deadline == INT64_MIN) {
            deadline = pool_deadline(timeout_ms);
        }
        if (timeout_ms == 0 || !engine_wait(stream->pool->engine, &stream->taken, ticket, deadline, false)) {
            return NETPOOL_TIMEOUT;
        }
    }
    return NETPOOL_OK;
}

static struct item *new_item(struct netpool_stream *stream, netpool_bytes input)
{
    bool is_large = input.size > NP_FRAME_BODY_MAX;
    struct item *item = aligned_alloc(16, (sizeof *item + (is_large ? 0 : input.size) + 15) & ~(size_t)15);
    if (item == NULL) {
        return NULL;
    }
    memset(item, 0, sizeof *item);
    item->task.input = item->input;
    if (is_large) {
        item->block = np_block_new(input.size);
        if (item->block == NULL) {
            free(item);
            return NULL;
        }
        item->task.input = item->block;
        item->task.is_input_block = true;
    }
    if (input.size > 0) {
        memcpy((void *)(uintptr_t)item->task.input, input.data, input.size);
    }
    item->task.kind = &stream->kind;
    item->task.lane = stream->lane;
    item->task.input_size = input.size;
    item->task.finished = item_finished;
    item->task.submitted = np_clock_now();
    item->request.run = run_submit;
    item->stream = stream;
    item->index = atomic_load(&stream->put_count);
    return item;
}

static netpool_status put(netpool_stream *stream, netpool_bytes input, int timeout_ms, netpool_error *error)
{
    if (stream == NULL) {
        return np_error_set(error, NETPOOL_INVALID, "stream is NULL");
    }
    netpool_status status = pool_check(stream->pool, error);
    if (status == NETPOOL_OK) {
        status = task_check_input(input, stream->pool->settings.max_payload, error);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    if (atomic_load(&stream->is_ended)) {
        return np_error_set(error, NETPOOL_CLOSED, "the stream was ended");
    }
    status = wait_for_room(stream, input.size, timeout_ms);
    if (status != NETPOOL_OK) {
        return status;
    }
    struct item *item = new_item(stream, input);
    if (item == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    atomic_fetch_add(&stream->references, 1);
    atomic_fetch_add(&stream->in_flight, 1);
    atomic_fetch_add(&stream->bytes, input.size);
    if (!engine_post(stream->pool->engine, &item->request)) {
        atomic_fetch_sub(&stream->in_flight, 1);
        atomic_fetch_sub(&stream->bytes, input.size);
        atomic_fetch_sub(&stream->references, 1); /* never the last: the user's is held */
        stream_free_item(item);
        return NETPOOL_CLOSED;
    }
    atomic_fetch_add(&stream->put_count, 1);
    return NETPOOL_OK;
}

netpool_status netpool_stream_put(netpool_stream *stream, netpool_bytes input, int timeout_ms)
{
    netpool_error error;
    error.message[0] = '\0';
    return last_error_from(put(stream, input, timeout_ms, &error), __func__, &error);
}

void netpool_stream_end(netpool_stream *stream)
{
    if (stream == NULL) {
        (void)last_error_set(NETPOOL_INVALID, __func__, "stream is NULL");
        return;
    }
    atomic_store(&stream->is_ended, true);
    event_signal(&stream->finished); /* the taker may be waiting for what will never come */
    event_signal(&stream->taken);    /* and the putter for room */
}

void netpool_stream_close(netpool_stream **stream_at)
{
    struct netpool_stream *stream = stream_at != NULL ? *stream_at : NULL;
    if (stream == NULL) {
        return;
    }
    *stream_at = NULL;
    atomic_store(&stream->is_closed, true);
    if (stream->borrowed != NULL) {
        stream_free_item(stream->borrowed);
    }
    for (uint64_t place = 0; place <= stream->mask; place++) {
        if (stream->ring[place] != NULL) {
            stream_free_item(stream->ring[place]);
        }
    }
    if (fork_guard_is_child(&stream->pool->guard)) {
        atomic_store(&stream->references, 1); /* the engine that holds the others does not run here */
        release(stream);
        return;
    }
    pthread_mutex_lock(&stream->pool->streams_mutex);
    np_list_remove(&stream->node);
    pthread_mutex_unlock(&stream->pool->streams_mutex);
    if (atomic_load(&stream->references) > 1) {
        atomic_fetch_add(&stream->references, 1);
        if (!engine_post(stream->pool->engine, &stream->cancel_request)) {
            atomic_fetch_sub(&stream->references, 1);
        }
    }
    release(stream);
}
