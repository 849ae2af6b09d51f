#include "cli/ca/authority.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli/ca/certificate.h"
#include "cli/ca/open_authority.h"
#include "common/error.h"
#include "common/text.h"
#include "proto/message.h"

bool ca_exists(const char *dir)
{
    return ca_file_exists(dir, "ca.pem") && ca_file_exists(dir, "ca.key") && ca_file_exists(dir, "index");
}

static netpool_status make_authority(struct open_authority *authority, const struct ca_terms *terms,
                                     netpool_error *error)
{
    int64_t days = terms->days == 0 ? CA_AUTHORITY_DAYS : terms->days;
    struct certificate_plan plan = {
        .serial = certificate_random_serial(),
        .organization = authority->pool,
        .common_name = "netpool CA",
        .is_authority = true,
        .valid_from_s = -CA_BACKDATE_S,
        .valid_for_s = days * CA_SECONDS_PER_DAY + CA_BACKDATE_S,
    };
    netpool_status status = certificate_new_key(&authority->key, error);
    if (status == NETPOOL_OK) {
        status = certificate_new(&authority->certificate, &plan, authority->key, NULL, authority->key, error);
    }
    if (status == NETPOOL_OK) {
        status = open_authority_write_index(authority, error);
    }
    if (status == NETPOOL_OK) {
        status = open_authority_write_crl(authority, terms, error);
    }
    return status == NETPOOL_OK
               ? open_authority_write_pair(authority->dir, "ca", authority->certificate, authority->key, error)
               : status;
}

netpool_status ca_init_with(const char *dir, const char *pool, const struct ca_terms *terms, netpool_error *error)
{
    if (!identity_part_is_valid(pool)) {
        return np_error_set(error, NETPOOL_INVALID,
                            "pool name '%.100s': must be 1 to 64 characters of A-Z a-z 0-9 . _ -", pool);
    }
    netpool_status status = ca_check_days(terms->days, "CA", error);
    if (status != NETPOOL_OK) {
        return status;
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return np_error_system(error, "cannot make the directory %s", dir);
    }
    struct open_authority authority = OPEN_AUTHORITY_NONE;
    authority.dir = dir;
    np_text_copy(authority.pool, sizeof authority.pool, pool);
    status = open_authority_lock(&authority, error);
    if (status == NETPOOL_OK && (ca_file_exists(dir, "ca.pem") || ca_file_exists(dir, "ca.key"))) {
        status = np_error_set(error, NETPOOL_INVALID, "%s holds a CA already; it is left as it is", dir);
    }
    if (status == NETPOOL_OK) {
        status = make_authority(&authority, terms, error);
    }
    open_authority_close(&authority);
    return status;
}

netpool_status ca_init(const char *dir, const char *pool, netpool_error *error)
{
    const struct ca_terms defaults = {0};
    return ca_init_with(dir, pool, &defaults, error);
}

static bool is_selected(const struct index_entry *entry, const struct ca_selection *selection)
{
    if (selection->serial != 0) {
        return entry->serial == selection->serial;
    }
    return strcmp(entry->name, selection->name) == 0 &&
           (selection->role == NP__ROLE__NONE || entry->role == selection->role);
}

static netpool_status mark_revoked(struct index *index, const struct ca_selection *selection, size_t *count,
                                   netpool_error *error)
{
    Np__Role role = NP__ROLE__NONE;
    size_t found = 0;
    for (size_t i = 0; i < index->count; i++) {
        if (is_selected(&index->entries[i], selection)) {
            if (found++ > 0 && index->entries[i].role != role) {
                return np_error_set(error, NETPOOL_INVALID,
                                    "'%s' is the name of a %s and of a %s: say which with --role", selection->name,
                                    np_role_name(role), np_role_name(index->entries[i].role));
            }
            role = index->entries[i].role;
        }
    }
    if (found == 0 && selection->serial != 0) {
        return np_error_set(error, NETPOOL_INVALID, "no certificate with serial %016" PRIx64 " was issued here",
                            selection->serial);
    }
    if (found == 0) {
        return np_error_set(error, NETPOOL_INVALID, "no certificate with name '%.100s' was issued here",
                            selection->name);
    }
    *count = 0;
    for (size_t i = 0; i < index->count; i++) {
        struct index_entry *entry = &index->entries[i];
        if (is_selected(entry, selection) && entry->revoked_at == 0) {
            entry->revoked_at = time(NULL);
            *count += 1;
        }
    }
    return NETPOOL_OK;
}

netpool_status ca_revoke(const char *dir, const struct ca_selection *selection, const struct ca_terms *terms,
                         size_t *count, netpool_error *error)
{
    struct open_authority authority = OPEN_AUTHORITY_NONE;
    netpool_status status = open_authority_load(&authority, dir, error);
    if (status == NETPOOL_OK) {
        status = mark_revoked(&authority.index, selection, count, error);
    }
    if (status == NETPOOL_OK) {
        status = open_authority_write_index(&authority, error);
    }
    if (status == NETPOOL_OK) {
        status = open_authority_write_crl(&authority, terms, error);
    }
    open_authority_close(&authority);
    return status;
}

netpool_status ca_renew_crl(const char *dir, const struct ca_terms *terms, netpool_error *error)
{
    struct open_authority authority = OPEN_AUTHORITY_NONE;
    netpool_status status = open_authority_load(&authority, dir, error);
    if (status == NETPOOL_OK) {
        status = open_authority_write_crl(&authority, terms, error);
    }
    open_authority_close(&authority);
    return status;
}
