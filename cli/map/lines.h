/* Reads lines of any bytes from a descriptor, each up to a limit, in memory that is bounded by it. */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "worker/netpool_function.h"

struct lines {
    int fd;
    int wake_fd;             /* reading stops when this becomes readable; -1: never */
    size_t limit;            /* bytes of a line, without its newline */
    struct np_buffer buffer; /* read and not yet returned */
    size_t returned;         /* bytes at the front that the last call returned */
    size_t scanned;          /* bytes at the front known to be without a newline */
    uint64_t dropped;        /* bytes of a line too long seen so far */
    bool dropping;           /* in the middle of one */
    bool at_end;
};

enum lines_status {
    LINES_LINE,
    LINES_TOO_LONG, /* out->data is NULL, out->size the bytes the line has */
    LINES_END,
    LINES_WOKEN, /* wake_fd */
    LINES_ERROR  /* errno */
};

/* The next line without its newline, borrowed until the next call. The last line may lack its newline; an empty rest
 * is no line. */
enum lines_status lines_next(struct lines *lines, netpool_bytes *out);

void lines_fini(struct lines *lines);

#endif
