/* Certificate revocation lists. */
#ifndef CA_REVOCATION_H
#define CA_REVOCATION_H

#include <openssl/x509.h>
#include <stdint.h>

#include "cli/ca/index.h"
#include "common/netpool_status.h"

/* A list of all revoked certificates of the index, signed by the authority, valid from valid_from_s to valid_until_s
 * (seconds from now). */
NETPOOL_MUST_CHECK netpool_status revocation_new(X509_CRL **out, const struct index *index, X509 *authority,
                                                 EVP_PKEY *authority_key, int64_t valid_from_s, int64_t valid_until_s,
                                                 netpool_error *error);

#endif
