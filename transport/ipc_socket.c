#include "transport/ipc_socket.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/error.h"
#include "proto/limits.h"
#include "transport/link.h"

enum {
    QUEUE_MESSAGES = 32, /* each way of one connection, of up to IPC_MESSAGE_MAX bytes */
    LINGER_MS = 500,
    /* Never within the life of a link, which ends with its first connection. Not -1 ("no reconnection"): then libzmq
     * drops what has come and was not read yet, a GOODBYE for one, when it takes the connection down. */
    RECONNECT_MS = 24 * 3600 * 1000
};

static bool set_option(void *zmq, int option, int value)
{
    return zmq_setsockopt(zmq, option, &value, sizeof value) == 0;
}

static bool configure(void *zmq)
{
    return set_option(zmq, ZMQ_SNDHWM, QUEUE_MESSAGES) && set_option(zmq, ZMQ_RCVHWM, QUEUE_MESSAGES) &&
           set_option(zmq, ZMQ_LINGER, LINGER_MS) && set_option(zmq, ZMQ_RECONNECT_IVL, RECONNECT_MS) &&
           set_option(zmq, ZMQ_HANDSHAKE_IVL, NP_HANDSHAKE_TIMEOUT_MS) &&
           zmq_setsockopt(zmq, ZMQ_MAXMSGSIZE, &(int64_t){IPC_MESSAGE_MAX}, sizeof(int64_t)) == 0;
}

/* The receiving end has no high-water mark: libzmq's I/O thread would block on a full monitor. */
static void *open_monitor(void *context, void *zmq)
{
    static atomic_uint_fast64_t last;
    char endpoint[64];
    (void)snprintf(endpoint, sizeof endpoint, "inproc://netpool-ipc-%llu",
                   (unsigned long long)(atomic_fetch_add(&last, 1) + 1));
    if (zmq_socket_monitor(zmq, endpoint, ZMQ_EVENT_ALL) != 0) {
        return NULL;
    }
    void *monitor = zmq_socket(context, ZMQ_PAIR);
    if (monitor != NULL && (!set_option(monitor, ZMQ_RCVHWM, 0) || !set_option(monitor, ZMQ_LINGER, 0) ||
                            zmq_connect(monitor, endpoint) != 0)) {
        zmq_close(monitor);
        monitor = NULL;
    }
    return monitor;
}

netpool_status ipc_socket_open(struct ipc_socket *out, void *context, int type, netpool_error *error)
{
    struct ipc_socket opened = {.zmq = zmq_socket(context, type)};
    if (opened.zmq != NULL && configure(opened.zmq)) {
        opened.monitor = open_monitor(context, opened.zmq);
    }
    if (opened.monitor == NULL) {
        netpool_status status =
            np_error_set(error, NETPOOL_SYSTEM, "cannot open a ZeroMQ socket: %s", zmq_strerror(zmq_errno()));
        ipc_socket_close(&opened, true);
        return status;
    }
    *out = opened;
    return NETPOOL_OK;
}

void ipc_socket_close(struct ipc_socket *socket, bool is_gone)
{
    if (socket->zmq != NULL) {
        if (is_gone) {
            (void)set_option(socket->zmq, ZMQ_LINGER, 0);
        }
        (void)zmq_socket_monitor(socket->zmq, NULL, 0);
        zmq_close(socket->zmq);
    }
    if (socket->monitor != NULL) {
        zmq_close(socket->monitor);
    }
    *socket = (struct ipc_socket){0};
}

static int get_option(void *zmq, int option)
{
    int value = 0;
    size_t size = sizeof value;
    return zmq_getsockopt(zmq, option, &value, &size) == 0 ? value : -1;
}

int ipc_socket_fd(void *zmq)
{
    return get_option(zmq, ZMQ_FD);
}

int ipc_socket_events(void *zmq)
{
    int events = get_option(zmq, ZMQ_EVENTS);
    return events < 0 ? 0 : events;
}

int ipc_socket_send(void *zmq, const struct iovec *parts, size_t count, size_t *taken)
{
    zmq_msg_t message;
    size_t size = link_parts_size(parts, count);
    size = size < IPC_MESSAGE_MAX ? size : IPC_MESSAGE_MAX;
    if (zmq_msg_init_size(&message, size) != 0) {
        return zmq_errno();
    }
    link_parts_copy(parts, 0, zmq_msg_data(&message), size);
    if (zmq_msg_send(&message, zmq, ZMQ_DONTWAIT) < 0) {
        int result = zmq_errno();
        zmq_msg_close(&message);
        return result;
    }
    *taken = size;
    return 0;
}

bool ipc_socket_next_event(struct ipc_socket *socket, unsigned *event, uint32_t *value)
{
    uint8_t first[6];
    if (zmq_recv(socket->monitor, first, sizeof first, ZMQ_DONTWAIT) != (int)sizeof first) {
        return false;
    }
    uint16_t number;
    memcpy(&number, first, sizeof number);
    memcpy(value, first + sizeof number, sizeof *value);
    *event = number;
    char address; /* the second frame: not needed, cut */
    (void)zmq_recv(socket->monitor, &address, sizeof address, ZMQ_DONTWAIT);
    return true;
}

enum ipc_probe ipc_probe(const char *path, uint32_t *uid)
{
    struct stat status;
    if (lstat(path, &status) != 0) {
        return errno == ENOENT ? IPC_ABSENT : IPC_UNKNOWN;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return IPC_FOREIGN;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return IPC_UNKNOWN;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return IPC_UNKNOWN;
    }
    enum ipc_probe result = IPC_ALIVE;
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof peer;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        result = errno == ECONNREFUSED ? IPC_DEAD : errno == EAGAIN /* its queue is full */ ? IPC_ALIVE : IPC_UNKNOWN;
    } else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
        *uid = peer.uid;
    }
    int reason = errno;
    close(fd);
    errno = reason;
    return result;
}
