/*
 * A certificate authority in a directory:
 *
 *     ca.pem  ca.key          the CA's certificate and key
 *     index                   what was issued (index.h)
 *     crl.pem                 revocation list, made at init and renewed at each revocation
 *     ROLE-NAME.pem  .key     what was issued
 *
 * Keys have mode 0600, the directory 0700 when it is made here. Every change holds a lock on the directory and
 * replaces whole files, so that a reader never sees half of one and two changes at a time do not lose each other.
 * Errors name the file or the argument at fault.
 */
#ifndef CA_AUTHORITY_H
#define CA_AUTHORITY_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/ca/index.h"
#include "cli/ca/safe_file.h"
#include "common/netpool_status.h"
#include "netpool.pb-c.h"

#define CA_AUTHORITY_DAYS 3650
#define CA_LEAF_DAYS 365
#define CA_CRL_DAYS 30
#define CA_DAYS_MAX 36500

/* Zero-initialized: the defaults above. */
struct ca_terms {
    unsigned days;     /* how long a certificate is valid */
    unsigned crl_days; /* how long a revocation list is valid */
    bool replace; /* issue: ROLE-NAME.pem and .key may exist and are replaced; the old certificate is not revoked */
};

/* Makes the directory when it is missing, the CA of `pool` and an empty revocation list in it. NETPOOL_INVALID for a
 * bad pool name or when there is a CA already. */
NETPOOL_MUST_CHECK netpool_status ca_init(const char *dir, const char *pool, netpool_error *error);
NETPOOL_MUST_CHECK netpool_status ca_init_with(const char *dir, const char *pool, const struct ca_terms *terms,
                                               netpool_error *error);

/* Issues ROLE-NAME.pem and ROLE-NAME.key. A broker needs at least one host name or address; nobody else has any.
 * NETPOOL_INVALID for bad arguments and for a name that was issued before, unless terms->replace. */
NETPOOL_MUST_CHECK netpool_status ca_issue(const char *dir, Np__Role role, const char *name, const char *const *hosts,
                                           size_t host_count, netpool_error *error);
NETPOOL_MUST_CHECK netpool_status ca_issue_with(const char *dir, Np__Role role, const char *name,
                                                const char *const *hosts, size_t host_count,
                                                const struct ca_terms *terms, netpool_error *error);

/* Which certificates to revoke. */
struct ca_selection {
    uint64_t serial;  /* 0: by name */
    const char *name; /* all certificates of this name ... */
    Np__Role role;    /* ... and role; NONE: the name must have been used for one role only */
};

/* Marks them revoked and renews the revocation list. *count is how many were not revoked before. NETPOOL_INVALID when
 * there is no such certificate. */
NETPOOL_MUST_CHECK netpool_status ca_revoke(const char *dir, const struct ca_selection *selection,
                                            const struct ca_terms *terms, size_t *count, netpool_error *error);

/* Renews the revocation list. */
NETPOOL_MUST_CHECK netpool_status ca_renew_crl(const char *dir, const struct ca_terms *terms, netpool_error *error);

/* Is there a CA (complete, by its files' presence) in the directory? */
bool ca_exists(const char *dir);

/* The pool that the CA's certificate is for. NETPOOL_CREDENTIALS when it does not say. */
NETPOOL_MUST_CHECK netpool_status ca_pool_of(char out[NP_IDENTITY_PART_MAX + 1], X509 *authority,
                                             netpool_error *error);

/* DIR/FILE. NETPOOL_INVALID when that is too long. */
NETPOOL_MUST_CHECK netpool_status ca_path(char out[SAFE_FILE_PATH_MAX], const char *dir, const char *file,
                                          netpool_error *error);

#endif
