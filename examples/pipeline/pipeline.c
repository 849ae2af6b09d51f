/*
 * A pipeline: one producer, workers, one collector. The producer reads its input block by block, the workers compress
 * the blocks, the collector writes them in order: a parallel gzip(1). The stream between them holds a bounded number
 * of blocks, so input without end runs in constant memory.
 *
 *     pipeline <FILE >FILE.gz                             worker processes beside this program
 *     pipeline --url tls://broker.example:4747 <FILE >FILE.gz
 *
 * Exit status: 0 done, 1 a block failed, 2 usage, 3 the pool cannot be used.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netpool.h>

enum { EXIT_TASK = 1, EXIT_USAGE = 2, EXIT_POOL = 3 };
enum { BLOCK_SIZE = 512 * 1024, BLOCKS_IN_FLIGHT = 32 };

struct producer {
    netpool_stream *stream;
    bool ok;
};

/* The producer: a thread that reads and puts, and waits while enough is in flight. */
static void *produce(void *context)
{
    struct producer *producer = context;
    char *block = malloc(BLOCK_SIZE);
    producer->ok = block != NULL;
    while (producer->ok) {
        size_t size = fread(block, 1, BLOCK_SIZE, stdin);
        if (ferror(stdin)) {
            fprintf(stderr, "pipeline: reading: %s\n", strerror(errno));
            producer->ok = false;
        }
        if (size == 0) {
            break;
        }
        if (netpool_stream_put(producer->stream, (netpool_bytes){block, size}, -1) != NETPOOL_OK) {
            fprintf(stderr, "pipeline: %s\n", netpool_last_error());
            producer->ok = false;
        }
    }
    free(block);
    netpool_stream_end(producer->stream);
    return NULL;
}

/* The collector: takes results in the order of the blocks. */
static bool collect(netpool_stream *stream, uint64_t *blocks, uint64_t *bytes)
{
    uint64_t index = 0;
    netpool_result result;
    while (netpool_stream_next(stream, -1, &index, &result) == NETPOOL_OK) {
        if (result.status != NETPOOL_OK) {
            fprintf(stderr, "pipeline: block %llu: %s\n", (unsigned long long)index, result.failure->message);
            return false;
        }
        if (fwrite(result.data, 1, result.size, stdout) != result.size) {
            fprintf(stderr, "pipeline: writing: %s\n", strerror(errno));
            return false;
        }
        (*blocks)++;
        *bytes += result.size;
    }
    if (fflush(stdout) != 0) {
        fprintf(stderr, "pipeline: writing: %s\n", strerror(errno));
        return false;
    }
    return true;
}

static int run(const char *url)
{
    NETPOOL_SCOPED netpool *pool = NULL;
    netpool_error error;
    const netpool_stream_options options = {.in_flight = BLOCKS_IN_FLIGHT};
    struct producer producer = {0};
    pthread_t thread;
    uint64_t blocks = 0;
    uint64_t bytes = 0;

    if (netpool_open(&pool, url, NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "pipeline: %s\n", error.message);
        return error.status == NETPOOL_INVALID ? EXIT_USAGE : EXIT_POOL;
    }
    if (netpool_stream_open(pool, "gzip_block", &options, &producer.stream) != NETPOOL_OK) {
        fprintf(stderr, "pipeline: %s\n", netpool_last_error());
        return EXIT_POOL;
    }
    if (pthread_create(&thread, NULL, produce, &producer) != 0) {
        fprintf(stderr, "pipeline: no thread for the producer\n");
        netpool_stream_close(&producer.stream);
        return EXIT_POOL;
    }
    bool ok = collect(producer.stream, &blocks, &bytes);
    netpool_stream_end(producer.stream); /* a producer that waits for room returns */
    (void)pthread_join(thread, NULL);
    netpool_stream_close(&producer.stream);
    fprintf(stderr, "%llu blocks, %llu bytes written\n", (unsigned long long)blocks, (unsigned long long)bytes);
    return ok && producer.ok ? EXIT_SUCCESS : EXIT_TASK;
}

static void print_help(FILE *out)
{
    fputs("Usage: pipeline [--url URL] <INPUT >OUTPUT.gz\n"
          "\n"
          "Compresses standard input to standard output, in the format of gzip(1), on a pool.\n"
          "\n"
          "  -u, --url URL  the pool: local[:N], threads[:N], ipc://PATH, tls://HOST:PORT\n"
          "                 (default: $NETPOOL_URL, else local:4)\n"
          "  -h, --help     print this text\n",
          out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    const char *url = getenv("NETPOOL_URL") != NULL ? NULL : "local:4";
    int option;

    netpool_init(&argc, &argv);
    while ((option = getopt_long(argc, argv, "u:h", options, NULL)) != -1) {
        switch (option) {
        case 'u':
            url = optarg;
            break;
        case 'h':
            print_help(stdout);
            return EXIT_SUCCESS;
        default:
            print_help(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    return run(url);
}
