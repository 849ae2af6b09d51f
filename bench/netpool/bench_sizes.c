/*
 * What a size costs: the length of the queue, or of a payload.
 *
 *     bench_sizes URL queued COUNT [SECONDS]     one client keeps COUNT tasks of 16 bytes at the pool: its rate, and
 * the round trips of a second client meanwhile bench_sizes URL payload BYTES [SECONDS]    round trips of payloads of
 * this size, and the rate with four under way
 *
 * Prints {"rate":tasks/s,"p50":us,"p99":us}.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/figures.h"
#include "client/netpool.h"

enum { TIMES_MAX = 200000, UNDER_WAY = 4, TRIPS_LEAST = 3, DRAIN_MAX = 1024 };

struct figure {
    double rate;
    double p50_us;
    double p99_us;
};

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

static int compare_ns(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void measure_round_trips(netpool *pool, netpool_bytes payload, double seconds, struct figure *figure)
{
    struct figures_times times;
    figures_times_init(&times, TIMES_MAX);
    uint64_t now_ns = figures_now_ns();
    uint64_t end_ns = now_ns + (uint64_t)(seconds * FIGURES_NS_PER_S);
    for (size_t i = 0; now_ns < end_ns || i <= TRIPS_LEAST; i++) {
        netpool_future *future = NULL;
        uint64_t start_ns = now_ns;
        require(netpool_submit(pool, "echo", payload, NULL, &future), "submit");
        wait_and_free(&future, payload.size);
        now_ns = figures_now_ns();
        if (i > 0) { /* the first one warms up */
            figures_times_add(&times, now_ns - start_ns);
        }
    }
    qsort(times.ns, times.count, sizeof *times.ns, compare_ns);
    figure->p50_us = (double)times.ns[times.count / 2] / 1e3;
    figure->p99_us = (double)times.ns[times.count * 99 / 100] / 1e3;
    figures_times_fini(&times);
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
    static const char payload[16] = "sixteen bytes..";
    struct filler *filler = argument;
    uint64_t put = 0;
    uint64_t taken = 0;
    while (!atomic_load(&filler->is_stopped)) {
        uint64_t index;
        netpool_result result;
        for (; put - taken < filler->depth; put++) {
            require(netpool_stream_put(filler->stream, (netpool_bytes){payload, sizeof payload}, -1), "put");
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

static void measure_queued(const char *url, size_t depth, double seconds, struct figure *figure)
{
    netpool *pool = open_pool(url);
    netpool *other = open_pool(url);
    struct filler filler = {.depth = depth};
    netpool_stream_options options = {.in_flight = depth, .in_flight_bytes = 16 * depth + 16};
    require(netpool_stream_open(pool, "echo", &options, &filler.stream), "stream");
    pthread_t thread;
    if (pthread_create(&thread, NULL, keep_full, &filler) != 0) {
        figures_die("no thread");
    }
    /* Once as many as wait have passed, all of them were put while others waited. */
    while (atomic_load(&filler.taken) < depth) {
        pause_until(figures_now_ns() + 1000000);
    }
    uint64_t taken = atomic_load(&filler.taken);
    uint64_t start_ns = figures_now_ns();
    pause_until(start_ns + (uint64_t)(seconds * FIGURES_NS_PER_S));
    figure->rate =
        (double)(atomic_load(&filler.taken) - taken) * FIGURES_NS_PER_S / (double)(figures_now_ns() - start_ns);
    measure_round_trips(other, (netpool_bytes){"sixteen bytes..", 16}, seconds, figure);
    atomic_store(&filler.is_stopped, true);
    pthread_join(thread, NULL);
    netpool_stream_close(&filler.stream);
    netpool_terminate(&other);
    netpool_terminate(&pool);
}

static void measure_payload(const char *url, size_t size, double seconds, struct figure *figure)
{
    netpool *pool = open_pool(url);
    netpool_future *futures[UNDER_WAY] = {NULL};
    char *data = calloc(1, size);
    if (data == NULL) {
        figures_die("out of memory");
    }
    netpool_bytes payload = {data, size};
    measure_round_trips(pool, payload, seconds, figure);
    uint64_t start_ns = figures_now_ns();
    uint64_t now_ns = start_ns;
    uint64_t done = 0;
    for (size_t i = 0; i < UNDER_WAY; i++) {
        require(netpool_submit(pool, "echo", payload, NULL, &futures[i]), "submit");
    }
    for (; now_ns < start_ns + (uint64_t)(seconds * FIGURES_NS_PER_S) || done < UNDER_WAY; done++) {
        netpool_future **oldest = &futures[done % UNDER_WAY];
        wait_and_free(oldest, size);
        now_ns = figures_now_ns();
        require(netpool_submit(pool, "echo", payload, NULL, oldest), "submit");
    }
    figure->rate = (double)done * FIGURES_NS_PER_S / (double)(now_ns - start_ns);
    for (size_t i = 0; i < UNDER_WAY; i++) {
        wait_and_free(&futures[i], size);
    }
    free(data);
    netpool_terminate(&pool);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: bench_sizes URL queued|payload SIZE [SECONDS]\n");
        return 2;
    }
    struct figure figure = {0};
    size_t size = (size_t)figures_positive(argv[3], "size");
    double seconds = figures_positive(argc > 4 ? argv[4] : "0.5", "seconds");
    if (strcmp(argv[2], "queued") == 0) {
        measure_queued(argv[1], size, seconds, &figure);
    } else if (strcmp(argv[2], "payload") == 0) {
        measure_payload(argv[1], size, seconds, &figure);
    } else {
        figures_die("no mode '%s'", argv[2]);
    }
    printf("{\"rate\":%.6g,\"p50\":%.6g,\"p99\":%.6g}\n", figure.rate, figure.p50_us, figure.p99_us);
    return 0;
}
