/* Files that are either the old one or the whole new one, whatever happens: written beside their place, then renamed.
 */
#ifndef CA_SAFE_FILE_H
#define CA_SAFE_FILE_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <sys/stat.h>

#include "common/netpool_status.h"

#define SAFE_FILE_PATH_MAX 4096

/* The file never exists with a looser mode than `mode`. NETPOOL_SYSTEM names the file. */
NETPOOL_MUST_CHECK netpool_status safe_file_write(const char *path, const void *data, size_t size, mode_t mode,
                                                  netpool_error *error);

/* In PEM form: certificates and revocation lists with mode 0644, keys (PKCS #8, plain) with 0600. */
NETPOOL_MUST_CHECK netpool_status safe_file_write_certificate(const char *path, X509 *certificate,
                                                              netpool_error *error);
NETPOOL_MUST_CHECK netpool_status safe_file_write_crl(const char *path, X509_CRL *crl, netpool_error *error);
NETPOOL_MUST_CHECK netpool_status safe_file_write_key(const char *path, EVP_PKEY *key, netpool_error *error);

#endif
