/* A link over a connected Unix stream socket, between a program and its own children. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/error.h"
#include "common/text.h"
#include "transport/link.h"

static netpool_status link_fd_establish(struct link *link, bool *done, netpool_error *error)
{
    (void)link;
    (void)error;
    *done = true;
    return NETPOOL_OK;
}

static netpool_status broken(struct link *link, netpool_error *error)
{
    (void)np_error_system(error, "link to %s broke", link->peer.address);
    return error != NULL ? (error->status = NETPOOL_UNREACHABLE) : NETPOOL_UNREACHABLE;
}

static netpool_status link_fd_read(struct link *link, uint8_t *out, size_t capacity, size_t *got,
                                   netpool_error *error)
{
    ssize_t count = recv(link->fd, out, capacity, MSG_DONTWAIT);
    if (count > 0) {
        *got = (size_t)count;
        return NETPOOL_OK;
    }
    *got = 0;
    if (count == 0) {
        return np_error_set(error, NETPOOL_CLOSED, "%s closed the link", link->peer.address);
    }
    if (errno == EAGAIN || errno == EINTR) {
        return NETPOOL_OK;
    }
    return broken(link, error);
}

static netpool_status link_fd_write(struct link *link, const struct iovec *parts, size_t count, size_t *taken,
                                    netpool_error *error)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = count};
    ssize_t sent = sendmsg(link->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    *taken = sent > 0 ? (size_t)sent : 0;
    if (sent >= 0 || errno == EAGAIN || errno == EINTR) {
        return NETPOOL_OK;
    }
    return broken(link, error);
}

static uint32_t link_fd_interest(const struct link *link, bool want_write)
{
    (void)link;
    return EPOLLIN | (want_write ? (uint32_t)EPOLLOUT : 0U);
}

static bool link_fd_is_readable(struct link *link)
{
    (void)link;
    return false; /* level-triggered: the descriptor tells */
}

static void link_fd_destroy(struct link *link)
{
    close(link->fd);
    free(link);
}

static const struct link_operations operations = {
    .kind = "fd",
    .establish = link_fd_establish,
    .read = link_fd_read,
    .write = link_fd_write,
    .interest = link_fd_interest,
    .is_readable = link_fd_is_readable,
    .destroy = link_fd_destroy,
};

struct link *link_fd_new(int fd, const char *address)
{
    struct link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    link->operations = &operations;
    link->fd = fd;
    link->tells_end = true;
    (void)np_text_copy(link->peer.address, sizeof link->peer.address, address);
    return link;
}
