#include "cli/up/credentials.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "cli/ca/authority.h"
#include "common/error.h"

#define POOL_NAME "local"
#define RENEW_BEFORE_S ((time_t)24 * 60 * 60) /* nothing that is started expires within a day */

static const char *const broker_hosts[] = {"127.0.0.1", "::1", "localhost"};

/* Is there a certificate, of this authority, with a day left? (One that is not of it is refused by the peers.) */
static bool is_usable(const struct credential *credential)
{
    FILE *file = fopen(credential->cert, "re");
    if (file == NULL) {
        return false;
    }
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    time_t soon = time(NULL) + RENEW_BEFORE_S;
    bool usable = certificate != NULL && X509_cmp_time(X509_get0_notAfter(certificate), &soon) > 0 &&
                  access(credential->key, R_OK) == 0;
    X509_free(certificate);
    return usable;
}

static netpool_status prepare(const struct credentials *credentials, Np__Role role, const char *role_name,
                              const char *name, struct credential *out, netpool_error *error)
{
    const struct ca_terms terms = {.replace = true};
    bool is_broker = role == NP__ROLE__BROKER;
    int cert_size = snprintf(out->cert, sizeof out->cert, "%s/%s-%s.pem", credentials->directory, role_name, name);
    int key_size = snprintf(out->key, sizeof out->key, "%s/%s-%s.key", credentials->directory, role_name, name);
    if ((size_t)cert_size >= sizeof out->cert || (size_t)key_size >= sizeof out->key) {
        return np_error_set(error, NETPOOL_INVALID, "%s: path too long", credentials->directory);
    }
    if (is_usable(out)) {
        return NETPOOL_OK;
    }
    return ca_issue_with(credentials->directory, role, name, is_broker ? broker_hosts : NULL,
                         is_broker ? sizeof broker_hosts / sizeof *broker_hosts : 0, &terms, error);
}

static netpool_status prepare_locked(struct credentials *credentials, netpool_error *error)
{
    netpool_status status = NETPOOL_OK;
    if (!ca_exists(credentials->directory)) {
        status = ca_init(credentials->directory, POOL_NAME, error);
    }
    if (status == NETPOOL_OK) {
        status = prepare(credentials, NP__ROLE__BROKER, "broker", "broker", &credentials->broker, error);
    }
    if (status == NETPOOL_OK) {
        status = prepare(credentials, NP__ROLE__CLIENT, "client", "client", &credentials->client, error);
    }
    return status;
}

/* Holds the lock of the state directory. */
static netpool_status lock(const char *directory, int *out, netpool_error *error)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return np_error_system(error, "%s", directory);
    }
    if (flock(fd, LOCK_EX) != 0) {
        np_error_system(error, "locking %s", directory);
        close(fd);
        return NETPOOL_SYSTEM;
    }
    *out = fd;
    return NETPOOL_OK;
}

netpool_status credentials_prepare(struct credentials *credentials, const char *state, netpool_error *error)
{
    int lock_fd = -1;
    *credentials = (struct credentials){0};
    int size = snprintf(credentials->directory, sizeof credentials->directory, "%s/ca", state);
    if (size < 0 || (size_t)size >= sizeof credentials->directory - sizeof "/ca.pem") {
        return np_error_set(error, NETPOOL_INVALID, "%s: path too long", state);
    }
    snprintf(credentials->ca, sizeof credentials->ca, "%s/ca/ca.pem", state);
    netpool_status status = lock(state, &lock_fd, error);
    if (status == NETPOOL_OK) {
        status = prepare_locked(credentials, error);
        close(lock_fd);
    }
    return status;
}

netpool_status credentials_worker(const struct credentials *credentials, unsigned number, struct credential *out,
                                  netpool_error *error)
{
    char state[CREDENTIALS_PATH_MAX + 4];
    char name[32];
    int lock_fd = -1;
    snprintf(name, sizeof name, "worker-%u", number);
    snprintf(state, sizeof state, "%s/..", credentials->directory);
    netpool_status status = lock(state, &lock_fd, error);
    if (status == NETPOOL_OK) {
        status = prepare(credentials, NP__ROLE__WORKER, "worker", name, out, error);
        close(lock_fd);
    }
    return status;
}
