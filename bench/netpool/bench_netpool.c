/*
 * The pool's own cases, through the public header only, the same on every kind of pool.
 *
 *     bench_netpool URL MODE [SECONDS]
 *
 *     rate_16, rate_1k       a stream of echoed payloads, one client, items a task: 1
 *     submit_16              the same with one future a task
 *     round_trip             submit and wait, one at a time
 *     map8                   netpool_map over 8-byte items, default chunks
 *     echo_1m                payloads of 1 MiB, four on their way
 *     start                  the moment (monotonic ns) of the first result
 *     scale_1ms              tasks that sleep for 1 ms
 *     one_shot               an executor a task: max_tasks_per_executor is 1
 *     queued_1k, queued_100k, queued_1m
 *                            the rate while so many tasks are kept waiting
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/figures.h"
#include "client/netpool.h"

#define TIMES_MAX 200000
#define WARM_UP 200
#define WINDOW 16384     /* tasks on their way */
#define DRAIN_MAX 1024   /* results taken before inputs are put again */
#define MAP_FIRST 100000 /* items */
#define MAP_MAX 16000000
#define INFO_TIMEOUT_MS 5000
#define WARM_UP_S 60 /* at most */

struct bench {
    netpool *pool;
    const char *kind; /* local, threads, ipc, tls */
    const char *mode;
    double seconds;
};

static void require(netpool_status status, const char *what)
{
    if (status != NETPOOL_OK) {
        figures_die("%s: %s", what, netpool_status_text(status));
    }
}

static uint64_t seconds_to_ns(double seconds)
{
    return (uint64_t)(seconds * FIGURES_NS_PER_S);
}

/* A stream that is kept full. */
struct pump {
    netpool_stream *stream;
    netpool_bytes payload;
    size_t result_size; /* expected */
    size_t window;      /* inputs on their way */
    uint64_t put;
    uint64_t taken;
};

static void pump_open(struct pump *pump, const struct bench *bench, const char *function, size_t size,
                      size_t result_size, size_t window)
{
    netpool_stream_options options = {.in_flight = window, .in_flight_bytes = window * size + size};
    void *data = calloc(1, size);
    if (data == NULL) {
        figures_die("out of memory");
    }
    *pump = (struct pump){.payload = {data, size}, .result_size = result_size, .window = window};
    require(netpool_stream_open(bench->pool, function, &options, &pump->stream), "stream");
}

static void pump_close(struct pump *pump)
{
    netpool_stream_close(&pump->stream);
    free((void *)pump->payload.data);
}

static void pump_fill(struct pump *pump)
{
    while (pump->put - pump->taken < pump->window) {
        require(netpool_stream_put(pump->stream, pump->payload, -1), "put");
        pump->put++;
    }
}

/* One result. False: none yet (only with timeout 0). */
static bool pump_take(struct pump *pump, int timeout_ms)
{
    uint64_t index;
    netpool_result result;
    netpool_status status = netpool_stream_next(pump->stream, timeout_ms, &index, &result);
    if (status == NETPOOL_TIMEOUT && timeout_ms == 0) {
        return false;
    }
    require(status, "next");
    require(result.status, "task");
    if (result.size != pump->result_size || index != pump->taken) {
        figures_die("result %" PRIu64 " has %zu bytes", index, result.size);
    }
    pump->taken++;
    return true;
}

/* Keeps the window full until the time or that many results; returns results a second. */
static double pump_run(struct pump *pump, double seconds, uint64_t results_max)
{
    uint64_t start_ns = figures_now_ns();
    uint64_t end_ns = start_ns + seconds_to_ns(seconds);
    uint64_t start_taken = pump->taken;
    uint64_t now_ns = start_ns;
    while (now_ns < end_ns && pump->taken - start_taken < results_max) {
        pump_fill(pump);
        pump_take(pump, -1);
        for (int i = 1; i < DRAIN_MAX && pump->put > pump->taken && pump_take(pump, 0); i++) {
        }
        now_ns = figures_now_ns();
    }
    return (double)(pump->taken - start_taken) * FIGURES_NS_PER_S / (double)(now_ns - start_ns);
}

static void measure_stream(const struct bench *bench, const char *function, size_t size, size_t result_size,
                           size_t window)
{
    struct pump pump;
    pump_open(&pump, bench, function, size, result_size, window);
    pump_run(&pump, bench->seconds / 5, UINT64_MAX);
    double rate = pump_run(&pump, bench->seconds, UINT64_MAX);
    figures_print(bench->kind, bench->mode, "tasks/s", rate);
    pump_close(&pump);
}

static void measure_rate_16(const struct bench *bench)
{
    measure_stream(bench, "echo", 16, 16, WINDOW);
}

static void measure_rate_1k(const struct bench *bench)
{
    measure_stream(bench, "echo", 1024, 1024, WINDOW);
}

static void measure_scale(const struct bench *bench)
{
    measure_stream(bench, "sleep_1ms", 16, 0, 1024);
}

/* Few on their way: what is measured is how fast executors follow each other. */
static void measure_one_shot(const struct bench *bench)
{
    measure_stream(bench, "echo", 16, 16, 64);
}

static void wait_and_free(netpool_future **future, size_t result_size)
{
    netpool_result result;
    require(netpool_wait(*future, -1, &result), "wait");
    if (result.size != result_size) {
        figures_die("a result of %zu bytes instead of %zu", result.size, result_size);
    }
    netpool_future_free(future);
}

/* Futures in a ring: the oldest is waited for before a new one takes its place. Returns tasks a second. */
static double run_futures(const struct bench *bench, netpool_bytes payload, size_t window)
{
    netpool_future **ring = calloc(window, sizeof(netpool_future *));
    if (ring == NULL) {
        figures_die("out of memory");
    }
    uint64_t begin_ns = figures_now_ns();
    uint64_t warm_ns = begin_ns + seconds_to_ns(bench->seconds / 5);
    uint64_t end_ns = begin_ns + seconds_to_ns(bench->seconds * 1.2);
    uint64_t counted = 0;
    uint64_t start_ns = 0;
    uint64_t now_ns = begin_ns;
    for (uint64_t i = 0; now_ns < end_ns; i++) {
        netpool_future **place = &ring[i % window];
        if (*place != NULL) {
            wait_and_free(place, payload.size);
            now_ns = figures_now_ns();
            if (start_ns != 0) {
                counted++;
            } else if (now_ns >= warm_ns) {
                start_ns = now_ns;
            }
        }
        require(netpool_submit(bench->pool, "echo", payload, NULL, place), "submit");
    }
    for (size_t i = 0; i < window; i++) {
        if (ring[i] != NULL) {
            wait_and_free(&ring[i], payload.size);
        }
    }
    free(ring);
    if (counted == 0) {
        figures_die("nothing was done in the time given");
    }
    return (double)counted * FIGURES_NS_PER_S / (double)(now_ns - start_ns);
}

static void measure_submit_16(const struct bench *bench)
{
    static const char payload[16] = "sixteen bytes..";
    netpool_bytes input = {payload, sizeof payload};
    figures_print(bench->kind, bench->mode, "tasks/s", run_futures(bench, input, WINDOW));
}

static void measure_echo_1m(const struct bench *bench)
{
    static const char payload[1024 * 1024] = "one mebibyte";
    netpool_bytes input = {payload, sizeof payload};
    figures_print(bench->kind, bench->mode, "MiB/s", run_futures(bench, input, 4));
}

static void one_round_trip(const struct bench *bench)
{
    static const char payload[16] = "sixteen bytes..";
    netpool_bytes input = {payload, sizeof payload};
    netpool_future *future = NULL;
    require(netpool_submit(bench->pool, "echo", input, NULL, &future), "submit");
    wait_and_free(&future, sizeof payload);
}

static void measure_round_trip(const struct bench *bench)
{
    struct figures_times times;
    figures_times_init(&times, TIMES_MAX);
    for (int i = 0; i < WARM_UP; i++) {
        one_round_trip(bench);
    }
    uint64_t now_ns = figures_now_ns();
    uint64_t end_ns = now_ns + seconds_to_ns(bench->seconds);
    while (now_ns < end_ns) {
        uint64_t start_ns = now_ns;
        one_round_trip(bench);
        now_ns = figures_now_ns();
        figures_times_add(&times, now_ns - start_ns);
    }
    figures_print_times(bench->kind, bench->mode, &times);
    figures_times_fini(&times);
}

static void measure_start(const struct bench *bench)
{
    one_round_trip(bench);
    figures_print(bench->kind, bench->mode, "ns", (double)figures_now_ns());
}

/* Maps 0, 1, 2, ... and checks every square; returns the seconds the map took. */
static double map_squares(const struct bench *bench, uint64_t *in, uint64_t *out, size_t count)
{
    netpool_error error;
    for (size_t i = 0; i < count; i++) {
        in[i] = i;
        out[i] = 0;
    }
    uint64_t start_ns = figures_now_ns();
    if (netpool_map(bench->pool, "square8", in, count, sizeof *in, out, sizeof *out, NULL, &error) != NETPOOL_OK) {
        figures_die("map: %s", error.message);
    }
    double seconds = (double)(figures_now_ns() - start_ns) / FIGURES_NS_PER_S;
    for (size_t i = 0; i < count; i++) {
        if (out[i] != (uint64_t)i * i) {
            figures_die("map: item %zu is wrong", i);
        }
    }
    return seconds;
}

/* One map of as many items as fill about the time. */
static void measure_map8(const struct bench *bench)
{
    uint64_t *in = calloc(MAP_MAX, sizeof *in);
    uint64_t *out = calloc(MAP_MAX, sizeof *out);
    if (in == NULL || out == NULL) {
        figures_die("out of memory");
    }
    size_t count = MAP_FIRST;
    double took = map_squares(bench, in, out, count);
    while (took < bench->seconds / 2 && count < MAP_MAX) {
        double wanted = (double)count * bench->seconds / (took > 1e-4 ? took : 1e-4);
        count = wanted < MAP_MAX ? (size_t)wanted : MAP_MAX;
        took = map_squares(bench, in, out, count);
    }
    figures_print(bench->kind, bench->mode, "items/s", (double)count / took);
    free(in);
    free(out);
}

/* Fills the stream and lets it turn over twice: memory that is used for the first time, and results that waited while
 * the queue grew, are no steady state. Then for as long as about one more turn takes. */
static void measure_queued(const struct bench *bench, size_t depth)
{
    struct pump pump;
    netpool_info *info = NULL;
    netpool_error error;
    pump_open(&pump, bench, "echo", 16, 16, depth);
    pump_fill(&pump);
    pump_run(&pump, WARM_UP_S, 2 * depth);
    double rate = pump_run(&pump, bench->seconds + (double)depth / 1e6, UINT64_MAX);
    if (netpool_get_info(bench->pool, &info, INFO_TIMEOUT_MS, &error) != NETPOOL_OK) {
        figures_die("info: %s", error.message);
    }
    fprintf(stderr, "%s %s: %" PRIu64 " queued and %" PRIu64 " running at the broker in the end\n", bench->kind,
            bench->mode, info->queued, info->running);
    figures_print(bench->kind, bench->mode, "tasks/s", rate);
    netpool_info_free(&info);
    pump_close(&pump);
}

static void measure_queued_1k(const struct bench *bench)
{
    measure_queued(bench, 1000);
}

static void measure_queued_100k(const struct bench *bench)
{
    measure_queued(bench, 100000);
}

static void measure_queued_1m(const struct bench *bench)
{
    measure_queued(bench, 1000000);
}

static const struct {
    const char *name;
    void (*run)(const struct bench *bench);
} modes[] = {
    {"rate_16", measure_rate_16},       {"rate_1k", measure_rate_1k},     {"submit_16", measure_submit_16},
    {"round_trip", measure_round_trip}, {"map8", measure_map8},           {"echo_1m", measure_echo_1m},
    {"start", measure_start},           {"one_shot", measure_one_shot},   {"scale_1ms", measure_scale},
    {"queued_1k", measure_queued_1k},   {"queued_1m", measure_queued_1m}, {"queued_100k", measure_queued_100k},
};

static const char *kind_of(const char *url)
{
    static const char *const kinds[] = {"local", "threads", "ipc", "tls"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strncmp(url, kinds[i], strlen(kinds[i])) == 0) {
            return kinds[i];
        }
    }
    figures_die("no kind of pool: '%s'", url);
}

int main(int argc, char **argv)
{
    netpool_error error;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_netpool URL MODE [SECONDS]\n");
        return 2;
    }
    struct bench bench = {.kind = kind_of(argv[1]), .mode = argv[2]};
    bench.seconds = figures_positive(argc > 3 ? argv[3] : "0.5", "seconds");
    netpool_options options = {.max_tasks_per_executor = strcmp(bench.mode, "one_shot") == 0 ? 1 : 0};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, bench.mode) == 0) {
            if (netpool_open(&bench.pool, argv[1], &options, &error) != NETPOOL_OK) {
                figures_die("%s", error.message);
            }
            modes[i].run(&bench);
            netpool_terminate(&bench.pool);
            return 0;
        }
    }
    figures_die("no mode '%s'", bench.mode);
}
