#include "cli/map/output.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "cli/map/interrupt.h"

#define GATHERED_MAX ((size_t)64 * 1024)
#define KEPT_MAX ((size_t)1024 * 1024)

netpool_status output_flush(struct output *output)
{
    while (np_buffer_size(&output->buffer) > 0) {
        ssize_t written = write(output->fd, np_buffer_data(&output->buffer), np_buffer_size(&output->buffer));
        if (written >= 0) {
            np_buffer_consume(&output->buffer, (size_t)written);
        } else if (errno == EAGAIN) { /* whoever shares the descriptor made it non-blocking */
            struct pollfd ready = {.fd = output->fd, .events = POLLOUT};
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            return NETPOOL_SYSTEM;
        }
        if (np_buffer_size(&output->buffer) > 0 && interrupt_signal() != 0) {
            errno = EINTR;
            return NETPOOL_SYSTEM;
        }
    }
    np_buffer_trim(&output->buffer, KEPT_MAX);
    return NETPOOL_OK;
}

netpool_status output_line(struct output *output, netpool_bytes line)
{
    netpool_status status = NETPOOL_OK;
    if (line.size > 0) {
        status = np_buffer_append(&output->buffer, line.data, line.size);
    }
    if (status == NETPOOL_OK) {
        status = np_buffer_append(&output->buffer, "\n", 1);
    }
    if (status == NETPOOL_OK && np_buffer_size(&output->buffer) >= GATHERED_MAX) {
        status = output_flush(output);
    }
    return status;
}

void output_fini(struct output *output)
{
    np_buffer_fini(&output->buffer);
}
