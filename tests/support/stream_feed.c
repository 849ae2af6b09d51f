/*
 * Feeds a stream without an end in sight and checks each result, for the test that memory stays flat.
 *
 *     stream_feed URL COUNT ordered|unordered
 *
 * One thread puts 0, 1, 2 ..., another takes their squares. After every tenth of COUNT it prints "tenth N" and waits
 * for a line on standard input, so that who measures memory does so while the pool is full. Exit status: 0 all right,
 * 1 a result was wrong, missing or there twice, 2 usage, 3 no pool.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/netpool.h"

struct feed {
    netpool_stream *stream;
    uint64_t count;
    bool is_ordered;
    unsigned char *seen; /* a bit an index */
    uint64_t taken;
};

static void *put_all(void *context)
{
    struct feed *feed = context;
    for (uint64_t i = 0; i < feed->count; i++) {
        netpool_status status = netpool_stream_put(feed->stream, (netpool_bytes){&i, sizeof i}, -1);
        if (status != NETPOOL_OK) {
            fprintf(stderr, "put %" PRIu64 ": %s\n", i, netpool_status_name(status));
            break;
        }
    }
    netpool_stream_end(feed->stream);
    return NULL;
}

static bool is_right(struct feed *feed, uint64_t index, const netpool_result *result)
{
    uint64_t square = 0;
    if (result->status != NETPOOL_OK || result->size != sizeof square || index >= feed->count) {
        return false;
    }
    memcpy(&square, result->data, sizeof square);
    unsigned char bit = (unsigned char)(1U << index % 8);
    bool is_new = (feed->seen[index / 8] & bit) == 0;
    feed->seen[index / 8] |= bit;
    return is_new && square == index * index && (!feed->is_ordered || index == feed->taken);
}

static bool take_all(struct feed *feed)
{
    uint64_t index = 0;
    netpool_result result;
    while (netpool_stream_next(feed->stream, -1, &index, &result) == NETPOOL_OK) {
        if (!is_right(feed, index, &result)) {
            fprintf(stderr, "result %" PRIu64 " of index %" PRIu64 " is wrong: %s\n", feed->taken, index,
                    netpool_status_name(result.status));
            return false;
        }
        feed->taken++;
        if (feed->taken % (feed->count / 10) == 0) {
            printf("tenth %" PRIu64 "\n", feed->taken / (feed->count / 10));
            (void)fflush(stdout);
            if (getchar() == EOF) {
                return false;
            }
        }
    }
    return feed->taken == feed->count;
}

int main(int argc, char **argv)
{
    struct feed feed = {0};
    NETPOOL_SCOPED netpool *pool = NULL;
    netpool_error error;
    if (argc != 4 || (feed.count = strtoull(argv[2], NULL, 10)) < 10) {
        fprintf(stderr, "usage: stream_feed URL COUNT ordered|unordered\n");
        return 2;
    }
    feed.is_ordered = strcmp(argv[3], "ordered") == 0;
    if (netpool_open(&pool, argv[1], NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 3;
    }
    feed.seen = calloc(feed.count / 8 + 1, 1);
    const netpool_stream_options options = {.unordered = !feed.is_ordered};
    pthread_t thread;
    if (feed.seen == NULL || netpool_stream_open(pool, "square", &options, &feed.stream) != NETPOOL_OK ||
        pthread_create(&thread, NULL, put_all, &feed) != 0) {
        return 3;
    }
    memset(feed.seen, 0, feed.count / 8 + 1); /* resident from the start */
    bool ok = take_all(&feed);
    netpool_stream_end(feed.stream);
    (void)pthread_join(thread, NULL);
    netpool_stream_close(&feed.stream);
    free(feed.seen);
    return ok ? 0 : 1;
}
