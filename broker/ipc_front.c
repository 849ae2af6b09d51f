#include "broker/ipc_front.h"

#include <stdlib.h>

#include "common/error.h"
#include "common/list.h"
#include "common/log.h"
#include "transport/ipc.h"

struct ipc_front {
    struct port port;
    struct ipc_server *server;
    struct peers *peers;
    bool is_stopped;
};

static struct ipc_front *from_port(struct port *port)
{
    return NP_CONTAINER(port, struct ipc_front, port);
}

static void accepted(void *owner, struct link *link)
{
    struct ipc_front *front = owner;
    struct channel *channel;
    if (front->is_stopped) {
        link->operations->destroy(link);
        return;
    }
    np_log(NP_LOG_DEBUG, "ipc", "%s has connected", link->peer.address);
    if (peers_adopt(front->peers, link, &channel) == NETPOOL_OK) {
        ipc_server_attach(link, channel);
    } else {
        np_log(NP_LOG_ERROR, "ipc", "a peer is refused: out of memory");
    }
}

static const struct ipc_server_handler handler = {.accepted = accepted};

static void ipc_front_send(struct port *port, uint64_t peer, Np__Envelope *envelope, const void *body,
                           size_t body_size, bool urgent)
{
    peers_send(from_port(port)->peers, peer, envelope, body, body_size, urgent);
}

static void ipc_front_close(struct port *port, uint64_t peer, netpool_status status, const char *reason)
{
    peers_close(from_port(port)->peers, peer, status, reason);
}

static void ipc_front_stop_accepting(struct port *port)
{
    from_port(port)->is_stopped = true;
}

static void ipc_front_tick(struct port *port, int64_t now)
{
    peers_tick(from_port(port)->peers, now);
}

static int64_t ipc_front_deadline(const struct port *port)
{
    const struct ipc_front *front = NP_CONTAINER(port, const struct ipc_front, port);
    return peers_deadline(front->peers);
}

static void ipc_front_flush(struct port *port)
{
    peers_flush(from_port(port)->peers);
}

static bool ipc_front_is_empty(const struct port *port)
{
    const struct ipc_front *front = NP_CONTAINER(port, const struct ipc_front, port);
    return peers_count(front->peers) == 0;
}

static void ipc_front_destroy(struct port *port)
{
    struct ipc_front *front = from_port(port);
    peers_destroy(&front->peers);
    ipc_server_destroy(&front->server);
    free(front);
}

static const struct port_operations operations = {
    .send = ipc_front_send,
    .close = ipc_front_close,
    .reload = NULL,
    .stop_accepting = ipc_front_stop_accepting,
    .tick = ipc_front_tick,
    .deadline = ipc_front_deadline,
    .flush = ipc_front_flush,
    .is_empty = ipc_front_is_empty,
    .destroy = ipc_front_destroy,
};

netpool_status ipc_front_new(struct port **out, struct reactor *reactor, void *context, const char *path,
                             const struct peers_config *config, netpool_error *error)
{
    struct ipc_front *front = calloc(1, sizeof *front);
    if (front == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory for the ipc socket");
    }
    front->port.operations = &operations;
    netpool_status status = peers_new(&front->peers, reactor, &front->port, config);
    if (status == NETPOOL_OK) {
        status = ipc_server_new(&front->server, context, reactor, path, &handler, front, error);
    } else {
        (void)np_error_set(error, status, "no memory for the ipc socket");
    }
    if (status != NETPOOL_OK) {
        ipc_front_destroy(&front->port);
        return status;
    }
    *out = &front->port;
    return NETPOOL_OK;
}
