/*
 * Non-blocking TCP sockets: listening, accepting, and connecting to the addresses of a host one after the other. All
 * are close-on-exec with TCP_NODELAY.
 */
#ifndef NP_TCP_H
#define NP_TCP_H

#include <stdbool.h>

#include "common/netpool_status.h"

/* A listening, non-blocking, close-on-exec TCP socket. host "" = all addresses, port "0" = any. bound gets the
 * address and port really bound, as "HOST:PORT". NETPOOL_SYSTEM names address and reason ("address already in use").
 */
NETPOOL_MUST_CHECK netpool_status tcp_listen(int *fd, const char *host, const char *port, char bound[128],
                                             netpool_error *error);

/* accept4 with close-on-exec, non-blocking, TCP_NODELAY. *fd = -1: nobody waits. NETPOOL_SYSTEM: out of descriptors
 * or memory (errno kept); the caller pauses accepting. */
NETPOOL_MUST_CHECK netpool_status tcp_accept(int listener, int *fd, char address[128], netpool_error *error);

/* A connection being made. */
struct tcp_connector;

/* Resolves the name (this blocks) and starts connecting to its first address. *fd is the socket to watch for
 * EPOLLOUT; the caller owns it. NETPOOL_UNREACHABLE names host, port and reason. */
NETPOOL_MUST_CHECK netpool_status tcp_connector_new(struct tcp_connector **out, int *fd, const char *host,
                                                    const char *port, netpool_error *error);

/* Has the connection come about? *done when it has. After a failed attempt it goes on with the next address: *fd is
 * then another socket (with another number) and the old one is closed. NETPOOL_UNREACHABLE when no address is left;
 * the reason is the last one's. */
NETPOOL_MUST_CHECK netpool_status tcp_connector_advance(struct tcp_connector *connector, int *fd, bool *done,
                                                        netpool_error *error);

/* "10.0.0.2:4747" or "[::1]:4747": the address being tried. */
const char *tcp_connector_address(const struct tcp_connector *connector);

/* The socket stays the caller's. */
void tcp_connector_destroy(struct tcp_connector **connector);

#endif
