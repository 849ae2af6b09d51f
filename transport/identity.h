/*
 * Identities: exactly one URI SAN `netpool://POOL/ROLE/NAME` in a certificate, compared exactly; never the CN. POOL
 * and NAME are 1 to 64 characters of [A-Za-z0-9._-].
 */
#ifndef NP_IDENTITY_H
#define NP_IDENTITY_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "common/netpool_status.h"
#include "netpool.pb-c.h"

#define NP_IDENTITY_PART_MAX 64

struct identity {
    Np__Role role;
    char pool[NP_IDENTITY_PART_MAX + 1];
    char name[NP_IDENTITY_PART_MAX + 1];
};

/* NETPOOL_REFUSED with a message that quotes the text and says what is wrong with it. */
NETPOOL_MUST_CHECK netpool_status identity_parse(struct identity *out, const char *uri, netpool_error *error);

/* Writes the URI; out has room for 192 bytes. */
void identity_format(const struct identity *identity, char out[192]);

/* Can the text be a POOL or a NAME? */
bool identity_part_is_valid(const char *text);

/* From the certificate's one URI SAN. NETPOOL_REFUSED when there is none, more than one, or it does not parse. */
NETPOOL_MUST_CHECK netpool_status identity_of_certificate(struct identity *out, X509 *certificate,
                                                          netpool_error *error);

#endif
