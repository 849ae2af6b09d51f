/*
 * What a broker needs in memory, seen from outside: its resident set before and after, over the number of things it
 * holds.
 *
 *     bench_memory URL BROKER_PID tasks [COUNT]    bytes of the broker a queued 16-byte task; no worker may be there
 *     bench_memory URL BROKER_PID peers [COUNT]    bytes of the broker an idle client
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/figures.h"
#include "client/netpool.h"

#define INFO_TIMEOUT_MS 5000
#define STILL_MS 1000 /* a queue that does not grow for so long is as long as it gets */

static uint64_t resident_bytes(long pid)
{
    char path[64];
    unsigned long total_pages = 0;
    unsigned long resident_pages = 0;
    snprintf(path, sizeof path, "/proc/%ld/statm", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%lu %lu", &total_pages, &resident_pages) != 2) {
        figures_die("%s cannot be read", path);
    }
    fclose(file);
    return (uint64_t)resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
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

static uint64_t queued_tasks(netpool *pool)
{
    netpool_info *info = NULL;
    netpool_error error;
    if (netpool_get_info(pool, &info, INFO_TIMEOUT_MS, &error) != NETPOOL_OK) {
        figures_die("info: %s", error.message);
    }
    uint64_t queued = info->queued;
    netpool_info_free(&info);
    return queued;
}

/* The broker takes tasks from the client at its own pace, and only up to its credit; it is asked until it has them.
 */
static uint64_t wait_until_queued(netpool *pool, uint64_t count)
{
    struct timespec pause = {.tv_nsec = 10 * 1000000};
    uint64_t queued = queued_tasks(pool);
    uint64_t grown_ns = figures_now_ns();
    while (queued < count && figures_now_ns() - grown_ns < STILL_MS * UINT64_C(1000000)) {
        nanosleep(&pause, NULL);
        uint64_t now_queued = queued_tasks(pool);
        if (now_queued > queued) {
            grown_ns = figures_now_ns();
        }
        queued = now_queued;
    }
    return queued;
}

static void measure_tasks(const char *url, long broker_pid, size_t count)
{
    static const char payload[16] = "sixteen bytes..";
    netpool_stream_options options = {.in_flight = count, .in_flight_bytes = (count + 1) * sizeof payload};
    netpool_stream *stream = NULL;
    netpool *pool = open_pool(url);
    uint64_t before = resident_bytes(broker_pid);
    if (netpool_stream_open(pool, "echo", &options, &stream) != NETPOOL_OK) {
        figures_die("no stream");
    }
    for (size_t i = 0; i < count; i++) {
        netpool_bytes input = {payload, sizeof payload};
        if (netpool_stream_put(stream, input, -1) != NETPOOL_OK) {
            figures_die("task %zu was not taken", i);
        }
    }
    uint64_t queued = wait_until_queued(pool, count);
    uint64_t after = resident_bytes(broker_pid);
    fprintf(stderr, "%" PRIu64 " of %zu tasks queued at the broker\n", queued, count);
    if (queued < count / 10) {
        figures_die("only %" PRIu64 " of %zu tasks were queued at the broker", queued, count);
    }
    figures_print("tls", "task_memory", "bytes", (double)(after - before) / (double)queued);
    netpool_stream_close(&stream);
    netpool_terminate(&pool);
}

static void measure_peers(const char *url, long broker_pid, size_t count)
{
    netpool **pools = calloc(count, sizeof(netpool *));
    if (pools == NULL) {
        figures_die("out of memory");
    }
    netpool *first = open_pool(url);
    uint64_t before = resident_bytes(broker_pid);
    for (size_t i = 0; i < count; i++) {
        pools[i] = open_pool(url);
    }
    uint64_t after = resident_bytes(broker_pid);
    figures_print("tls", "peer_memory", "bytes", (double)(after - before) / (double)count);
    for (size_t i = 0; i < count; i++) {
        netpool_terminate(&pools[i]);
    }
    netpool_terminate(&first);
    free(pools);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: bench_memory URL BROKER_PID tasks|peers [COUNT]\n");
        return 2;
    }
    long broker_pid = (long)figures_positive(argv[2], "pid of the broker");
    if (strcmp(argv[3], "tasks") == 0) {
        measure_tasks(argv[1], broker_pid, (size_t)figures_positive(argc > 4 ? argv[4] : "1000000", "tasks"));
    } else if (strcmp(argv[3], "peers") == 0) {
        measure_peers(argv[1], broker_pid, (size_t)figures_positive(argc > 4 ? argv[4] : "200", "peers"));
    } else {
        figures_die("no mode '%s'", argv[3]);
    }
    return 0;
}
