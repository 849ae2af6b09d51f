/* What a tls_context holds. For the files of this folder and link_tls.c only. */
#ifndef NP_TLS_CONTEXT_H
#define NP_TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "transport/link.h"
#include "transport/tls.h"

struct tls_context {
    SSL_CTX *ssl;              /* counted by OpenSSL: a link's SSL object keeps it (and its CA and CRL) alive */
    struct link_peer identity; /* own pool, role and name */
    uint64_t *revoked;         /* sorted; the low 64 bits of each serial in the CRL */
    size_t revoked_count;
};

#endif
