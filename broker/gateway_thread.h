/* The thread side of a gateway actor: runs a gateway on its own reactor and turns its events into parcels. */
#ifndef BROKER_GATEWAY_THREAD_H
#define BROKER_GATEWAY_THREAD_H

#include <czmq.h>

#include "broker/gateway.h"

struct gateway_thread;

/* Made by the core's thread, so that what fails, fails there; run by the actor's. Takes the credentials over. */
NETPOOL_MUST_CHECK netpool_status gateway_thread_new(struct gateway_thread **out, int listener,
                                                     struct tls_context *credentials,
                                                     const struct gateway_config *config, netpool_error *error);
void gateway_thread_destroy(struct gateway_thread **thread);

/* The actor's function (zactor_fn): runs until PARCEL_END and destroys the thread object, which is its argument. */
void gateway_thread_run(zsock_t *pipe, void *thread);

#endif
