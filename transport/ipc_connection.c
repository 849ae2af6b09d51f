#include "transport/ipc_connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"

static struct ipc_connection *from_link(struct link *link)
{
    return (struct ipc_connection *)link;
}

void ipc_connection_drop_message(struct ipc_connection *connection)
{
    if (connection->has_message) {
        zmq_msg_close(&connection->message);
        connection->has_message = false;
    }
    if (connection->server->reading == connection) {
        connection->server->reading = NULL;
    }
}

void ipc_connection_free(struct ipc_connection *connection)
{
    struct ipc_server *server = connection->server;
    ipc_connection_drop_message(connection);
    (void)np_table_take(&server->by_routing, connection->routing_key);
    if (np_table_find(&server->by_fd, connection->fd_key) == connection) {
        (void)np_table_take(&server->by_fd, connection->fd_key);
    }
    np_list_remove(&connection->gone);
    np_list_remove(&connection->blocked);
    free(connection);
}

static netpool_status connection_establish(struct link *link, bool *done, netpool_error *error)
{
    (void)link;
    (void)error;
    *done = true; /* libzmq has checked the uid before it let the first message through */
    return NETPOOL_OK;
}

static netpool_status broken(netpool_error *error)
{
    return np_error_set(error, NETPOOL_UNREACHABLE, "the peer closed the connection");
}

static netpool_status connection_read(struct link *link, uint8_t *out, size_t capacity, size_t *got,
                                      netpool_error *error)
{
    struct ipc_connection *connection = from_link(link);
    *got = 0;
    if (!connection->has_message) {
        return connection->is_gone ? broken(error) : NETPOOL_OK;
    }
    size_t left = zmq_msg_size(&connection->message) - connection->offset;
    if (left == 0) {
        ipc_connection_drop_message(connection);
        connection->is_gone = true; /* an empty message: the peer ended the stream */
        return broken(error);
    }
    *got = left < capacity ? left : capacity;
    memcpy(out, (const uint8_t *)zmq_msg_data(&connection->message) + connection->offset, *got);
    connection->offset += *got;
    if (*got == left) {
        ipc_connection_drop_message(connection);
    }
    return NETPOOL_OK;
}

/* 0: sent. EAGAIN: its queue is full. */
static int send_to(struct ipc_connection *connection, const struct iovec *parts, size_t count, size_t *taken)
{
    void *zmq = connection->server->socket.zmq;
    int result = 0;
    if (zmq_send(zmq, connection->routing_id, IPC_ROUTING_ID_SIZE, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        result = zmq_errno();
    } else {
        result = ipc_socket_send(zmq, parts, count, taken);
    }
    return result == EINTR ? EAGAIN : result;
}

/* A send may have taken in the descriptor's signal that there is input, or room for another connection. */
static void look_again(struct ipc_server *server, bool others_blocked)
{
    if (!server->is_pumping && (others_blocked || (ipc_socket_events(server->socket.zmq) & ZMQ_POLLIN) != 0)) {
        reactor_defer(server->reactor, &server->input);
    }
}

static netpool_status connection_write(struct link *link, const struct iovec *parts, size_t count, size_t *taken,
                                       netpool_error *error)
{
    struct ipc_connection *connection = from_link(link);
    struct ipc_server *server = connection->server;
    bool others_blocked = !np_list_is_empty(&server->blocked);
    *taken = 0;
    int result = connection->is_gone ? EHOSTUNREACH : send_to(connection, parts, count, taken);
    if (result == EAGAIN) {
        if (np_list_is_empty(&connection->blocked)) {
            np_list_push_back(&server->blocked, &connection->blocked);
        }
    } else if (result != 0) {
        return broken(error);
    }
    look_again(server, others_blocked);
    return NETPOOL_OK;
}

static uint32_t connection_interest(const struct link *link, bool want_write)
{
    (void)link;
    (void)want_write;
    return 0;
}

static bool connection_is_readable(struct link *link)
{
    const struct ipc_connection *connection = from_link(link);
    return connection->has_message || connection->is_gone;
}

static void connection_destroy(struct link *link)
{
    struct ipc_connection *connection = from_link(link);
    size_t nothing;
    connection->is_released = true;
    connection->channel = NULL;
    ipc_connection_drop_message(connection);
    np_list_remove(&connection->blocked);
    if (connection->is_gone) {
        ipc_connection_free(connection);
    } else if (send_to(connection, NULL, 0, &nothing) == 0) {
        look_again(connection->server, !np_list_is_empty(&connection->server->blocked));
    }
}

static const struct link_operations operations = {
    .kind = "ipc",
    .establish = connection_establish,
    .read = connection_read,
    .write = connection_write,
    .interest = connection_interest,
    .is_readable = connection_is_readable,
    .destroy = connection_destroy,
};

struct ipc_connection *ipc_connection_new(struct ipc_server *server, uint64_t key, const uint8_t *routing_id,
                                          uint64_t fd, unsigned pid)
{
    struct ipc_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || np_table_put(&server->by_routing, key, connection) != NETPOOL_OK) {
        free(connection);
        return NULL;
    }
    connection->link.operations = &operations;
    connection->link.fd = -1;
    (void)snprintf(connection->link.peer.address, sizeof connection->link.peer.address, "ipc pid %u", pid);
    connection->server = server;
    connection->routing_key = key;
    connection->fd_key = fd;
    memcpy(connection->routing_id, routing_id, IPC_ROUTING_ID_SIZE);
    np_list_init(&connection->gone);
    np_list_init(&connection->blocked);
    return connection;
}
