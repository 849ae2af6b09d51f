#include "cli/ca/open_authority.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/ca/revocation.h"
#include "common/error.h"
#include "transport/tls/files.h"

netpool_status ca_path(char out[SAFE_FILE_PATH_MAX], const char *dir, const char *file, netpool_error *error)
{
    int length = snprintf(out, SAFE_FILE_PATH_MAX, "%s/%s", dir, file);
    if (length < 0 || length >= SAFE_FILE_PATH_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "path too long: %.200s...", dir);
    }
    return NETPOOL_OK;
}

netpool_status ca_pool_of(char out[NP_IDENTITY_PART_MAX + 1], X509 *authority, netpool_error *error)
{
    char pool[NP_IDENTITY_PART_MAX + 1];
    int length = X509_NAME_get_text_by_NID(X509_get_subject_name(authority), NID_organizationName, pool, sizeof pool);
    if (length < 1 || X509_check_ca(authority) == 0 || !identity_part_is_valid(pool)) {
        return np_error_set(error, NETPOOL_CREDENTIALS, "not the certificate of a CA made by netpool");
    }
    memcpy(out, pool, sizeof pool);
    return NETPOOL_OK;
}

bool ca_file_exists(const char *dir, const char *file)
{
    char path[SAFE_FILE_PATH_MAX];
    return ca_path(path, dir, file, NULL) == NETPOOL_OK && access(path, F_OK) == 0;
}

netpool_status open_authority_lock(struct open_authority *authority, netpool_error *error)
{
    authority->lock = open(authority->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (authority->lock < 0) {
        return np_error_system(error, "cannot open the directory %s", authority->dir);
    }
    while (flock(authority->lock, LOCK_EX) != 0) {
        if (errno != EINTR) {
            return np_error_system(error, "cannot lock the directory %s", authority->dir);
        }
    }
    return NETPOOL_OK;
}

void open_authority_close(struct open_authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
    index_fini(&authority->index);
    if (authority->lock >= 0) {
        (void)close(authority->lock);
    }
}

static netpool_status read_certificate(struct open_authority *authority, netpool_error *error)
{
    char path[SAFE_FILE_PATH_MAX];
    STACK_OF(X509) * list;
    netpool_status status = ca_path(path, authority->dir, "ca.pem", error);
    if (status == NETPOOL_OK) {
        status = tls_files_read_certificates(&list, path, error);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    authority->certificate = sk_X509_shift(list);
    sk_X509_pop_free(list, X509_free);
    netpool_error reason = {0};
    if (ca_pool_of(authority->pool, authority->certificate, &reason) != NETPOOL_OK) {
        return np_error_set(error, NETPOOL_CREDENTIALS, "%s: %s", path, reason.message);
    }
    if (X509_cmp_current_time(X509_get0_notAfter(authority->certificate)) <= 0) {
        return np_error_set(error, NETPOOL_CREDENTIALS, "%s: the CA's certificate has expired", path);
    }
    return NETPOOL_OK;
}

netpool_status open_authority_load(struct open_authority *authority, const char *dir, netpool_error *error)
{
    authority->dir = dir;
    if (!ca_file_exists(dir, "ca.pem")) {
        return np_error_set(error, NETPOOL_INVALID, "%s holds no CA; make one with: netpool ca init %s", dir, dir);
    }
    char path[SAFE_FILE_PATH_MAX];
    netpool_status status = open_authority_lock(authority, error);
    if (status == NETPOOL_OK) {
        status = read_certificate(authority, error);
    }
    if (status == NETPOOL_OK) {
        status = ca_path(path, dir, "ca.key", error);
    }
    if (status == NETPOOL_OK) {
        status = tls_files_read_key(&authority->key, path, error);
    }
    if (status == NETPOOL_OK && X509_check_private_key(authority->certificate, authority->key) != 1) {
        status = np_error_set(error, NETPOOL_CREDENTIALS, "%s does not belong to ca.pem", path);
    }
    if (status == NETPOOL_OK) {
        status = ca_path(path, dir, "index", error);
    }
    if (status == NETPOOL_OK) {
        status = index_read(&authority->index, path, error);
    }
    return status;
}

netpool_status ca_check_days(unsigned days, const char *what, netpool_error *error)
{
    if (days > CA_DAYS_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "%s: at most %d days", what, CA_DAYS_MAX);
    }
    return NETPOOL_OK;
}

netpool_status open_authority_write_index(const struct open_authority *authority, netpool_error *error)
{
    char path[SAFE_FILE_PATH_MAX];
    netpool_status status = ca_path(path, authority->dir, "index", error);
    return status == NETPOOL_OK ? index_write(&authority->index, path, error) : status;
}

netpool_status open_authority_write_crl(const struct open_authority *authority, const struct ca_terms *terms,
                                        netpool_error *error)
{
    char path[SAFE_FILE_PATH_MAX];
    X509_CRL *crl;
    int64_t days = terms->crl_days == 0 ? CA_CRL_DAYS : terms->crl_days;
    netpool_status status = ca_check_days(terms->crl_days, "revocation list", error);
    if (status == NETPOOL_OK) {
        status = ca_path(path, authority->dir, "crl.pem", error);
    }
    if (status == NETPOOL_OK) {
        status = revocation_new(&crl, &authority->index, authority->certificate, authority->key, -CA_BACKDATE_S,
                                days * CA_SECONDS_PER_DAY, error);
    }
    if (status == NETPOOL_OK) {
        status = safe_file_write_crl(path, crl, error);
        X509_CRL_free(crl);
    }
    return status;
}

netpool_status open_authority_write_pair(const char *dir, const char *stem, X509 *certificate, EVP_PKEY *key,
                                         netpool_error *error)
{
    char path[SAFE_FILE_PATH_MAX];
    char file[NP_IDENTITY_PART_MAX + 32];
    (void)snprintf(file, sizeof file, "%s.key", stem);
    netpool_status status = ca_path(path, dir, file, error);
    if (status == NETPOOL_OK) {
        status = safe_file_write_key(path, key, error);
    }
    (void)snprintf(file, sizeof file, "%s.pem", stem);
    if (status == NETPOOL_OK) {
        status = ca_path(path, dir, file, error);
    }
    if (status == NETPOOL_OK) {
        status = safe_file_write_certificate(path, certificate, error);
    }
    return status;
}
