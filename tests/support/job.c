/*
 * A program that uses a pool, for the tests of faults: it runs `count` tasks of the module `ledger`, checks that each
 * result is right and comes exactly once, and prints one line of JSON about what it saw.
 *
 *     job --count N --directory DIR [--url U] [--module F.so] [--mode stream|submit|map] [--sleep-us MAX]
 *         [--least-sleep-us MIN] [--in-flight N] [--ordered] [--max-attempts N] [--at-most-once] [--reconnect-ms N]
 * [--limit-ms N] [--progress N]
 *
 * --progress prints "progress N" on standard output after every N results. --least-sleep-us and --sleep-us are the
 * shortest and the longest sleep; a task's own follows from its id. Exit status: 0 every task succeeded, 1 some did
 * not, 2 usage, 3 no pool or past the limit.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/netpool.h"
#include "tests/support/expected.h"

enum { EXIT_SOME_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_POOL = 3 };

struct job {
    const char *url;
    const char *modules[2];
    const char *directory;
    const char *mode;
    uint64_t count;
    unsigned least_sleep_us;
    unsigned sleep_us;
    size_t in_flight;
    bool ordered;
    netpool_task_options task;
    int reconnect_ms;
    int limit_ms;
    uint64_t progress;

    unsigned char *seen; /* by id: results delivered */
    uint64_t ended;
    uint64_t wrong;
    uint64_t duplicates;
    uint64_t more_attempts; /* sum of attempt - 1 over results */
    uint64_t by_status[32];
    int64_t start_ms;
    int64_t last_ms;
    int64_t longest_gap_ms; /* between two results */
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int limit_left_ms(const struct job *job)
{
    int64_t left = job->start_ms + job->limit_ms - now_ms();
    return left > 0 ? (int)left : 0;
}

static size_t order_text(const struct job *job, uint64_t id, char *text, size_t size)
{
    uint64_t range_us = job->sleep_us - job->least_sleep_us + UINT64_C(1);
    unsigned sleep_us = job->least_sleep_us + (unsigned)(expected_result(~id) % range_us);
    return (size_t)snprintf(text, size, "%" PRIu64 " %u %s", id, sleep_us, job->directory);
}

static void take_status(struct job *job, uint64_t id, netpool_status status, const void *data, size_t size)
{
    int64_t now = now_ms();
    job->longest_gap_ms = now - job->last_ms > job->longest_gap_ms ? now - job->last_ms : job->longest_gap_ms;
    job->last_ms = now;
    if (id >= job->count || job->seen[id] > 0) {
        job->duplicates++;
        return;
    }
    job->seen[id] = 1;
    job->by_status[(unsigned)status < 32 ? (unsigned)status : 31]++;
    uint64_t expected = expected_result(id);
    job->wrong += status == NETPOOL_OK && (size != sizeof expected || memcmp(data, &expected, sizeof expected) != 0);
    job->ended++;
    if (job->progress > 0 && job->ended % job->progress == 0) {
        printf("progress %" PRIu64 "\n", job->ended);
        fflush(stdout);
    }
}

static void take_result(struct job *job, uint64_t id, const netpool_result *result)
{
    if (result->attempt > 1) {
        job->more_attempts += result->attempt - 1;
    }
    if (result->status != NETPOOL_OK && job->by_status[(unsigned)result->status % 32] < 3) {
        fprintf(stderr, "job: task %" PRIu64 ": %s: %s\n", id, netpool_status_name(result->status),
                result->failure != NULL ? result->failure->message : "");
    }
    take_status(job, id, result->status, result->data, result->size);
}

static netpool_status run_stream(struct job *job, netpool *pool)
{
    netpool_stream_options options = {.unordered = !job->ordered, .in_flight = job->in_flight, .task = job->task};
    netpool_stream *stream = NULL;
    netpool_status status = netpool_stream_open(pool, "ledger", &options, &stream);
    uint64_t put = 0;
    while (status == NETPOOL_OK && job->ended < job->count) {
        if (put < job->count) {
            char text[512];
            size_t size = order_text(job, put, text, sizeof text);
            status = netpool_stream_put(stream, (netpool_bytes){text, size}, 0);
            if (status == NETPOOL_OK) {
                put++;
                continue;
            }
            if (status != NETPOOL_TIMEOUT) {
                break;
            }
        }
        uint64_t index = 0;
        netpool_result result;
        status = netpool_stream_next(stream, limit_left_ms(job), &index, &result);
        if (status == NETPOOL_OK) {
            take_result(job, index, &result);
        }
    }
    if (status == NETPOOL_OK) {
        uint64_t index = 0;
        netpool_result result;
        netpool_stream_end(stream);
        job->duplicates += netpool_stream_next(stream, limit_left_ms(job), &index, &result) == NETPOOL_OK;
    }
    netpool_stream_close(&stream);
    return status;
}

static netpool_status run_submit(struct job *job, netpool *pool)
{
    netpool_future **futures = calloc(job->count, sizeof *futures);
    netpool_status status = futures != NULL ? NETPOOL_OK : NETPOOL_NO_MEMORY;
    uint64_t submitted = 0;
    for (; status == NETPOOL_OK && submitted < job->count; submitted += status == NETPOOL_OK) {
        char text[512];
        size_t size = order_text(job, submitted, text, sizeof text);
        status = netpool_submit(pool, "ledger", (netpool_bytes){text, size}, &job->task, &futures[submitted]);
    }
    if (status == NETPOOL_OK) {
        printf("submitted %" PRIu64 "\n", submitted);
        fflush(stdout);
    }
    for (uint64_t i = 0; i < submitted; i++) {
        netpool_result result;
        netpool_status waited = netpool_wait(futures[i], limit_left_ms(job), &result);
        if (waited == NETPOOL_TIMEOUT) {
            status = NETPOOL_TIMEOUT;
            break;
        }
        take_result(job, i, &result);
    }
    for (uint64_t i = 0; i < submitted; i++) {
        netpool_future_free(&futures[i]);
    }
    free(futures);
    return status;
}

static netpool_status run_map(struct job *job, netpool *pool)
{
    enum { TEXT_SIZE = 320 };
    netpool_bytes *in = calloc(job->count, sizeof *in);
    netpool_bytes *out = calloc(job->count, sizeof *out);
    char *texts = malloc(job->count * TEXT_SIZE);
    netpool_status status = NETPOOL_NO_MEMORY;
    if (in == NULL || out == NULL || texts == NULL) {
        goto cleanup;
    }
    for (uint64_t i = 0; i < job->count; i++) {
        in[i] = (netpool_bytes){texts + i * TEXT_SIZE, order_text(job, i, texts + i * TEXT_SIZE, TEXT_SIZE)};
    }
    netpool_map_options options = {.task = job->task};
    netpool_error error = {0};
    status = netpool_map_bytes(pool, "ledger", in, job->count, out, &options, &error);
    if (status != NETPOOL_OK) {
        fprintf(stderr, "job: %s\n", error.message);
    } else {
        for (uint64_t i = 0; i < job->count; i++) {
            take_status(job, i, NETPOOL_OK, out[i].data, out[i].size);
        }
    }
    netpool_free_results(out, job->count);
cleanup:
    free(texts);
    free(out);
    free(in);
    return status;
}

static void report(const struct job *job, netpool *pool, netpool_status status)
{
    printf("{\"count\": %" PRIu64 ", \"ended\": %" PRIu64 ", \"ok\": %" PRIu64 ", \"wrong\": %" PRIu64
           ", \"duplicates\": %" PRIu64 ", \"more_attempts\": %" PRIu64 ", \"elapsed_ms\": %" PRId64
           ", \"longest_gap_ms\": %" PRId64 ", \"status\": \"%s\", \"failed\": {",
           job->count, job->ended, job->by_status[NETPOOL_OK], job->wrong, job->duplicates, job->more_attempts,
           now_ms() - job->start_ms, job->longest_gap_ms, netpool_status_name(status));
    const char *separator = "";
    for (unsigned i = 1; i < 32; i++) {
        if (job->by_status[i] > 0) {
            printf("%s\"%s\": %" PRIu64, separator, netpool_status_name((netpool_status)i), job->by_status[i]);
            separator = ", ";
        }
    }
    netpool_info *info = NULL;
    printf("}");
    if (job->by_status[NETPOOL_OK] == job->count && netpool_get_info(pool, &info, 5000, NULL) == NETPOOL_OK) {
        printf(", \"info\": {\"queued\": %" PRIu64 ", \"running\": %" PRIu64 ", \"done\": %" PRIu64
               ", \"failed\": %" PRIu64 ", \"retried\": %" PRIu64 ", \"late\": %" PRIu64 ", \"refused\": %" PRIu64
               "}",
               info->queued, info->running, info->done, info->failed, info->retried, info->late, info->refused);
    }
    netpool_info_free(&info);
    printf("}\n");
    fflush(stdout);
}

static bool parse_arguments(struct job *job, int argc, char **argv)
{
    static const struct option options[] = {{"url", required_argument, NULL, 'u'},
                                            {"module", required_argument, NULL, 'm'},
                                            {"directory", required_argument, NULL, 'd'},
                                            {"mode", required_argument, NULL, 'M'},
                                            {"count", required_argument, NULL, 'c'},
                                            {"sleep-us", required_argument, NULL, 's'},
                                            {"in-flight", required_argument, NULL, 'f'},
                                            {"ordered", no_argument, NULL, 'o'},
                                            {"least-sleep-us", required_argument, NULL, 'S'},
                                            {"max-attempts", required_argument, NULL, 'a'},
                                            {"at-most-once", no_argument, NULL, '1'},
                                            {"reconnect-ms", required_argument, NULL, 'r'},
                                            {"limit-ms", required_argument, NULL, 'l'},
                                            {"progress", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    *job = (struct job){.mode = "stream", .limit_ms = 120000};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'u':
            job->url = optarg;
            break;
        case 'm':
            job->modules[0] = optarg;
            break;
        case 'd':
            job->directory = optarg;
            break;
        case 'M':
            job->mode = optarg;
            break;
        case 'c':
            job->count = strtoull(optarg, NULL, 10);
            break;
        case 's':
            job->sleep_us = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'S':
            job->least_sleep_us = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'f':
            job->in_flight = strtoul(optarg, NULL, 10);
            break;
        case 'o':
            job->ordered = true;
            break;
        case 'a':
            job->task.max_attempts = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case '1':
            job->task.at_most_once = true;
            break;
        case 'r':
            job->reconnect_ms = atoi(optarg);
            break;
        case 'l':
            job->limit_ms = atoi(optarg);
            break;
        case 'p':
            job->progress = strtoull(optarg, NULL, 10);
            break;
        default:
            return false;
        }
    }
    return optind == argc && job->count > 0 && job->directory != NULL && job->least_sleep_us <= job->sleep_us;
}

int main(int argc, char **argv)
{
    struct job job;
    if (!parse_arguments(&job, argc, argv)) {
        fprintf(stderr, "job: usage: job --count N --directory DIR [options], see the head of job.c\n");
        return EXIT_USAGE;
    }
    job.seen = calloc(job.count, 1);
    if (job.seen == NULL) {
        return EXIT_NO_POOL;
    }
    netpool_options options = {.name = "job", .reconnect_timeout_ms = job.reconnect_ms};
    if (job.modules[0] != NULL) {
        options.modules = job.modules;
        options.start_method = NETPOOL_START_MODULE;
    }
    netpool *pool = NULL;
    netpool_error error = {0};
    netpool_status status = netpool_open(&pool, job.url, &options, &error);
    if (status != NETPOOL_OK) {
        fprintf(stderr, "job: %s\n", error.message);
        free(job.seen);
        return EXIT_NO_POOL;
    }
    job.start_ms = job.last_ms = now_ms();
    if (strcmp(job.mode, "submit") == 0) {
        status = run_submit(&job, pool);
    } else if (strcmp(job.mode, "map") == 0) {
        status = run_map(&job, pool);
    } else {
        status = run_stream(&job, pool);
    }
    report(&job, pool, status);
    if (status == NETPOOL_TIMEOUT) {
        netpool_terminate(&pool);
    } else {
        netpool_close(&pool);
    }
    bool all = job.by_status[NETPOOL_OK] == job.count && job.wrong == 0 && job.duplicates == 0;
    free(job.seen);
    return status == NETPOOL_TIMEOUT ? EXIT_NO_POOL : all ? 0 : EXIT_SOME_FAILED;
}
