/*
 * Links between processes of one host over ZeroMQ ipc sockets: a ROUTER at the broker, a DEALER at each peer. The
 * socket lies in a directory of mode 0700 and only peers of the same uid are accepted (SO_PEERCRED, through the
 * connection's Peer-Address property). libzmq's own heartbeats and reconnection are off: the protocol has its own.
 * Each side notices the end of the other's process or socket at once, through libzmq's socket monitor.
 */
#ifndef NP_IPC_H
#define NP_IPC_H

#include "common/netpool_status.h"
#include "transport/link.h"
#include "transport/reactor.h"

/* Peer side. A new connection each time; libzmq does not reconnect it. `context` is a ZeroMQ context. */
NETPOOL_MUST_CHECK netpool_status ipc_link_connect(struct link **out, void *context, const char *path,
                                                   netpool_error *error);

/* Broker side: one ROUTER socket, many peers. */
struct ipc_server;

struct ipc_server_handler {
    /* A new peer has sent its first bytes. The handler wraps the link in a channel (or destroys it) and says through
     * ipc_server_attach which channel is to be told of input. */
    void (*accepted)(void *owner, struct link *link);
};

/* Creates the directory (0700) when missing; refuses one that others can enter; removes a stale socket that nobody
 * answers on, refuses one that somebody does (NETPOOL_SYSTEM, "address in use"). Registers itself with the reactor.
 */
NETPOOL_MUST_CHECK netpool_status ipc_server_new(struct ipc_server **out, void *context, struct reactor *reactor,
                                                 const char *path, const struct ipc_server_handler *handler,
                                                 void *owner, netpool_error *error);
/* All links must have been destroyed. Removes the socket file. */
void ipc_server_destroy(struct ipc_server **server);

struct channel;
void ipc_server_attach(struct link *link, struct channel *channel);

#endif
