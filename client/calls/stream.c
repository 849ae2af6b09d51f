/* The putting side of streams, their beginning and their end. */
#include "client/calls/stream.h"

#include <stdlib.h>
#include <string.h>

#include "client/calls/task_options.h"
#include "client/last_error.h"
#include "common/clock.h"
#include "common/error.h"

enum { IN_FLIGHT_DEFAULT = 4096 };
/* A putter that waits is woken for a quarter of the room, and looks by itself for less this often: the taker may not
 * go on before there is something more. */
#define LOOK_NS (10 * NP_NS_PER_MS)
#define IN_FLIGHT_MAX ((size_t)1 << 20)
#define IN_FLIGHT_BYTES_DEFAULT ((size_t)64 << 20)

static void destroy(struct netpool_stream *stream)
{
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

/* The engine gives back so many things. */
static void release(struct netpool_stream *stream, size_t count)
{
    if (atomic_fetch_sub(&stream->owed, (int64_t)count) == (int64_t)count) {
        destroy(stream);
    }
}

/* Hands over what has finished since the last time. The taker looks for what it wants before it sleeps, after it has
 * said what that is. */
static void hand_over(struct engine_notice *notice)
{
    struct netpool_stream *stream = NP_CONTAINER(notice, struct netpool_stream, notice);
    size_t count = stream->batch_count;
    stream->batch_count = 0;
    profile_book_sums(&stream->profile, &stream->batch_sums);
    profile_book_sums(&stream->pool->profile, &stream->batch_sums);
    stream->batch_sums = PROFILE_NO_SUMS;
    if (stream->batch != NULL) {
        struct item *before = atomic_load(&stream->done);
        do {
            stream->batch_last->next = before;
        } while (!atomic_compare_exchange_weak(&stream->done, &before, stream->batch));
        stream->batch = NULL;
        uint64_t wanted = atomic_load(&stream->wanted);
        if (stream->is_unordered || (stream->batch_lowest <= wanted && wanted <= stream->batch_highest)) {
            event_signal(&stream->finished);
        }
    }
    release(stream, count);
}

static void add_to_batch(struct netpool_stream *stream, struct item *item)
{
    if (stream->batch == NULL) {
        stream->batch_last = item;
        stream->batch_lowest = stream->batch_highest = item->index;
    } else if (item->index > stream->batch_highest) {
        stream->batch_highest = item->index;
    } else if (item->index < stream->batch_lowest) {
        stream->batch_lowest = item->index;
    }
    item->next = stream->batch;
    stream->batch = item;
}

void stream_item_finished(struct np_task *task, const struct np_outcome *outcome)
{
    struct item *item = NP_CONTAINER(task, struct item, task);
    struct netpool_stream *stream = item->stream;
    np_list_remove(&item->node);
    profile_add(&stream->batch_sums, task, outcome, 1);
    profile_count_executor(&stream->profile, outcome);
    profile_count_executor(&stream->pool->profile, outcome);
    if (item->block != NULL) {
        stream_drop_block(item);
    }
    if (stream->batch_count++ == 0) {
        engine_notify_later(stream->pool->engine, &stream->notice);
    }
    if (atomic_load(&stream->is_closed)) {
        stream_free_item(item);
    } else {
        reply_keep(&item->reply, task, outcome);
        add_to_batch(stream, item);
    }
}

void stream_run_submit(struct engine_request *request, struct dialogue *dialogue, int64_t now)
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
    release(stream, 1);
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
    struct netpool_stream *stream = aligned_alloc(alignof(struct netpool_stream), sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    memset(stream, 0, sizeof *stream);
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
    stream->notice.run = hand_over;
    stream->batch_sums = PROFILE_NO_SUMS;
    stream->cancel_request.run = run_cancel;
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
    uint64_t in_flight = stream->put_count - atomic_load(&stream->taken_count);
    return in_flight == 0 || (in_flight < stream->in_flight_max &&
                              stream->put_bytes - stream_count(&stream->taken_bytes) + size <= stream->bytes_max);
}

static netpool_status wait_for_room(struct netpool_stream *stream, size_t size, int timeout_ms)
{
    netpool_status status = NETPOOL_OK;
    int64_t deadline = pool_deadline(timeout_ms);
    atomic_store(&stream->wants_room, true);
    for (;;) {
        uint32_t ticket = event_ticket(&stream->taken);
        if (has_room(stream, size)) {
            break;
        }
        if (stream_is_over(stream)) {
            status = NETPOOL_CLOSED;
            break;
        }
        int64_t now = np_clock_now();
        if (timeout_ms == 0 || now >= deadline) {
            status = NETPOOL_TIMEOUT;
            break;
        }
        (void)engine_wait(stream->pool->engine, &stream->taken, ticket, np_earlier(deadline, now + LOOK_NS), false);
    }
    atomic_store_explicit(&stream->wants_room, false, memory_order_relaxed);
    return status;
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
    if (!has_room(stream, input.size)) {
        status = wait_for_room(stream, input.size, timeout_ms);
        if (status != NETPOOL_OK) {
            return status;
        }
    }
    struct item *item = stream_new_item(stream, input.size);
    if (item == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    if (input.size > 0) {
        memcpy((void *)(uintptr_t)item->task.input, input.data, input.size);
    }
    item->task.input_size = input.size;
    item->task.submitted = np_clock_now();
    item->index = stream->put_count;
    stream_add(&stream->put_bytes, input.size);
    atomic_store(&stream->put_count, item->index + 1); /* before the look at is_ended, as the taker looks the other
                                                          way round: what it does not count is not put */
    if (stream_is_over(stream) || !engine_post(stream->pool->engine, &item->request)) {
        stream_add(&stream->put_bytes, UINT64_C(0) - input.size);
        stream_add(&stream->put_count, UINT64_C(0) - 1);
        event_signal(&stream->finished); /* the taker may have counted it already */
        stream_free_item(item);
        return NETPOOL_CLOSED;
    }
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
    stream_free_items(stream);
    if (np_fork_guard_is_child(&stream->pool->guard)) {
        destroy(stream); /* the engine that has items does not run here */
        return;
    }
    pthread_mutex_lock(&stream->pool->streams_mutex);
    np_list_remove(&stream->node);
    pthread_mutex_unlock(&stream->pool->streams_mutex);
    int64_t given = (int64_t)stream->put_count;
    if (atomic_load(&stream->owed) + given > 0 && engine_post(stream->pool->engine, &stream->cancel_request)) {
        given++;
    }
    if (atomic_fetch_add(&stream->owed, given) == -given) {
        destroy(stream);
    }
}
