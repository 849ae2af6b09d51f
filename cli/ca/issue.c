#include <openssl/x509.h>
#include <stdio.h>
#include <time.h>

#include "cli/ca/certificate.h"
#include "cli/ca/open_authority.h"
#include "common/error.h"
#include "common/text.h"
#include "proto/message.h"

static netpool_status check_request(Np__Role role, const char *name, const char *const *hosts, size_t host_count,
                                    const struct ca_terms *terms, netpool_error *error)
{
    if (!identity_part_is_valid(name)) {
        return np_error_set(error, NETPOOL_INVALID, "name '%.100s': must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
                            name);
    }
    if (role == NP__ROLE__BROKER && host_count == 0) {
        return np_error_set(error, NETPOOL_INVALID,
                            "a broker needs at least one host name or address: clients check it");
    }
    if (role != NP__ROLE__BROKER && host_count > 0) {
        return np_error_set(error, NETPOOL_INVALID, "only a broker has hosts, not a %s", np_role_name(role));
    }
    for (size_t i = 0; i < host_count; i++) {
        if (!certificate_host_is_valid(hosts[i])) {
            return np_error_set(error, NETPOOL_INVALID, "host '%.200s' is neither a host name nor an address",
                                hosts[i]);
        }
    }
    return ca_check_days(terms->days, "certificate", error);
}

/* Never beyond the CA's own end. */
static int64_t leaf_seconds(const struct open_authority *authority, const struct ca_terms *terms)
{
    int64_t wanted = (int64_t)(terms->days == 0 ? CA_LEAF_DAYS : terms->days) * CA_SECONDS_PER_DAY;
    int days = 0;
    int seconds = 0;
    if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(authority->certificate)) != 1) {
        return wanted;
    }
    int64_t most = days * CA_SECONDS_PER_DAY + seconds;
    return wanted < most ? wanted : most;
}

static netpool_status make_leaf(struct open_authority *authority, const struct identity *identity,
                                const char *const *hosts, size_t host_count, const struct ca_terms *terms,
                                netpool_error *error)
{
    X509 *certificate = NULL;
    EVP_PKEY *key = NULL;
    char uri[192];
    char stem[NP_IDENTITY_PART_MAX + 16];
    identity_format(identity, uri);
    (void)snprintf(stem, sizeof stem, "%s-%s", np_role_name(identity->role), identity->name);
    const char *const uris[] = {uri};
    int64_t seconds = leaf_seconds(authority, terms);
    struct certificate_plan plan = {
        .serial = certificate_random_serial(),
        .organization = identity->pool,
        .common_name = identity->name,
        .uris = uris,
        .uri_count = 1,
        .hosts = hosts,
        .host_count = host_count,
        .server_auth = identity->role == NP__ROLE__BROKER,
        .client_auth = identity->role != NP__ROLE__BROKER,
        .valid_from_s = -CA_BACKDATE_S,
        .valid_for_s = seconds + CA_BACKDATE_S,
    };
    while (index_find(&authority->index, plan.serial) != NULL) {
        plan.serial = certificate_random_serial();
    }
    struct index_entry entry = {
        .serial = plan.serial, .role = identity->role, .not_after = time(NULL) + (time_t)seconds};
    np_text_copy(entry.name, sizeof entry.name, identity->name);
    netpool_status status = certificate_new_key(&key, error);
    if (status == NETPOOL_OK) {
        status = certificate_new(&certificate, &plan, key, authority->certificate, authority->key, error);
    }
    if (status == NETPOOL_OK && index_add(&authority->index, &entry) != NETPOOL_OK) {
        status = np_error_set(error, NETPOOL_NO_MEMORY, "no memory for the index");
    }
    /* The index first: a certificate that it does not know could not be revoked. */
    if (status == NETPOOL_OK) {
        status = open_authority_write_index(authority, error);
    }
    if (status == NETPOOL_OK) {
        status = open_authority_write_pair(authority->dir, stem, certificate, key, error);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    return status;
}

/* Nothing is overwritten unasked. */
static netpool_status check_is_new(const struct open_authority *authority, const struct identity *identity,
                                   netpool_error *error)
{
    char file[NP_IDENTITY_PART_MAX + 16];
    const char *role = np_role_name(identity->role);
    static const char *const endings[] = {"pem", "key"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        (void)snprintf(file, sizeof file, "%s-%s.%s", role, identity->name, endings[i]);
        if (ca_file_exists(authority->dir, file)) {
            return np_error_set(error, NETPOOL_INVALID,
                                "%s/%s exists: %s %s has a certificate already (--force replaces)", authority->dir,
                                file, role, identity->name);
        }
    }
    return NETPOOL_OK;
}

netpool_status ca_issue_with(const char *dir, Np__Role role, const char *name, const char *const *hosts,
                             size_t host_count, const struct ca_terms *terms, netpool_error *error)
{
    netpool_status status = check_request(role, name, hosts, host_count, terms, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    struct open_authority authority = OPEN_AUTHORITY_NONE;
    struct identity identity = {.role = role};
    status = open_authority_load(&authority, dir, error);
    if (status == NETPOOL_OK) {
        np_text_copy(identity.name, sizeof identity.name, name);
        np_text_copy(identity.pool, sizeof identity.pool, authority.pool);
        status = terms->replace ? NETPOOL_OK : check_is_new(&authority, &identity, error);
    }
    if (status == NETPOOL_OK) {
        status = make_leaf(&authority, &identity, hosts, host_count, terms, error);
    }
    open_authority_close(&authority);
    return status;
}

netpool_status ca_issue(const char *dir, Np__Role role, const char *name, const char *const *hosts, size_t host_count,
                        netpool_error *error)
{
    const struct ca_terms defaults = {0};
    return ca_issue_with(dir, role, name, hosts, host_count, &defaults, error);
}
