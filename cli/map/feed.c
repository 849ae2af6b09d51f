#include "cli/map/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/map/lines.h"

#define CHUNK_BYTES ((size_t)16 * 1024 * 1024) /* a chunk is put when it has so many, however few lines they are */

/* Lines that were refused before they got an index. */
struct gap {
    uint64_t index;   /* of the next input after it */
    uint64_t skipped; /* lines refused so far */
};

struct feed {
    struct feed_options options;
    pthread_t thread;
    struct lines lines;
    _Atomic uint64_t lines_read;
    _Atomic uint64_t bytes_read;
    atomic_bool at_end;
    atomic_bool failed;

    struct np_buffer chunk; /* lines of the chunk being gathered, back to back */
    size_t *sizes;          /* their sizes */
    size_t gathered;

    uint64_t next_index; /* of the stream; the thread's own */
    uint64_t next_line;  /* from 0; the thread's own */

    pthread_mutex_t lock; /* of the gaps */
    struct gap *gaps;
    size_t gap_count;
    size_t gap_capacity;
};

static bool note_gap(struct feed *feed)
{
    bool noted = true;
    pthread_mutex_lock(&feed->lock);
    uint64_t skipped = feed->next_line + 1 - feed->next_index;
    if (feed->gap_count > 0 && feed->gaps[feed->gap_count - 1].index == feed->next_index) {
        feed->gaps[feed->gap_count - 1].skipped = skipped;
    } else {
        if (feed->gap_count == feed->gap_capacity) {
            size_t capacity = feed->gap_capacity * 2 + 16;
            struct gap *larger = realloc(feed->gaps, capacity * sizeof *larger);
            noted = larger != NULL;
            feed->gaps = noted ? larger : feed->gaps;
            feed->gap_capacity = noted ? capacity : feed->gap_capacity;
        }
        if (noted) {
            feed->gaps[feed->gap_count++] = (struct gap){.index = feed->next_index, .skipped = skipped};
        }
    }
    pthread_mutex_unlock(&feed->lock);
    return noted;
}

uint64_t feed_line_of(struct feed *feed, uint64_t index)
{
    uint64_t skipped = 0;
    pthread_mutex_lock(&feed->lock);
    size_t low = 0;
    size_t high = feed->gap_count;
    while (low < high) { /* the last gap at or before the index */
        size_t middle = low + (high - low) / 2;
        if (feed->gaps[middle].index <= index) {
            skipped = feed->gaps[middle].skipped;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    pthread_mutex_unlock(&feed->lock);
    return index + skipped + 1;
}

static bool refuse_line(struct feed *feed, netpool_status status, const char *limit_of, size_t size, size_t limit)
{
    char known[64] = "";
    if (limit > 0) {
        snprintf(known, sizeof known, " of %zu bytes", limit);
    }
    complain("line %" PRIu64 ": %s: %s: %zu bytes are over %s limit%s", feed->next_line + 1, feed->options.function,
             netpool_status_name(status), size, limit_of, known);
    atomic_store(&feed->failed, true);
    if (!note_gap(feed)) {
        complain("out of memory");
        return false;
    }
    feed->next_line++;
    return true;
}

/* False: no more lines. */
static bool put(struct feed *feed, netpool_bytes line)
{
    netpool_status status = netpool_stream_put(feed->options.stream, line, -1);
    switch (status) {
    case NETPOOL_OK:
        feed->next_index++;
        feed->next_line++;
        return true;
    case NETPOOL_TOO_LARGE:
        return refuse_line(feed, status, "the pool's", line.size, 0);
    case NETPOOL_CLOSED:
        return false;
    default:
        complain("line %" PRIu64 ": %s: %s: %s", feed->next_line + 1, feed->options.function,
                 netpool_status_name(status), netpool_status_text(status));
        atomic_store(&feed->failed, true);
        return false;
    }
}

static bool put_chunk(struct feed *feed)
{
    bool going_on = true;
    const uint8_t *next = feed->chunk.memory != NULL ? np_buffer_data(&feed->chunk) : NULL;
    for (size_t i = 0; i < feed->gathered && going_on; i++) {
        going_on = put(feed, (netpool_bytes){feed->sizes[i] > 0 ? next : NULL, feed->sizes[i]});
        next += feed->sizes[i];
    }
    np_buffer_clear(&feed->chunk);
    feed->gathered = 0;
    return going_on;
}

static bool gather(struct feed *feed, netpool_bytes line)
{
    if (line.size > 0 && np_buffer_append(&feed->chunk, line.data, line.size) != NETPOOL_OK) {
        complain("out of memory");
        atomic_store(&feed->failed, true);
        return false;
    }
    feed->sizes[feed->gathered++] = line.size;
    return (feed->gathered < feed->options.chunk && np_buffer_size(&feed->chunk) < CHUNK_BYTES) || put_chunk(feed);
}

static bool feed_one(struct feed *feed)
{
    netpool_bytes line;
    enum lines_status status = lines_next(&feed->lines, &line);
    switch (status) {
    case LINES_LINE:
        atomic_fetch_add(&feed->lines_read, 1);
        atomic_fetch_add(&feed->bytes_read, line.size + 1);
        return feed->options.chunk > 1 ? gather(feed, line) : put(feed, line);
    case LINES_TOO_LONG:
        atomic_fetch_add(&feed->lines_read, 1);
        atomic_fetch_add(&feed->bytes_read, line.size + 1);
        return put_chunk(feed) && refuse_line(feed, NETPOOL_TOO_LARGE, "the", line.size, FEED_LINE_LIMIT);
    case LINES_ERROR:
        complain("%s: %s", feed->options.input, strerror(errno));
        atomic_store(&feed->failed, true);
        put_chunk(feed);
        return false;
    case LINES_END:
        put_chunk(feed);
        return false;
    case LINES_WOKEN:
        break;
    }
    return false;
}

static void *run(void *context)
{
    struct feed *feed = context;
    while (feed_one(feed)) {
    }
    atomic_store(&feed->at_end, true);
    netpool_stream_end(feed->options.stream);
    return NULL;
}

struct feed *feed_start(const struct feed_options *options)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL) {
        return NULL;
    }
    feed->options = *options;
    feed->lines = (struct lines){.fd = options->fd, .wake_fd = options->wake_fd, .limit = FEED_LINE_LIMIT};
    pthread_mutex_init(&feed->lock, NULL);
    if (options->chunk > 1) {
        feed->sizes = calloc(options->chunk, sizeof *feed->sizes);
    }
    int error = options->chunk > 1 && feed->sizes == NULL ? ENOMEM : pthread_create(&feed->thread, NULL, run, feed);
    if (error != 0) {
        pthread_mutex_destroy(&feed->lock);
        free(feed->sizes);
        free(feed);
        errno = error;
        return NULL;
    }
    return feed;
}

void feed_stop(struct feed **feed_address, bool *failed)
{
    struct feed *feed = *feed_address;
    *feed_address = NULL;
    netpool_stream_end(feed->options.stream); /* a put that waits returns */
    pthread_join(feed->thread, NULL);
    *failed = *failed || atomic_load(&feed->failed);
    lines_fini(&feed->lines);
    np_buffer_fini(&feed->chunk);
    pthread_mutex_destroy(&feed->lock);
    free(feed->sizes);
    free(feed->gaps);
    free(feed);
}

struct feed_state feed_look(struct feed *feed)
{
    return (struct feed_state){.lines = atomic_load(&feed->lines_read),
                               .bytes = atomic_load(&feed->bytes_read),
                               .at_end = atomic_load(&feed->at_end)};
}
