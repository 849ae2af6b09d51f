#include "tests/support/odd_certificate.h"

#include <stdio.h>

#include "cli/ca/authority.h"
#include "proto/message.h"
#include "transport/identity.h"
#include "transport/tls/files.h"

#define HOUR_S 3600

static bool report(netpool_status status, const netpool_error *error)
{
    if (status != NETPOOL_OK) {
        fprintf(stderr, "odd_certificate: %s\n", error->message);
    }
    return status == NETPOOL_OK;
}

bool odd_authority_open(struct odd_authority *authority, const char *dir)
{
    netpool_error error = {0};
    char path[SAFE_FILE_PATH_MAX];
    STACK_OF(X509) * list;
    *authority = (struct odd_authority){0};
    (void)snprintf(path, sizeof path, "%s/ca.pem", dir);
    if (!report(tls_files_read_certificates(&list, path, &error), &error)) {
        return false;
    }
    authority->certificate = sk_X509_shift(list);
    sk_X509_pop_free(list, X509_free);
    (void)snprintf(path, sizeof path, "%s/ca.key", dir);
    return report(tls_files_read_key(&authority->key, path, &error), &error);
}

void odd_authority_fini(struct odd_authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
    *authority = (struct odd_authority){0};
}

struct certificate_plan odd_plan(Np__Role role, const char *pool, const char *name, char uri[192],
                                 const char *uris[1])
{
    static const char *const loopback[] = {"127.0.0.1"};
    (void)snprintf(uri, 192, "netpool://%s/%s/%s", pool, np_role_name(role), name);
    uris[0] = uri;
    return (struct certificate_plan){
        .serial = certificate_random_serial(),
        .organization = pool,
        .common_name = name,
        .uris = uris,
        .uri_count = 1,
        .hosts = loopback,
        .host_count = role == NP__ROLE__BROKER ? 1 : 0,
        .server_auth = role == NP__ROLE__BROKER,
        .client_auth = role != NP__ROLE__BROKER,
        .valid_from_s = -HOUR_S,
        .valid_for_s = 24 * HOUR_S,
    };
}

bool odd_certificate_new(const struct odd_authority *authority, const struct certificate_plan *plan,
                         X509 **certificate, EVP_PKEY **key)
{
    netpool_error error = {0};
    EVP_PKEY *made = NULL;
    if (!report(certificate_new_key(&made, &error), &error)) {
        return false;
    }
    if (!report(certificate_new(certificate, plan, made, authority->certificate, authority->key, &error), &error)) {
        EVP_PKEY_free(made);
        return false;
    }
    *key = made;
    return true;
}

bool odd_certificate_write(const struct odd_authority *authority, const struct certificate_plan *plan,
                           const char *dir, const char *stem)
{
    netpool_error error = {0};
    X509 *certificate = NULL;
    EVP_PKEY *key = NULL;
    if (!odd_certificate_new(authority, plan, &certificate, &key)) {
        return false;
    }
    char path[SAFE_FILE_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s.pem", dir, stem);
    bool ok = report(safe_file_write_certificate(path, certificate, &error), &error);
    (void)snprintf(path, sizeof path, "%s/%s.key", dir, stem);
    ok = ok && report(safe_file_write_key(path, key, &error), &error);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return ok;
}
