/* The broker's side of ipc links: one ROUTER socket, and a connection for each routing id that has spoken. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "transport/channel.h"
#include "transport/ipc_connection.h"
#include "transport/ipc_place.h"

enum { MESSAGES_PER_TURN = 256 };

static void note_gone(struct ipc_connection *connection)
{
    if (np_list_is_empty(&connection->gone)) {
        np_list_push_back(&connection->server->gone, &connection->gone);
    }
}

static void take_events(struct ipc_server *server)
{
    unsigned event;
    uint32_t fd;
    while (ipc_socket_next_event(&server->socket, &event, &fd)) {
        if (event == ZMQ_EVENT_ACCEPTED) {
            (void)!np_table_put(&server->by_fd, fd, &server->unclaimed); /* without: heartbeats will tell its end */
        } else if (event == ZMQ_EVENT_DISCONNECTED) {
            void *connection = np_table_take(&server->by_fd, fd);
            if (connection != NULL && connection != &server->unclaimed) {
                note_gone(connection);
            }
        }
    }
}

/* "localhost:UID:GID:PID" */
static bool parse_credentials(const char *text, unsigned *uid, unsigned *pid)
{
    unsigned gid;
    const char *numbers = text == NULL ? NULL : strchr(text, ':');
    return numbers != NULL && sscanf(numbers, ":%u:%u:%u", uid, &gid, pid) == 3;
}

/* The first message of a connection. What its descriptor is known as decides whether its end will be told: a
 * connection that has ended already is not in by_fd any more, and one that stands in the way there has ended. */
static struct ipc_connection *accept_connection(struct ipc_server *server, uint64_t key, const uint8_t *routing_id,
                                                zmq_msg_t *message)
{
    unsigned uid = 0;
    unsigned pid = 0;
    uint64_t fd = (uint64_t)zmq_msg_get(message, ZMQ_SRCFD);
    if (!parse_credentials(zmq_msg_gets(message, "Peer-Address"), &uid, &pid) || uid != geteuid()) {
        return NULL;
    }
    struct ipc_connection *connection = ipc_connection_new(server, key, routing_id, fd, pid);
    if (connection == NULL) {
        return NULL;
    }
    void *known = np_table_find(&server->by_fd, fd);
    if (known == NULL || np_table_put(&server->by_fd, fd, connection) != NETPOOL_OK) {
        note_gone(connection);
    } else if (known != &server->unclaimed) {
        note_gone(known);
    }
    server->handler->accepted(server->owner, &connection->link);
    return connection;
}

/* Hands the connection's input to its channel, which may destroy the link. */
static void run_channel(struct ipc_connection *connection)
{
    if (connection->channel != NULL) {
        channel_ready(connection->channel);
    } else {
        ipc_connection_drop_message(connection);
    }
}

/* Takes the message over. */
static void deliver(struct ipc_server *server, uint64_t key, const uint8_t *routing_id, zmq_msg_t *message)
{
    struct ipc_connection *connection = np_table_find(&server->by_routing, key);
    if (connection == NULL) {
        connection = accept_connection(server, key, routing_id, message);
    }
    if (connection == NULL || connection->is_released || connection->is_gone) {
        zmq_msg_close(message);
        return;
    }
    zmq_msg_init(&connection->message);
    (void)zmq_msg_move(&connection->message, message);
    zmq_msg_close(message);
    connection->offset = 0;
    connection->has_message = true;
    server->reading = connection;
    run_channel(connection);
}

static uint64_t routing_key(const uint8_t *routing_id)
{
    uint32_t number;
    memcpy(&number, routing_id + 1, sizeof number);
    return number;
}

/* Receives one message (all its parts are stream bytes) and delivers it. False: none is there. */
static bool receive_one(struct ipc_server *server)
{
    uint8_t routing_id[IPC_ROUTING_ID_SIZE];
    int size = zmq_recv(server->socket.zmq, routing_id, sizeof routing_id, ZMQ_DONTWAIT);
    if (size < 0) {
        return false;
    }
    for (int more = 1; more != 0;) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, server->socket.zmq, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&message);
            break;
        }
        more = zmq_msg_more(&message);
        take_events(server); /* before the message: what the monitor told of its descriptor earlier */
        if (size == IPC_ROUTING_ID_SIZE && routing_id[0] == 0 && server->reading == NULL) {
            deliver(server, routing_key(routing_id), routing_id, &message);
        } else {
            zmq_msg_close(&message); /* not a peer of ours: they choose no routing id and send single parts */
        }
    }
    return true;
}

static void tell_gone(struct ipc_server *server)
{
    for (struct np_list *node = np_list_pop_front(&server->gone); node != NULL;
         node = np_list_pop_front(&server->gone)) {
        struct ipc_connection *connection = NP_CONTAINER(node, struct ipc_connection, gone);
        connection->is_gone = true;
        if (connection->is_released) {
            ipc_connection_free(connection);
        } else {
            run_channel(connection);
        }
    }
}

/* Each channel whose queue was full tries again; while one gets on, what its send took in may concern another. */
static void retry_blocked(struct ipc_server *server)
{
    bool progress = true;
    while (progress && !np_list_is_empty(&server->blocked)) {
        struct np_list due;
        np_list_init(&due);
        np_list_splice_back(&due, &server->blocked);
        progress = false;
        for (struct np_list *node = np_list_pop_front(&due); node != NULL; node = np_list_pop_front(&due)) {
            struct ipc_connection *connection = NP_CONTAINER(node, struct ipc_connection, blocked);
            uint64_t key = connection->routing_key;
            channel_flush(connection->channel); /* may destroy the link */
            connection = np_table_find(&server->by_routing, key);
            progress = progress || connection == NULL || np_list_is_empty(&connection->blocked);
        }
    }
}

static void pump(struct ipc_server *server)
{
    bool is_drained = false;
    server->is_pumping = true;
    take_events(server);
    for (int i = 0; i < MESSAGES_PER_TURN && !is_drained; i++) {
        if (server->reading != NULL) {
            run_channel(server->reading);
        }
        if (server->reading != NULL) {
            break; /* its channel has had its share of this turn */
        }
        is_drained = !receive_one(server);
    }
    if (is_drained) {
        tell_gone(server);
    }
    (void)ipc_socket_events(server->socket.zmq);
    retry_blocked(server);
    server->is_pumping = false;
    if (!is_drained || (ipc_socket_events(server->socket.zmq) & ZMQ_POLLIN) != 0) {
        reactor_defer(server->reactor, &server->input);
    }
}

static void input_ready(struct reactor_source *source, uint32_t events)
{
    (void)events;
    pump(NP_CONTAINER(source, struct ipc_server, input));
}

static void events_ready(struct reactor_source *source, uint32_t events)
{
    (void)events;
    pump(NP_CONTAINER(source, struct ipc_server, events));
}

static netpool_status bind_socket(struct ipc_server *server, netpool_error *error)
{
    char endpoint[sizeof server->path + 8];
    uint32_t uid = geteuid();
    int one = 1;
    int directory;
    if (zmq_setsockopt(server->socket.zmq, ZMQ_ROUTER_MANDATORY, &one, sizeof one) != 0 ||
        zmq_setsockopt(server->socket.zmq, ZMQ_IPC_FILTER_UID, &uid, sizeof uid) != 0) {
        return np_error_set(error, NETPOOL_SYSTEM, "ipc://%s: %s", server->path, zmq_strerror(zmq_errno()));
    }
    netpool_status status = ipc_place_prepare(server->path, &directory, error);
    if (status != NETPOOL_OK) {
        server->path[0] = '\0'; /* not ours to remove */
        return status;
    }
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s", server->path);
    if (zmq_bind(server->socket.zmq, endpoint) != 0) {
        status =
            np_error_set(error, NETPOOL_SYSTEM, "%s: cannot listen there: %s", endpoint, zmq_strerror(zmq_errno()));
    }
    close(directory);
    return status;
}

static netpool_status watch(struct ipc_server *server, netpool_error *error)
{
    netpool_status status =
        reactor_add(server->reactor, &server->input, ipc_socket_fd(server->socket.zmq), EPOLLIN, input_ready);
    if (status == NETPOOL_OK) {
        status = reactor_add(server->reactor, &server->events, ipc_socket_fd(server->socket.monitor), EPOLLIN,
                             events_ready);
    }
    return status == NETPOOL_OK ? status : np_error_system(error, "cannot watch a ZeroMQ socket");
}

netpool_status ipc_server_new(struct ipc_server **out, void *context, struct reactor *reactor, const char *path,
                              const struct ipc_server_handler *handler, void *owner, netpool_error *error)
{
    struct ipc_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    server->reactor = reactor;
    server->handler = handler;
    server->owner = owner;
    np_list_init(&server->gone);
    np_list_init(&server->blocked);
    if (snprintf(server->path, sizeof server->path, "%s", path) >= (int)sizeof server->path) {
        free(server);
        return np_error_set(error, NETPOOL_INVALID, "ipc://%s: the path is longer than %zu bytes", path,
                            sizeof server->path - 1);
    }
    netpool_status status = ipc_socket_open(&server->socket, context, ZMQ_ROUTER, error);
    if (status == NETPOOL_OK) {
        status = bind_socket(server, error);
    }
    if (status == NETPOOL_OK) {
        status = watch(server, error);
    }
    if (status != NETPOOL_OK) {
        ipc_server_destroy(&server);
        return status;
    }
    reactor_defer(reactor, &server->input); /* somebody may have connected before the descriptor was watched */
    *out = server;
    return NETPOOL_OK;
}

void ipc_server_destroy(struct ipc_server **server_at)
{
    struct ipc_server *server = *server_at;
    *server_at = NULL;
    if (server == NULL) {
        return;
    }
    for (;;) {
        size_t cursor = 0;
        struct ipc_connection *connection = np_table_next(&server->by_routing, &cursor);
        if (connection == NULL) {
            break;
        }
        ipc_connection_free(connection);
    }
    reactor_remove(server->reactor, &server->input);
    reactor_remove(server->reactor, &server->events);
    bool is_bound = server->path[0] != '\0' && server->socket.zmq != NULL;
    ipc_socket_close(&server->socket, false);
    if (is_bound) {
        (void)unlink(server->path);
    }
    np_table_fini(&server->by_routing);
    np_table_fini(&server->by_fd);
    free(server);
}

void ipc_server_attach(struct link *link, struct channel *channel)
{
    ((struct ipc_connection *)link)->channel = channel;
}
