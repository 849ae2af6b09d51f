/*
 * A gateway: a port for TLS peers. It accepts on a listening socket that it shares with other gateways, admits, and
 * runs the channels, on whatever reactor it is given.
 */
#ifndef BROKER_GATEWAY_H
#define BROKER_GATEWAY_H

#include "broker/admission.h"
#include "broker/peers.h"
#include "broker/port.h"

struct gateway_config {
    struct peers_config peers;
    struct admission_config admission;
    unsigned max_pending; /* connections that have not said HELLO; more wait in the listening socket's queue */
    unsigned max_peers;   /* connections in all; more wait likewise. Leaves descriptors for the rest of the process */
};

/* Takes the credentials over (also on failure). `listener` is borrowed and must outlive the gateway. The caller fills
 * in the port's events and owner before the reactor's next turn. */
NETPOOL_MUST_CHECK netpool_status gateway_new(struct port **out, struct reactor *reactor, int listener,
                                              struct tls_context *credentials, const struct gateway_config *config,
                                              netpool_error *error);

#endif
