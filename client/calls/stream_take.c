/* The taking side of streams, and what they say about themselves. */
#include "client/calls/map_watch.h"
#include "client/calls/stream.h"
#include "client/last_error.h"
#include "common/clock.h"

/* Moves what is finished to the taker's own ring. False: nothing. */
static bool collect(struct netpool_stream *stream)
{
    if (atomic_load(&stream->done) == NULL) {
        return false;
    }
    struct item *newest = atomic_exchange(&stream->done, NULL);
    struct item *oldest = NULL;
    while (newest != NULL) {
        struct item *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    for (; oldest != NULL; oldest = oldest->next) {
        uint64_t place = stream->is_unordered ? stream->queued++ : oldest->index;
        stream->ring[place & stream->mask] = oldest;
    }
    return true;
}

/* Its place is the putter's from now on. The putter is told when a quarter of the room is free, so that it does not
 * wake for each place. */
static void give_room(struct netpool_stream *stream, const struct item *item)
{
    uint64_t taken = stream->taken_count + 1;
    stream_add(&stream->taken_bytes, item->task.input_size);
    atomic_store(&stream->taken_count,
                 taken); /* before the look at wants_room, as the putter looks the other way round */
    if (atomic_load(&stream->wants_room)) {
        int64_t left = (int64_t)(stream_count(&stream->put_count) - taken);
        if (left <= (int64_t)(stream->in_flight_max - stream->in_flight_max / 4)) {
            event_signal(&stream->taken);
        }
    }
}

/* NULL: not there yet. */
static struct item *take_next(struct netpool_stream *stream)
{
    struct item **place = &stream->ring[stream->taken_count & stream->mask];
    struct item *item = *place;
    if (item != NULL) {
        *place = NULL;
        give_room(stream, item);
    }
    return item;
}

/* Nothing is left to take, and nothing can be put any more. */
static bool is_at_end(struct netpool_stream *stream)
{
    return stream_is_over(stream) && stream->taken_count >= stream_count(&stream->put_count);
}

/* The words for a call that found no stream, or one of another process. */
static netpool_status check_stream(const struct netpool_stream *stream, const char *call)
{
    if (stream == NULL) {
        return last_error_set(NETPOOL_INVALID, call, "stream is NULL");
    }
    return np_fork_guard_is_child(&stream->pool->guard) ? last_error_status(NETPOOL_FORKED, call) : NETPOOL_OK;
}

netpool_status netpool_stream_next(netpool_stream *stream, int timeout_ms, uint64_t *index, netpool_result *result)
{
    netpool_status status = check_stream(stream, __func__);
    if (status != NETPOOL_OK) {
        return status;
    }
    if (stream->borrowed != NULL) {
        stream_return_item(stream, stream->borrowed);
        stream->borrowed = NULL;
    }
    int64_t deadline = INT64_MIN;
    struct item *item;
    while ((item = take_next(stream)) == NULL) {
        if (collect(stream)) {
            continue;
        }
        atomic_store(&stream->wanted, stream->taken_count);
        uint32_t ticket = event_ticket(&stream->finished);
        if (collect(stream)) {
            continue;
        }
        if (is_at_end(stream)) {
            return last_error_status(NETPOOL_CLOSED, __func__);
        }
        if (deadline == INT64_MIN) {
            deadline = pool_deadline(timeout_ms);
        }
        if (!engine_wait(stream->pool->engine, &stream->finished, ticket, deadline, timeout_ms == 0)) {
            return last_error_status(NETPOOL_TIMEOUT, __func__);
        }
    }
    stream->borrowed = item;
    if (index != NULL) {
        *index = item->index;
    }
    if (result != NULL) {
        *result = item->reply.result;
    }
    return NETPOOL_OK;
}

/* What runs is the leader's to look at. */
struct look {
    struct engine_request request;
    struct netpool_stream *stream;
    struct event done;
    double running;
};

static void run_look(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    (void)dialogue;
    (void)now;
    struct look *look = NP_CONTAINER(request, struct look, request);
    NP_LIST_EACH(node, &look->stream->active) {
        look->running += map_watch_fraction(&NP_CONTAINER(node, struct item, node)->task);
    }
    event_signal(&look->done); /* the last touch: it is the caller's again */
}

void netpool_stream_get_progress(netpool_stream *stream, uint64_t *finished, double *running)
{
    struct look look = {.request = {.run = run_look}, .stream = stream};
    bool is_usable = check_stream(stream, __func__) == NETPOOL_OK;
    if (is_usable && running != NULL && engine_post(stream->pool->engine, &look.request)) {
        (void)engine_wait(stream->pool->engine, &look.done, 0, NP_NEVER, true);
    }
    if (finished != NULL) {
        *finished = is_usable ? atomic_load(&stream->profile.tasks) : 0;
    }
    if (running != NULL) {
        *running = look.running;
    }
}

void netpool_stream_get_profile(netpool_stream *stream, netpool_profile *out)
{
    if (out == NULL) {
        (void)last_error_set(NETPOOL_INVALID, __func__, "out is NULL");
        return;
    }
    *out = (netpool_profile){0};
    if (check_stream(stream, __func__) == NETPOOL_OK) {
        profile_read(&stream->profile, engine_slots(stream->pool->engine), out);
    }
}
