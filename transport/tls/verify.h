/*
 * Who may be at the other end: run by OpenSSL for each certificate of the peer's chain during the handshake, so that
 * a peer that is refused gets a TLS alert. On top of OpenSSL's checks (signatures, times, revocation, host name) it
 * demands an extended key usage for the peer's side, a key usable for signatures, and exactly one identity of our
 * pool with a role that fits the peer's side.
 */
#ifndef NP_TLS_VERIFY_H
#define NP_TLS_VERIFY_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "common/netpool_status.h"
#include "transport/link.h"

/* Lives as long as the SSL object it was set on. */
struct tls_verifier {
    bool peer_is_broker;    /* what the other side has to be */
    const char *pool;       /* our own */
    const char *host;       /* client side: the name or address that was connected to; else NULL */
    struct link_peer *peer; /* role, name, pool and serial are filled in when everything fits; address is read */
    netpool_error *error;   /* the first reason for a refusal */
};

/* Sets the verifier and the host check on the SSL object. NETPOOL_NO_MEMORY. */
NETPOOL_MUST_CHECK netpool_status tls_verifier_install(struct tls_verifier *verifier, SSL *ssl);

/* For SSL_CTX_set_verify. */
int tls_verify(int accepted, X509_STORE_CTX *store);

/* The extended key usage and key usage that a certificate needs for its side; also for our own. NULL when it has
 * them, else what is wrong. */
const char *tls_verify_usage(X509 *certificate, bool is_broker);

/* Low 64 bits: how a link_peer names a certificate. */
uint64_t tls_serial_number(const ASN1_INTEGER *serial);

#endif
