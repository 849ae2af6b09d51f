/* The thread that reads lines and puts them into a stream. */
#ifndef CLI_FEED_H
#define CLI_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "client/netpool.h"

#define FEED_LINE_LIMIT ((size_t)64 * 1024 * 1024) /* bytes; what a pool takes at most by default */

struct feed;

struct feed_options {
    netpool_stream *stream;
    const char *function; /* for messages; borrowed */
    const char *input;    /* name of the input, for messages; borrowed */
    int fd;
    int wake_fd;  /* readable: stop */
    size_t chunk; /* lines put together; 0 and 1: each at once */
};

/* Starts the thread. NULL with errno. */
struct feed *feed_start(const struct feed_options *options);

/* Ends the stream's input, waits for the thread and frees. *failed is set when a line could not be put or the input
 * could not be read (each was complained about). */
void feed_stop(struct feed **feed, bool *failed);

struct feed_state {
    uint64_t lines; /* read so far */
    uint64_t bytes; /* of them */
    bool at_end;
};
struct feed_state feed_look(struct feed *feed);

/* The line number, from 1, of the stream's index-th input. */
uint64_t feed_line_of(struct feed *feed, uint64_t index);

#endif
