/*
 * Making keys and X.509 certificates in memory: ECDSA over P-256, SHA-256. No files, no policy: what a netpool
 * certificate has to look like is authority.c's business, and tests make odd ones with it.
 */
#ifndef CA_CERTIFICATE_H
#define CA_CERTIFICATE_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/netpool_status.h"

/* What goes into a certificate. */
struct certificate_plan {
    uint64_t serial;          /* 1 to 2^63 - 1 */
    const char *organization; /* the pool */
    const char *common_name;
    const char *const *uris; /* URI SANs, as they are */
    size_t uri_count;
    const char *const *hosts; /* DNS or IP SANs, told apart by their form */
    size_t host_count;
    bool is_authority; /* basicConstraints CA:TRUE, pathlen 0, keyCertSign and cRLSign; else digitalSignature */
    bool server_auth;  /* extended key usage; the extension is left out when neither is set */
    bool client_auth;
    int64_t valid_from_s; /* seconds from now, negative = in the past */
    int64_t valid_for_s;  /* seconds from valid_from */
};

NETPOOL_MUST_CHECK netpool_status certificate_new_key(EVP_PKEY **out, netpool_error *error);

/* Signed by issuer_key; issuer NULL: self-signed, issuer_key is then the subject's. NETPOOL_INVALID for a host that
 * is neither a DNS name nor an address, NETPOOL_SYSTEM with OpenSSL's words. */
NETPOOL_MUST_CHECK netpool_status certificate_new(X509 **out, const struct certificate_plan *plan,
                                                  EVP_PKEY *subject_key, X509 *issuer, EVP_PKEY *issuer_key,
                                                  netpool_error *error);

/* A serial of 63 random bits, never 0. */
uint64_t certificate_random_serial(void);

/* Is it a DNS name or an IPv4 or IPv6 address that can stand in a certificate? */
bool certificate_host_is_valid(const char *host);

#endif
