/*
 * A port: one way in which peers reach the core. The gateway (TLS) and the ipc front are ports that work in the
 * core's own loop; the gateway actor is a port that stands for a gateway in another thread. The server sees no
 * difference: events come up through port_events, effects go down through port_operations.
 *
 * Peers are numbered by their channel's id, unique in the process. A port may be asked to send to or close a peer
 * that it has lost meanwhile: nothing happens then. It may report a peer that the server has closed meanwhile: the
 * server knows.
 */
#ifndef BROKER_PORT_H
#define BROKER_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"
#include "transport/link.h"
#include "transport/tls.h"

struct port;

/* Called from the reactor's turn, port_tick and port_flush, on the thread of the port's owner. Borrowed arguments. */
struct port_events {
    /* The peer is authenticated and has sent HELLO, which follows as the first message. */
    void (*connected)(void *owner, struct port *port, uint64_t peer, const struct link_peer *who);
    void (*received)(void *owner, struct port *port, uint64_t peer, struct np_message *message);
    /* The link of a connected peer is gone, also when it was closed from here. `orderly`: the peer said goodbye. */
    void (*disconnected)(void *owner, struct port *port, uint64_t peer, bool orderly);
};

struct port_operations {
    void (*send)(struct port *port, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                 bool urgent);
    /* GOODBYE, then the end of the link. */
    void (*close)(struct port *port, uint64_t peer, netpool_status status, const char *reason);
    /* Takes new credentials for peers to come, and cuts connected ones that its CRL revokes. NULL: has no use for
     * them. */
    void (*reload)(struct port *port, struct tls_context *context);
    void (*stop_accepting)(struct port *port);
    /* What is due by `now`. Called every turn. */
    void (*tick)(struct port *port, int64_t now);
    int64_t (*deadline)(const struct port *port);
    /* Writes what was sent since the last flush. Called at the end of every turn. */
    void (*flush)(struct port *port);
    /* No peer is left. */
    bool (*is_empty)(const struct port *port);
    void (*destroy)(struct port *port);
};

/* First member of each kind's own struct. The owner of the port fills in events and owner. */
struct port {
    const struct port_operations *operations;
    const struct port_events *events;
    void *owner;
};

#endif
