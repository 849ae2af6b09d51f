/*
 * Credentials from PEM files. Each error is NETPOOL_CREDENTIALS with the file's name and what is wrong with it.
 * Nothing here ever asks for a passphrase.
 */
#ifndef NP_TLS_FILES_H
#define NP_TLS_FILES_H

#include <openssl/x509.h>

#include "common/netpool_status.h"

/* All certificates of the file, in their order; at least one. The caller frees with sk_X509_pop_free(.., X509_free).
 */
NETPOOL_MUST_CHECK netpool_status tls_files_read_certificates(STACK_OF(X509) * *out, const char *path,
                                                              netpool_error *error);

/* The file must be a regular file that only its owner can touch. */
NETPOOL_MUST_CHECK netpool_status tls_files_read_key(EVP_PKEY **out, const char *path, netpool_error *error);

/* All revocation lists of the file, at least one, each of them valid now. */
NETPOOL_MUST_CHECK netpool_status tls_files_read_crls(STACK_OF(X509_CRL) * *out, const char *path,
                                                      netpool_error *error);

#endif
