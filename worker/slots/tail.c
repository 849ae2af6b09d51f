#include "worker/slots/tail.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

void tail_append(struct tail *tail, const uint8_t *data, size_t size)
{
    if (size > NP_ERROR_OUTPUT_MAX) {
        tail->total += size - NP_ERROR_OUTPUT_MAX;
        data += size - NP_ERROR_OUTPUT_MAX;
        size = NP_ERROR_OUTPUT_MAX;
    }
    size_t offset = (size_t)(tail->total % NP_ERROR_OUTPUT_MAX);
    size_t first = NP_ERROR_OUTPUT_MAX - offset < size ? NP_ERROR_OUTPUT_MAX - offset : size;
    memcpy(tail->bytes + offset, data, first);
    memcpy(tail->bytes, data + first, size - first);
    tail->total += size;
}

/* A pipe that polls as writable takes PIPE_BUF bytes (4096) at once; the rest of a flood is dropped. */
static void forward(int fd, const uint8_t *data, size_t size)
{
    struct pollfd target = {.fd = fd, .events = POLLOUT};
    while (size > 0 && poll(&target, 1, 0) == 1 && (target.revents & POLLOUT) != 0) {
        ssize_t written = write(fd, data, size < 4096 ? size : 4096);
        if (written <= 0) {
            return;
        }
        data += written;
        size -= (size_t)written;
    }
}

bool tail_read(struct tail *tail, int fd, size_t limit, int forward_fd)
{
    uint8_t piece[16 * 1024];
    while (limit > 0) {
        ssize_t size = read(fd, piece, limit < sizeof piece ? limit : sizeof piece);
        if (size < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        if (size == 0) {
            return false;
        }
        tail_append(tail, piece, (size_t)size);
        if (forward_fd >= 0) {
            forward(forward_fd, piece, (size_t)size);
        }
        limit -= (size_t)size;
        if ((size_t)size < sizeof piece) {
            return true; /* that was all; the event loop says when there is more */
        }
    }
    return true;
}

size_t tail_copy(const struct tail *tail, uint8_t *out, bool *truncated)
{
    *truncated = tail->total - tail->start > NP_ERROR_OUTPUT_MAX;
    size_t size = *truncated ? NP_ERROR_OUTPUT_MAX : (size_t)(tail->total - tail->start);
    size_t offset = (size_t)((tail->total - size) % NP_ERROR_OUTPUT_MAX);
    size_t first = NP_ERROR_OUTPUT_MAX - offset < size ? NP_ERROR_OUTPUT_MAX - offset : size;
    memcpy(out, tail->bytes + offset, first);
    memcpy(out + first, tail->bytes, size - first);
    return size;
}
