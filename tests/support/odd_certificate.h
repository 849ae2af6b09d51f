/*
 * Certificates that `netpool ca` would never issue - expired, without names, with two - for tests of who is let in. A
 * test takes a right plan, spoils one thing in it and has the files written.
 */
#ifndef NP_ODD_CERTIFICATE_H
#define NP_ODD_CERTIFICATE_H

#include <openssl/x509.h>

#include "cli/ca/certificate.h"
#include "netpool.pb-c.h"

struct odd_authority {
    X509 *certificate;
    EVP_PKEY *key;
};

/* The CA in a directory that `ca_init` made. False with the reason on standard error. */
bool odd_authority_open(struct odd_authority *authority, const char *dir);
void odd_authority_fini(struct odd_authority *authority);

/* What `netpool ca issue` would issue; a broker is for 127.0.0.1. The plan points into `uri` and static memory. */
struct certificate_plan odd_plan(Np__Role role, const char *pool, const char *name, char uri[192],
                                 const char *uris[1]);

/* In memory; the caller frees both. */
bool odd_certificate_new(const struct odd_authority *authority, const struct certificate_plan *plan,
                         X509 **certificate, EVP_PKEY **key);

/* Writes DIR/STEM.pem and DIR/STEM.key. */
bool odd_certificate_write(const struct odd_authority *authority, const struct certificate_plan *plan,
                           const char *dir, const char *stem);

#endif
