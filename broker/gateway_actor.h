/*
 * A gateway in a thread of its own (a czmq actor), and the port in the core's thread that stands for it. Between them
 * runs the actor's PAIR (parcel.h). Without credit upwards the gateway leaves its links unread until the core has
 * caught up, so TCP slows the peers down; what has no credit downwards waits here, bounded by the credits of the
 * protocol.
 */
#ifndef BROKER_GATEWAY_ACTOR_H
#define BROKER_GATEWAY_ACTOR_H

#include "broker/gateway.h"

/* As gateway_new; `reactor` is the core's. The gateway gets its own. */
NETPOOL_MUST_CHECK netpool_status gateway_actor_new(struct port **out, struct reactor *reactor, int listener,
                                                    struct tls_context *credentials,
                                                    const struct gateway_config *config, netpool_error *error);

#endif
