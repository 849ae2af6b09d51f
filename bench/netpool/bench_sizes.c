/*
 * What a size costs: the length of the queue, or of a payload.
 *
 *     bench_sizes URL queued COUNT [SECONDS]     one client keeps COUNT tasks of 16 bytes at the pool: its rate, then
 *                                                the round trips of a second client meanwhile
 *     bench_sizes URL stream COUNT [SECONDS]     its rate only
 *     bench_sizes URL waiting COUNT [SECONDS]    COUNT tasks wait for a worker that does not come: round trips of
 *                                                another client
 *     bench_sizes URL payload BYTES [SECONDS]    round trips of payloads of this size, then the rate with four under
 *                                                way
 *     bench_sizes URL clients COUNT [SECONDS]    the rate of COUNT clients, each with one task of 16 bytes at a time
 *
 * The phases (phase.h) are "rate" and "trips". After every line it waits for one on stdin, or its end, so that
 * whoever runs it can look at the processes in between.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/figures.h"
#include "bench/phase.h"
#include "client/netpool.h"

enum { DRAIN_MAX = 1024, INFO_TIMEOUT_MS = 5000 };
#define QUEUED_TIMEOUT_NS UINT64_C(30000000000)

static const netpool_bytes payload_16 = {"sixteen bytes..", 16};

static void require(netpool_status status, const char *what)
{
    if (status != NETPOOL_OK) {
        figures_die("%s: %s", what, netpool_status_text(status));
    }
}

static netpool *open_pool(const char *url)
{
    netpool *pool = NULL;
    netpool_error error;
    if (netpool_open(&pool, url, NULL, &error) != NETPOOL_OK) {
        figures_die("%s", error.message);
    }
    return pool;
}

static void wait_and_free(netpool_future **future, size_t size)
{
    netpool_result result;
    require(netpool_wait(*future, -1, &result), "wait");
    if (result.size != size) {
        figures_die("a result of %zu bytes instead of %zu", result.size, size);
    }
    netpool_future_free(future);
}

static void measure_trips(netpool *pool, netpool_bytes payload, double seconds)
{
    _Atomic uint64_t done = 0;
    struct phase phase;
    phase_init(&phase, "trips", phase_of_trips(payload.size, seconds), true, &done);
    for (; phase_goes_on(&phase); done++) {
        netpool_future *future = NULL;
        require(netpool_submit(pool, "echo", payload, NULL, &future), "submit");
        wait_and_free(&future, payload.size);
    }
}

/* A stream that a thread keeps full. */
struct filler {
    netpool_stream *stream;
    size_t depth;
    _Atomic uint64_t taken;
    _Atomic bool is_stopped;
};

static void *keep_full(void *argument)
{
    struct filler *filler = argument;
    uint64_t put = 0;
    uint64_t taken = 0;
    while (!atomic_load(&filler->is_stopped)) {
        uint64_t index;
        netpool_result result;
        for (; put - taken < filler->depth; put++) {
            require(netpool_stream_put(filler->stream, payload_16, -1), "put");
        }
        require(netpool_stream_next(filler->stream, -1, &index, &result), "next");
        atomic_store(&filler->taken, ++taken);
        for (int i = 1; i < DRAIN_MAX && taken < put; i++) {
            if (netpool_stream_next(filler->stream, 0, &index, &result) != NETPOOL_OK) {
                break;
            }
            atomic_store_explicit(&filler->taken, ++taken, memory_order_relaxed);
        }
    }
    return NULL;
}

static void pause_until(uint64_t end_ns)
{
    struct timespec end = {.tv_sec = (time_t)(end_ns / 1000000000U), .tv_nsec = (long)(end_ns % 1000000000U)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) != 0) {
    }
}

/* `other` is a second client, or NULL. */
static void measure_full(const char *url, size_t depth, double seconds, netpool *other)
{
    netpool *pool = open_pool(url);
    struct filler filler = {.depth = depth};
    netpool_stream_options options = {.in_flight = depth, .in_flight_bytes = 16 * depth + 16};
    require(netpool_stream_open(pool, "echo", &options, &filler.stream), "stream");
    pthread_t thread;
    if (pthread_create(&thread, NULL, keep_full, &filler) != 0) {
        figures_die("no thread");
    }
    /* The first so many are put before one result is taken: most are done by then, and what is full is this client.
     * Taking them fills the pool's queue at one go. Once the second so many have passed, it has been full and used.
     */
    struct phase phase;
    struct phase_length length = {
        .warm_up = 2 * depth, .warm_up_seconds = seconds / 5, .least = depth, .seconds = seconds};
    phase_init(&phase, "rate", length, false, &filler.taken);
    while (phase_goes_on(&phase)) {
        pause_until(figures_now_ns() + 1000000);
    }
    if (other != NULL) {
        measure_trips(other, payload_16, seconds);
    }
    atomic_store(&filler.is_stopped, true);
    pthread_join(thread, NULL);
    netpool_stream_close(&filler.stream);
    netpool_terminate(&pool);
}

static void measure_queued(const char *url, size_t depth, double seconds)
{
    netpool *other = open_pool(url);
    measure_full(url, depth, seconds, other);
    netpool_terminate(&other);
}

static void measure_stream(const char *url, size_t depth, double seconds)
{
    measure_full(url, depth, seconds, NULL);
}

/* The broker has them when it says so. */
static void wait_until_queued(netpool *pool, size_t count)
{
    uint64_t queued = 0;
    for (uint64_t now_ns = figures_now_ns(), end_ns = now_ns + QUEUED_TIMEOUT_NS; queued < count;) {
        netpool_info *info = NULL;
        netpool_error error;
        if (netpool_get_info(pool, &info, INFO_TIMEOUT_MS, &error) != NETPOOL_OK) {
            figures_die("info: %s", error.message);
        }
        queued = info->queued;
        netpool_info_free(&info);
        if (figures_now_ns() > end_ns) {
            figures_die("only %" PRIu64 " of %zu tasks were queued at the broker", queued, count);
        }
        pause_until(figures_now_ns() + 1000000);
    }
}

static void measure_waiting(const char *url, size_t count, double seconds)
{
    netpool *pool = open_pool(url);
    netpool *other = open_pool(url);
    netpool_stream *stream = NULL;
    netpool_stream_options options = {
        .in_flight = count, .in_flight_bytes = 16 * count + 16, .task.labels = "nobody-has-this"};
    require(netpool_stream_open(pool, "echo", &options, &stream), "stream");
    for (size_t i = 0; i < count; i++) {
        require(netpool_stream_put(stream, payload_16, -1), "put");
    }
    wait_until_queued(pool, count);
    measure_trips(other, payload_16, seconds);
    netpool_terminate(&other);
    netpool_terminate(&pool);
    netpool_stream_close(&stream);
}

static void measure_payload(const char *url, size_t size, double seconds)
{
    netpool *pool = open_pool(url);
    netpool_future *futures[PHASE_UNDER_WAY] = {NULL};
    char *data = malloc(size);
    if (data == NULL) {
        figures_die("out of memory");
    }
    memset(data, 'x', size); /* every page is there, and its own */
    netpool_bytes payload = {data, size};
    measure_trips(pool, payload, seconds);
    for (size_t i = 0; i < PHASE_UNDER_WAY; i++) {
        require(netpool_submit(pool, "echo", payload, NULL, &futures[i]), "submit");
    }
    _Atomic uint64_t done = 0;
    struct phase phase;
    phase_init(&phase, "rate", phase_of_rate(size, seconds), false, &done);
    for (; phase_goes_on(&phase); done++) {
        netpool_future **oldest = &futures[done % PHASE_UNDER_WAY];
        wait_and_free(oldest, size);
        require(netpool_submit(pool, "echo", payload, NULL, oldest), "submit");
    }
    for (size_t i = 0; i < PHASE_UNDER_WAY; i++) {
        wait_and_free(&futures[i], size);
    }
    free(data);
    netpool_terminate(&pool);
}

static void measure_clients(const char *url, size_t count, double seconds)
{
    struct {
        netpool *pool;
        netpool_future *future;
    } *clients = calloc(count, sizeof *clients);
    if (clients == NULL) {
        figures_die("out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        clients[i].pool = open_pool(url);
        require(netpool_submit(clients[i].pool, "echo", payload_16, NULL, &clients[i].future), "submit");
    }
    _Atomic uint64_t done = 0;
    struct phase phase;
    struct phase_length length = {
        .warm_up = 2 * count, .warm_up_seconds = seconds / 5, .least = count, .seconds = seconds};
    phase_init(&phase, "rate", length, false, &done);
    for (; phase_goes_on(&phase); done++) {
        size_t next = done % count;
        wait_and_free(&clients[next].future, payload_16.size);
        require(netpool_submit(clients[next].pool, "echo", payload_16, NULL, &clients[next].future), "submit");
    }
    for (size_t i = 0; i < count; i++) {
        wait_and_free(&clients[i].future, payload_16.size);
        netpool_terminate(&clients[i].pool);
    }
    free(clients);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const char *url, size_t size, double seconds);
    } modes[] = {{"queued", measure_queued},
                 {"stream", measure_stream},
                 {"waiting", measure_waiting},
                 {"payload", measure_payload},
                 {"clients", measure_clients}};
    if (argc < 4) {
        fprintf(stderr, "usage: bench_sizes URL queued|stream|waiting|payload|clients SIZE [SECONDS]\n");
        return 2;
    }
    size_t size = (size_t)figures_positive(argv[3], "size");
    double seconds = figures_positive(argc > 4 ? argv[4] : "0.5", "seconds");
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[2], modes[i].name) == 0) {
            modes[i].run(argv[1], size, seconds);
            return 0;
        }
    }
    figures_die("no mode '%s'", argv[2]);
}
