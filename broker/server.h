/*
 * The broker: the core, its loop, and the ports through which peers reach it. One thread owns all of it; gateways may
 * run in threads of their own behind their port.
 */
#ifndef BROKER_SERVER_H
#define BROKER_SERVER_H

#include "broker/core/core.h"
#include "broker/gateway.h"
#include "common/netpool_status.h"
#include "transport/tls.h"

struct server;

struct server_config {
    const char *host;     /* of the TLS listener; NULL = none */
    const char *port;     /* decimal, "0" = any */
    const char *ipc_path; /* NULL = none */
    struct tls_files files;
    unsigned gateways; /* threads; 0 = the core's own loop serves TLS peers */
    struct gateway_config gateway;
    struct core_config core; /* broker_id, epoch and address are filled in by the server */
};

/* Opens everything: credentials, sockets, core, threads. On failure nothing is left and error says in one line what
 * and where. SIGTERM, SIGINT and SIGHUP must be blocked in the calling thread; the server takes them from a signalfd.
 */
NETPOOL_MUST_CHECK netpool_status server_new(struct server **out, const struct server_config *config,
                                             netpool_error *error);
void server_destroy(struct server **server);

/* Where peers find it: "127.0.0.1:4747", "ipc:///run/netpool/broker" or both with a space between. */
const char *server_address(const struct server *server);

/* Serves until SIGTERM or SIGINT, then says goodbye to every peer and returns. SIGHUP reloads the credentials. */
void server_run(struct server *server);

#endif
