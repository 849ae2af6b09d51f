/* The peer's side of an ipc link: a DEALER socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/error.h"
#include "transport/ipc.h"
#include "transport/ipc_socket.h"

enum dealer_state { DEALER_CONNECTING, DEALER_CONNECTED, DEALER_GONE };

struct dealer {
    struct link link; /* fd: an epoll of the socket's and the monitor's, so that one descriptor tells all */
    struct ipc_socket socket;
    enum dealer_state state;
    bool has_message;
    zmq_msg_t message; /* being read */
    size_t offset;     /* bytes of it already read */
    char path[108];
};

static struct dealer *from_link(struct link *link)
{
    return (struct dealer *)link;
}

static void take_events(struct dealer *dealer)
{
    unsigned event;
    uint32_t value;
    while (ipc_socket_next_event(&dealer->socket, &event, &value)) {
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED && dealer->state == DEALER_CONNECTING) {
            dealer->state = DEALER_CONNECTED;
        } else if (event == ZMQ_EVENT_CLOSED || event == ZMQ_EVENT_DISCONNECTED ||
                   event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL || event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
                   event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
            dealer->state = DEALER_GONE;
        }
    }
}

static netpool_status dealer_establish(struct link *link, bool *done, netpool_error *error)
{
    struct dealer *dealer = from_link(link);
    take_events(dealer);
    if (dealer->state == DEALER_GONE) {
        return np_error_set(error, NETPOOL_UNREACHABLE, "ipc://%s: the broker closed the connection", dealer->path);
    }
    *done = dealer->state == DEALER_CONNECTED;
    return NETPOOL_OK;
}

/* Is there a message to read? Receives the next one if there is none. */
static bool has_input(struct dealer *dealer)
{
    if (dealer->has_message) {
        return true;
    }
    zmq_msg_init(&dealer->message);
    if (zmq_msg_recv(&dealer->message, dealer->socket.zmq, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&dealer->message);
        return false;
    }
    dealer->has_message = true;
    dealer->offset = 0;
    return true;
}

static void drop_message(struct dealer *dealer)
{
    if (dealer->has_message) {
        zmq_msg_close(&dealer->message);
        dealer->has_message = false;
    }
}

static netpool_status broken(const struct dealer *dealer, netpool_error *error)
{
    return np_error_set(error, NETPOOL_UNREACHABLE, "ipc://%s: the broker closed the connection", dealer->path);
}

static netpool_status dealer_read(struct link *link, uint8_t *out, size_t capacity, size_t *got, netpool_error *error)
{
    struct dealer *dealer = from_link(link);
    *got = 0;
    if (!has_input(dealer)) {
        take_events(dealer);
        /* What came before the end was in the queue before the monitor told of it: look once more. */
        if (!has_input(dealer)) {
            return dealer->state == DEALER_GONE ? broken(dealer, error) : NETPOOL_OK;
        }
    }
    size_t left = zmq_msg_size(&dealer->message) - dealer->offset;
    if (left == 0) {
        dealer->state = DEALER_GONE; /* an empty message: the broker ended the stream */
        drop_message(dealer);
        return broken(dealer, error);
    }
    *got = left < capacity ? left : capacity;
    memcpy(out, (const uint8_t *)zmq_msg_data(&dealer->message) + dealer->offset, *got);
    dealer->offset += *got;
    if (*got == left) {
        drop_message(dealer);
    }
    return NETPOOL_OK;
}

static netpool_status dealer_write(struct link *link, const struct iovec *parts, size_t count, size_t *taken,
                                   netpool_error *error)
{
    struct dealer *dealer = from_link(link);
    *taken = 0;
    if (dealer->state == DEALER_GONE) {
        return broken(dealer, error);
    }
    int result = ipc_socket_send(dealer->socket.zmq, parts, count, taken);
    if (result != 0 && result != EAGAIN && result != EINTR) {
        return np_error_set(error, NETPOOL_UNREACHABLE, "ipc://%s: %s", dealer->path, zmq_strerror(result));
    }
    return NETPOOL_OK;
}

static uint32_t dealer_interest(const struct link *link, bool want_write)
{
    (void)link;
    (void)want_write; /* room to write is signalled like input is */
    return EPOLLIN;
}

static bool dealer_is_readable(struct link *link)
{
    struct dealer *dealer = from_link(link);
    return dealer->has_message || (ipc_socket_events(dealer->socket.zmq) & ZMQ_POLLIN) != 0;
}

static void dealer_destroy(struct link *link)
{
    struct dealer *dealer = from_link(link);
    if (dealer->state == DEALER_CONNECTED) {
        (void)zmq_send(dealer->socket.zmq, "", 0, ZMQ_DONTWAIT);
    }
    drop_message(dealer);
    if (dealer->link.fd >= 0) {
        close(dealer->link.fd);
    }
    ipc_socket_close(&dealer->socket, dealer->state == DEALER_GONE);
    free(dealer);
}

static const struct link_operations operations = {
    .kind = "ipc",
    .establish = dealer_establish,
    .read = dealer_read,
    .write = dealer_write,
    .interest = dealer_interest,
    .is_readable = dealer_is_readable,
    .destroy = dealer_destroy,
};

static netpool_status check_broker(const char *path, netpool_error *error)
{
    uint32_t uid = geteuid();
    switch (ipc_probe(path, &uid)) {
    case IPC_ALIVE:
        return uid == geteuid()
                   ? NETPOOL_OK
                   : np_error_set(error, NETPOOL_REFUSED,
                                  "ipc://%s: the broker there belongs to another user (uid %u)", path, (unsigned)uid);
    case IPC_ABSENT:
        return np_error_set(error, NETPOOL_UNREACHABLE, "ipc://%s: there is no such socket: is a broker running?",
                            path);
    case IPC_DEAD:
        return np_error_set(error, NETPOOL_UNREACHABLE, "ipc://%s: no broker listens there any more", path);
    case IPC_FOREIGN:
        return np_error_set(error, NETPOOL_UNREACHABLE, "ipc://%s: not a socket", path);
    case IPC_UNKNOWN:
        break;
    }
    (void)np_error_system(error, "ipc://%s", path);
    if (error != NULL) {
        error->status = NETPOOL_UNREACHABLE;
    }
    return NETPOOL_UNREACHABLE;
}

static bool watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_fd >= 0 && fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static netpool_status open_socket(struct dealer *dealer, void *context, netpool_error *error)
{
    char endpoint[sizeof dealer->path + 8];
    netpool_status status = ipc_socket_open(&dealer->socket, context, ZMQ_DEALER, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    dealer->link.fd = epoll_create1(EPOLL_CLOEXEC);
    if (!watch(dealer->link.fd, ipc_socket_fd(dealer->socket.zmq)) ||
        !watch(dealer->link.fd, ipc_socket_fd(dealer->socket.monitor))) {
        return np_error_system(error, "cannot watch a ZeroMQ socket");
    }
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s", dealer->path);
    if (zmq_connect(dealer->socket.zmq, endpoint) != 0) {
        return np_error_set(error, NETPOOL_UNREACHABLE, "%s: %s", endpoint, zmq_strerror(zmq_errno()));
    }
    return NETPOOL_OK;
}

netpool_status ipc_link_connect(struct link **out, void *context, const char *path, netpool_error *error)
{
    netpool_status status = check_broker(path, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    struct dealer *dealer = calloc(1, sizeof *dealer);
    if (dealer == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    dealer->link.operations = &operations;
    dealer->link.fd = -1;
    (void)snprintf(dealer->path, sizeof dealer->path, "%s", path);
    (void)snprintf(dealer->link.peer.address, sizeof dealer->link.peer.address, "ipc://%s", path);
    status = open_socket(dealer, context, error);
    if (status != NETPOOL_OK) {
        dealer_destroy(&dealer->link);
        return status;
    }
    *out = &dealer->link;
    return NETPOOL_OK;
}
