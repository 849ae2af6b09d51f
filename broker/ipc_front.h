/* The ipc front: a port for peers on this host, over a ZeroMQ ROUTER socket that the core's own loop serves. */
#ifndef BROKER_IPC_FRONT_H
#define BROKER_IPC_FRONT_H

#include "broker/peers.h"
#include "broker/port.h"

/* `context` is a ZeroMQ context that outlives the port. Errors as ipc_server_new. */
NETPOOL_MUST_CHECK netpool_status ipc_front_new(struct port **out, struct reactor *reactor, void *context,
                                                const char *path, const struct peers_config *config,
                                                netpool_error *error);

#endif
