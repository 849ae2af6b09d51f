#include "cli/map/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE ((size_t)256 * 1024)

static enum lines_status wait_for_input(const struct lines *lines)
{
    struct pollfd polls[2] = {{.fd = lines->fd, .events = POLLIN}, {.fd = lines->wake_fd, .events = POLLIN}};
    while (poll(polls, 2, -1) < 0) {
        if (errno != EINTR) {
            return LINES_ERROR;
        }
    }
    return polls[1].revents != 0 ? LINES_WOKEN : LINES_LINE;
}

/* Reads once; LINES_LINE: something came. */
static enum lines_status fill(struct lines *lines)
{
    for (;;) {
        enum lines_status status = wait_for_input(lines);
        if (status != LINES_LINE) {
            return status;
        }
        uint8_t *room = np_buffer_reserve(&lines->buffer, READ_SIZE);
        if (room == NULL) {
            errno = ENOMEM;
            return LINES_ERROR;
        }
        ssize_t got = read(lines->fd, room, READ_SIZE);
        if (got > 0) {
            np_buffer_commit(&lines->buffer, (size_t)got);
            return LINES_LINE;
        }
        if (got == 0) {
            lines->at_end = true;
            return LINES_END;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return LINES_ERROR;
        }
    }
}

static const uint8_t *find_newline(struct lines *lines)
{
    size_t size = np_buffer_size(&lines->buffer);
    if (size == lines->scanned) {
        return NULL;
    }
    const uint8_t *found = memchr(np_buffer_data(&lines->buffer) + lines->scanned, '\n', size - lines->scanned);
    lines->scanned = found == NULL ? size : lines->scanned;
    return found;
}

/* `size` bytes at the front are a line or the rest of one, `separator` bytes its end. */
static enum lines_status take(struct lines *lines, size_t size, size_t separator, netpool_bytes *out)
{
    lines->returned = size + separator;
    lines->scanned = 0;
    if (lines->dropping || size > lines->limit) {
        *out = (netpool_bytes){NULL, (size_t)lines->dropped + size};
        lines->dropping = false;
        lines->dropped = 0;
        return LINES_TOO_LONG;
    }
    *out = (netpool_bytes){size > 0 ? np_buffer_data(&lines->buffer) : NULL, size};
    return LINES_LINE;
}

static void drop_what_is_too_long(struct lines *lines)
{
    size_t size = np_buffer_size(&lines->buffer);
    if (lines->dropping || size > lines->limit) {
        lines->dropping = true;
        lines->dropped += size;
        lines->scanned = 0;
        np_buffer_consume(&lines->buffer, size);
    }
}

enum lines_status lines_next(struct lines *lines, netpool_bytes *out)
{
    np_buffer_consume(&lines->buffer, lines->returned);
    lines->returned = 0;
    for (;;) {
        const uint8_t *newline = find_newline(lines);
        size_t size = np_buffer_size(&lines->buffer);
        if (newline != NULL) {
            return take(lines, (size_t)(newline - np_buffer_data(&lines->buffer)), 1, out);
        }
        if (lines->at_end) {
            return size > 0 || lines->dropping ? take(lines, size, 0, out) : LINES_END;
        }
        drop_what_is_too_long(lines);
        enum lines_status status = fill(lines);
        if (status == LINES_WOKEN || status == LINES_ERROR) {
            return status;
        }
    }
}

void lines_fini(struct lines *lines)
{
    np_buffer_fini(&lines->buffer);
}
