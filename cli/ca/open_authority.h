/*
 * An authority opened for one change: the directory locked, certificate and key read and checked, the index in
 * memory. For the files of this folder; everybody else uses authority.h.
 */
#ifndef CA_OPEN_AUTHORITY_H
#define CA_OPEN_AUTHORITY_H

#include "cli/ca/authority.h"
#include "cli/ca/index.h"

/* Certificates and revocation lists are dated back by this: clocks of hosts differ. */
#define CA_BACKDATE_S INT64_C(3600)
#define CA_SECONDS_PER_DAY INT64_C(86400)

struct open_authority {
    const char *dir; /* borrowed */
    int lock;        /* the directory, flocked; -1 = not yet */
    X509 *certificate;
    EVP_PKEY *key;
    struct index index;
    char pool[NP_IDENTITY_PART_MAX + 1];
};

/* To start from: can be closed. */
#define OPEN_AUTHORITY_NONE \
    {                       \
        .lock = -1          \
    }

/* Waits for the directory's lock; authority->dir is set. */
NETPOOL_MUST_CHECK netpool_status open_authority_lock(struct open_authority *authority, netpool_error *error);

/* Locks and reads all of it. NETPOOL_INVALID when there is no CA, NETPOOL_CREDENTIALS when it is unusable. To be
 * closed in any case. */
NETPOOL_MUST_CHECK netpool_status open_authority_load(struct open_authority *authority, const char *dir,
                                                      netpool_error *error);
void open_authority_close(struct open_authority *authority);

NETPOOL_MUST_CHECK netpool_status open_authority_write_index(const struct open_authority *authority,
                                                             netpool_error *error);
/* A new revocation list from the index. */
NETPOOL_MUST_CHECK netpool_status open_authority_write_crl(const struct open_authority *authority,
                                                           const struct ca_terms *terms, netpool_error *error);

/* Writes DIR/STEM.key and DIR/STEM.pem, the key first: a certificate without its key is of no use. */
NETPOOL_MUST_CHECK netpool_status open_authority_write_pair(const char *dir, const char *stem, X509 *certificate,
                                                            EVP_PKEY *key, netpool_error *error);

/* A path too long counts as absent; writing to it fails later, and says so. */
bool ca_file_exists(const char *dir, const char *file);

/* NETPOOL_INVALID when a validity is longer than CA_DAYS_MAX; `what` begins the message. */
NETPOOL_MUST_CHECK netpool_status ca_check_days(unsigned days, const char *what, netpool_error *error);

#endif
