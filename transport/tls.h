/*
 * TLS 1.3 links over TCP with certificates on both sides. No session tickets, no early data, no renegotiation.
 * Everything about certificates that can be refused is refused here, with a reason for the log and the peer's user.
 */
#ifndef NP_TLS_H
#define NP_TLS_H

#include <stdbool.h>

#include "common/netpool_status.h"
#include "netpool.pb-c.h"
#include "transport/link.h"

struct tls_files {
    const char *ca;   /* PEM, one or more CA certificates */
    const char *cert; /* PEM, own certificate first, then intermediates */
    const char *key;  /* PEM; mode 0600 or stricter, or refused */
    const char *crl;  /* PEM CRL, NULL = none configured. Configured and missing or stale: fail closed */
};

/* A set of credentials, immutable once loaded; shared by links, which keep what they need of it. One thread. */
struct tls_context;

/* Loads and validates all of it: files readable, key mode, key fits certificate, own identity present and of role
 * `local_role`, not expired. NETPOOL_CREDENTIALS with file name and reason. */
NETPOOL_MUST_CHECK netpool_status tls_context_new(struct tls_context **out, const struct tls_files *files,
                                                  Np__Role local_role, netpool_error *error);
void tls_context_destroy(struct tls_context **context);

/* Own pool, role and name. */
const struct link_peer *tls_context_identity(const struct tls_context *context);

/* Is this serial (link_peer.serial) revoked by the context's CRL? */
bool tls_context_is_revoked(const struct tls_context *context, uint64_t serial);

/* Server side: takes over an accepted, non-blocking TCP socket. NULL when out of memory; fd is then the caller's.
 * Accepts peers of the same pool whose role is worker, client or admin. */
struct link *tls_link_accept(struct tls_context *context, int fd, const char *address);

/* Client side: starts connecting to host:port (all addresses of the name are tried in turn during establish) and will
 * check that the peer is a broker of the same pool whose certificate names `host`. Name resolution blocks. */
NETPOOL_MUST_CHECK netpool_status tls_link_connect(struct link **out, struct tls_context *context, const char *host,
                                                   const char *port, netpool_error *error);

#endif
