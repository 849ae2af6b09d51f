#include "client/calls/map.h"

#include <stdlib.h>

#include "client/dialogue/failure.h"
#include "common/clock.h"

/* Payload bytes of one map on their way. */
#define IN_FLIGHT_BYTES_MAX ((size_t)64 << 20)

struct chunk {
    struct np_task task;
    struct np_list node; /* in map.active or map.idle */
    struct map *map;
    size_t first;
    size_t count;
};

static struct chunk *take_chunk(struct map *map)
{
    struct np_list *idle = np_list_pop_front(&map->idle);
    return idle != NULL ? NP_CONTAINER(idle, struct chunk, node) : malloc(sizeof(struct chunk));
}

/* Cancelling one chunk inside of another one's end may end it at once: only the outermost call may say that it is
 * over, with its last touch, as the map is the caller's from then on. */
static void release(struct map *map)
{
    if (--map->holds == 0 && map->in_flight == 0 && (map->next == map->count || map->status != NETPOOL_OK)) {
        event_signal(&map->done);
    }
}

/* The map ends with this, unless an earlier item has failed. */
static void fail(struct map *map, size_t first, const struct np_outcome *outcome, struct dialogue *dialogue)
{
    netpool_failure failure;
    failure_fill(&failure, &map->kind, first, outcome);
    bool is_first = map->status == NETPOOL_OK;
    if (is_first || (failure.item < map->failure.item && outcome->status != NETPOOL_CANCELLED)) {
        map->status = outcome->status;
        map->failure = failure;
    }
    if (!is_first) {
        return;
    }
    /* The rest is of no use any more. Cancelling may finish chunks at once, which takes only them off the list. */
    NP_LIST_EACH(node, &map->active) {
        dialogue_cancel(dialogue, &NP_CONTAINER(node, struct chunk, node)->task, NP_CANCEL_ALWAYS, outcome->now);
    }
}

static void fail_without_memory(struct map *map, struct dialogue *dialogue, int64_t now)
{
    struct np_outcome outcome = {.status = NETPOOL_NO_MEMORY, .worker = "", .host = "", .now = now};
    fail(map, map->next, &outcome, dialogue);
}

static void chunk_finished(struct np_task *task, const struct np_outcome *outcome);

static bool has_room(const struct map *map, size_t items, size_t bytes)
{
    return map->in_flight == 0 || (map->in_flight < chunk_size_in_flight(&map->size, items) &&
                                   map->in_flight_bytes + bytes <= IN_FLIGHT_BYTES_MAX);
}

/* Hands out chunks as far as that is wanted. */
static void fill(struct map *map, struct dialogue *dialogue, int64_t now)
{
    while (map->next < map->count && map->status == NETPOOL_OK) {
        size_t count = chunk_size_next(&map->size, map->count - map->next);
        netpool_bytes input = map->operations->input(map, map->next, count);
        if (!has_room(map, count, input.size)) {
            return;
        }
        struct chunk *chunk = take_chunk(map);
        if (chunk == NULL) {
            fail_without_memory(map, dialogue, now);
            return;
        }
        *chunk = (struct chunk){.map = map, .first = map->next, .count = count};
        chunk->task = (struct np_task){
            .kind = &map->kind,
            .input = input.data,
            .input_size = input.size,
            .first_item = map->next,
            .lane = map->lane,
            .finished = chunk_finished,
        };
        map->next += count;
        map->in_flight++;
        map->in_flight_bytes += input.size;
        np_list_push_back(&map->active, &chunk->node);
        dialogue_submit(dialogue, &chunk->task, now);
    }
}

static void chunk_finished(struct np_task *task, const struct np_outcome *outcome)
{
    struct chunk *chunk = NP_CONTAINER(task, struct chunk, task);
    struct map *map = chunk->map;
    struct dialogue *dialogue = engine_dialogue(map->pool->engine);
    np_list_remove(&chunk->node);
    np_list_push_back(&map->idle, &chunk->node);
    map->holds++;
    map->in_flight--;
    map->in_flight_bytes -= task->input_size;
    pool_book(map->pool, map->profile, task, outcome, chunk->count);
    struct np_outcome end = *outcome;
    if (end.status == NETPOOL_OK) {
        map->finished += chunk->count;
        unsigned slots = engine_slots(map->pool->engine);
        map->size.slots = slots > 0 ? slots : map->size.slots;
        chunk_size_learn(&map->size, chunk->count, outcome->compute_ns);
        end.status = map->operations->keep(map, chunk->first, chunk->count, outcome, &end.reason);
    }
    if (end.status != NETPOOL_OK) {
        fail(map, chunk->first, &end, dialogue);
    }
    fill(map, dialogue, outcome->now);
    release(map);
}

static void run_start(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    struct map *map = NP_CONTAINER(request, struct map, start_request);
    map->holds++;
    fill(map, dialogue, now);
    if (map->next < map->count) {
        dialogue_request_status(dialogue); /* how many executors are there by now? */
    }
    release(map);
}

/* Items that are done, running ones in part. */
static double look(struct map_watch *watch)
{
    struct map *map = NP_CONTAINER(watch, struct map, watch);
    double done = (double)map->finished;
    NP_LIST_EACH(node, &map->active) {
        struct chunk *chunk = NP_CONTAINER(node, struct chunk, node);
        done += map_watch_fraction(&chunk->task) * (double)chunk->count;
    }
    return done;
}

netpool_status map_run(struct map *map)
{
    struct engine *engine = map->pool->engine;
    np_list_init(&map->active);
    np_list_init(&map->idle);
    map->start_request.run = run_start;
    map->watch.engine = engine;
    map->watch.look = look;
    if (!engine_post(engine, &map->start_request)) {
        struct np_outcome outcome = {.status = NETPOOL_CLOSED, .worker = "", .host = ""};
        map->status = NETPOOL_CLOSED;
        failure_fill(&map->failure, &map->kind, 0, &outcome);
        return NETPOOL_CLOSED;
    }
    map_watch_wait(&map->watch, &map->done);
    for (struct np_list *node = np_list_pop_front(&map->idle); node != NULL; node = np_list_pop_front(&map->idle)) {
        free(NP_CONTAINER(node, struct chunk, node));
    }
    return map->status;
}
