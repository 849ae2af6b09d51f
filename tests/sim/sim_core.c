/*
 * Drives the broker's core through loss, delay, replay, crashes and restarts, all from one seed. What must hold: each
 * task ends exactly once at its client, with an outcome that its nature allows; an at_most_once task is executed at
 * most once; no two workers have leases of one lane, whose tasks start in order; labels and slots are what was asked
 * for; a worker is told how to prepare for a session before it has a task of it; the core's sums and bounds agree at
 * all times; once faults stop, everything ends in bounded time and the core holds nothing.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/throughput.h"
#include "tests/sim/world.h"

#define CALM_LIMIT_NS (60 * NP_NS_PER_S) /* everything must be finished so long after the last fault */

void world_fail(struct world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "sim_core: FAILED at event %" PRIu64 ", %.6f s: ", world->events, (double)world->now / 1e9);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nreplay: sim_core --seed %" PRIu64 " --events %" PRIu64 "\n", world->seed, world->event_goal);
    abort();
}

bool world_chance(struct world *world, unsigned one_in)
{
    return np_random_below(&world->random, one_in) == 0;
}

uint64_t world_below(struct world *world, uint64_t bound)
{
    return np_random_below(&world->random, bound);
}

uint64_t world_hash(uint64_t a, uint64_t b)
{
    struct np_random random = {.state = a * UINT64_C(0x9E3779B97F4A7C15) ^ b};
    return np_random_next(&random);
}

static bool is_sooner(const struct happening *a, const struct happening *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void insert(struct world *world, struct happening happening)
{
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity == 0 ? 1024 : world->heap_capacity * 2;
        world->heap = realloc(world->heap, world->heap_capacity * sizeof *world->heap);
        if (world->heap == NULL) {
            abort();
        }
    }
    happening.order = world->next_order++;
    size_t index = world->heap_count++;
    while (index > 0 && is_sooner(&happening, &world->heap[(index - 1) / 2])) {
        world->heap[index] = world->heap[(index - 1) / 2];
        index = (index - 1) / 2;
    }
    world->heap[index] = happening;
}

void world_at(struct world *world, int64_t time, void (*happen)(struct world *, void *), void *who,
              const uint64_t *generation)
{
    insert(world, (struct happening){.time = time,
                                     .happen = happen,
                                     .who = who,
                                     .generation = generation,
                                     .expected = generation != NULL ? *generation : 0});
}

void world_give(struct world *world, int64_t time, void (*happen)(struct world *, void *), void *who)
{
    insert(world, (struct happening){.time = time, .happen = happen, .who = who, .owns = true});
}

static struct happening pop(struct world *world)
{
    struct happening first = world->heap[0];
    struct happening last = world->heap[--world->heap_count];
    size_t index = 0;
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= world->heap_count) {
            break;
        }
        if (child + 1 < world->heap_count && is_sooner(&world->heap[child + 1], &world->heap[child])) {
            child++;
        }
        if (!is_sooner(&world->heap[child], &last)) {
            break;
        }
        world->heap[index] = world->heap[child];
        index = child;
    }
    world->heap[index] = last;
    return first;
}

static void on_send(void *context, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                    bool urgent)
{
    (void)urgent;
    link_from_core(context, peer, envelope, body, body_size);
}

static void on_close(void *context, uint64_t peer, netpool_status status, const char *reason)
{
    link_closed_by_core(context, peer, status, reason);
}

static void start_broker(struct world *world, void *unused)
{
    (void)unused;
    world->config.epoch = world->restarts + 1;
    struct core_output output = {.context = world, .send = on_send, .close = on_close};
    if (core_new(&world->core, &world->config, &output, world->now) != NETPOOL_OK) {
        abort();
    }
}

static void collect_stats(struct world *world)
{
    struct core_stats stats;
    core_get_stats(world->core, &stats);
    world->late += stats.late;
    world->refused += stats.refused;
    world->adopted += stats.adopted;
}

static void kill_broker(struct world *world)
{
    if (world->core == NULL) {
        return;
    }
    collect_stats(world);
    core_destroy(&world->core);
    world->restarts++;
    link_all_lost(world);
    world_at(world, world->now + (int64_t)world_below(world, NP_NS_PER_S), start_broker, NULL, NULL);
}

/* One fault, and the next one in a while. */
static void fault(struct world *world, void *unused)
{
    (void)unused;
    if (world->is_calm) {
        return;
    }
    struct worker_model *worker = world->workers[world_below(world, WORLD_WORKERS)];
    struct client_model *client = world->clients[world_below(world, WORLD_CLIENTS)];
    switch (world_below(world, 64)) {
    case 0:
        kill_broker(world);
        break;
    case 1:
        client_model_kill(world, client);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        world->crashes++;
        worker_model_crash(world, worker);
        break;
    case 6:
    case 7:
    case 8:
        world->drains++;
        worker_model_drain(world, worker);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
    case 14:
        link_break(world, worker_model_link(worker));
        break;
    case 15:
    case 16:
    case 17:
    case 18:
        link_break(world, client_model_link(client));
        break;
    default:
        worker_model_forge(world, worker, world->workers[world_below(world, WORLD_WORKERS)]);
        break;
    }
    world_at(world, world->now + (int64_t)world_below(world, 40 * NP_NS_PER_MS), fault, NULL, NULL);
}

/* Bounds as different as the seeds, some so tight that they are felt. */
static void choose_config(struct world *world)
{
    struct core_config *config = &world->config;
    memcpy(config->broker_id, &world->seed, sizeof world->seed);
    config->hash_seed = world->seed;
    config->max_payload = 128 * 1024;
    config->recovery_ns = 500 * NP_NS_PER_MS + (int64_t)world_below(world, NP_NS_PER_S);
    config->session_grace_ns = NP_NS_PER_S;
    if (world_chance(world, 2)) {
        config->max_tasks = 200 + world_below(world, 1000);
        config->client_tasks = 40 + world_below(world, 200);
    }
    if (world_chance(world, 2)) {
        config->max_memory = 100000 + world_below(world, 400000);
        config->client_bytes = 10000 + world_below(world, 200000);
    }
    if (world_chance(world, 2)) {
        config->delivery_bytes = 200 + world_below(world, 5000);
    }
}

static void step(struct world *world)
{
    if (world->heap_count == 0) {
        world_fail(world, "nothing is left to happen");
    }
    int64_t deadline = world->core != NULL ? core_deadline(world->core) : NP_NEVER;
    if (deadline <= world->heap[0].time) {
        world->now = deadline > world->now ? deadline : world->now;
        core_tick(world->core, world->now);
        WORLD_EXPECT(world, core_deadline(world->core) > world->now);
    } else {
        struct happening happening = pop(world);
        world->now = happening.time;
        if (happening.generation == NULL || *happening.generation == happening.expected) {
            happening.happen(world, happening.who);
        }
    }
    world->events++;
    /* Groups of events of any size, then their effects; never later than the next instant. */
    bool is_last_of_instant = world->heap_count == 0 || world->heap[0].time > world->now;
    if (world->core != NULL && (is_last_of_instant || world_chance(world, 3))) {
        core_flush(world->core, world->now);
    }
    if (world->core != NULL && world->events % 257 == 0) {
        core_check(world->core);
    }
}

static bool is_all_done(const struct world *world)
{
    for (size_t i = 0; i < WORLD_CLIENTS; i++) {
        if (!client_model_is_done(world->clients[i])) {
            return false;
        }
    }
    if (world->core == NULL) {
        return false;
    }
    struct core_stats stats;
    core_get_stats(world->core, &stats);
    return stats.queued + stats.running + stats.undelivered == 0;
}

static void settle(struct world *world)
{
    world->is_calm = true;
    int64_t limit = world->now + CALM_LIMIT_NS;
    while (!is_all_done(world)) {
        step(world);
        if (world->now > limit) {
            struct core_stats stats = {0};
            if (world->core != NULL) {
                core_get_stats(world->core, &stats);
            }
            for (size_t i = 0; i < WORLD_CLIENTS; i++) {
                char text[256];
                client_model_describe(world->clients[i], text, sizeof text);
                fprintf(stderr, "%s\n", text);
            }
            world_fail(world, "hangs: the core has %" PRIu64 " queued, %" PRIu64 " running, %" PRIu64 " undelivered",
                       stats.queued, stats.running, stats.undelivered);
        }
    }
    core_check(world->core);
    struct core_stats stats;
    core_get_stats(world->core, &stats);
    WORLD_EXPECT(world, stats.memory_bytes <= stats.clients * (PREPARATION_SIZE + sizeof ILL_MESSAGE));
}

static void simulate(uint64_t seed, uint64_t events)
{
    struct world world = {.seed = seed, .random = {.state = seed}, .event_goal = events, .now = NP_NS_PER_S};
    choose_config(&world);
    start_broker(&world, NULL);
    for (unsigned i = 0; i < WORLD_CLIENTS; i++) {
        world.clients[i] = client_model_new(&world, i);
        world.links[i] = client_model_link(world.clients[i]);
    }
    for (unsigned i = 0; i < WORLD_WORKERS; i++) {
        world.workers[i] = worker_model_new(&world, i);
        world.links[WORLD_CLIENTS + i] = worker_model_link(world.workers[i]);
    }
    world_at(&world, world.now + 10 * NP_NS_PER_MS, fault, NULL, NULL);
    while (world.events < events) {
        step(&world);
    }
    settle(&world);
    collect_stats(&world);
    printf("seed %" PRIu64 ": %" PRIu64 " events, %.1f s, %" PRIu64 " tasks done, %" PRIu64 " lost, %" PRIu64
           " poison, %" PRIu64 " delivered again; %" PRIu64 " broker restarts, %" PRIu64 " broken links, %" PRIu64
           " crashes, %" PRIu64 " drains, %" PRIu64 " forgeries; %" PRIu64 " late, %" PRIu64 " refused, %" PRIu64
           " adopted, %" PRIu64 " returned; %" PRIu64 " in lanes, %" PRIu64 " with labels, %" PRIu64 " wide, %" PRIu64
           " prepared, %" PRIu64 " progress values\n",
           seed, world.events, (double)world.now / 1e9, world.completed, world.lost, world.poisoned,
           world.retransmitted, world.restarts, world.breaks, world.crashes, world.drains, world.forgeries,
           world.late, world.refused, world.adopted, world.returned, world.in_lanes, world.labelled, world.wide,
           world.prepared, world.progressed);
    core_destroy(&world.core);
    link_all_lost(&world);
    for (unsigned i = 0; i < WORLD_CLIENTS; i++) {
        client_model_destroy(&world.clients[i]);
    }
    for (unsigned i = 0; i < WORLD_WORKERS; i++) {
        worker_model_destroy(&world.workers[i]);
    }
    for (size_t i = 0; i < world.heap_count; i++) {
        if (world.heap[i].owns) {
            free(world.heap[i].who);
        }
    }
    free(world.heap);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t events = 1000000;
    uint64_t runs = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) {
            seed = value;
        } else if (strcmp(argv[i], "--events") == 0) {
            events = value;
        } else if (strcmp(argv[i], "--runs") == 0) {
            runs = value;
        } else if (strcmp(argv[i], "--throughput") == 0) {
            return throughput(value);
        } else {
            fprintf(stderr, "usage: sim_core [--seed S] [--events N] [--runs R] | --throughput N\n");
            return 2;
        }
    }
    for (uint64_t i = 0; i < runs; i++) {
        simulate(seed + i, events);
    }
    return 0;
}
