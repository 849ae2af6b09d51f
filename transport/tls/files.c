#include "transport/tls/files.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"

static netpool_status fail(netpool_error *error, const char *path, const char *what)
{
    return np_error_set(error, NETPOOL_CREDENTIALS, "%s: %s", path, what);
}

/* Never prompts. */
static int refuse_passphrase(char *out, int size, int writing, void *data)
{
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)data = true;
    return -1;
}

/* A BIO over the file, which is what `kind` says, or NULL with the error set. */
static BIO *open_file(const char *path, const char *kind, bool is_secret, netpool_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not block */
    if (fd < 0) {
        char text[128];
        (void)np_error_set(error, NETPOOL_CREDENTIALS, "cannot read %s %s: %s", kind, path,
                           strerror_r(errno, text, sizeof text));
        return NULL;
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        (void)np_error_set(error, NETPOOL_CREDENTIALS, "%s %s is not a regular file", kind, path);
    } else if (is_secret && (status.st_mode & 077) != 0) {
        (void)np_error_set(error, NETPOOL_CREDENTIALS,
                           "%s %s has mode %04o: others than its owner can get at it; use chmod 600", kind, path,
                           (unsigned)(status.st_mode & 07777));
    } else {
        BIO *bio = BIO_new_fd(fd, BIO_CLOSE);
        if (bio != NULL) {
            return bio;
        }
        (void)np_error_set(error, NETPOOL_NO_MEMORY, "no memory to read %s", path);
    }
    (void)close(fd);
    return NULL;
}

/* After a PEM read that gave nothing: was it simply the end of the file? */
static bool is_end(void)
{
    unsigned long code = ERR_peek_last_error();
    bool end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return end;
}

netpool_status tls_files_read_certificates(STACK_OF(X509) * *out, const char *path, netpool_error *error)
{
    netpool_status status = NETPOOL_NO_MEMORY;
    STACK_OF(X509) *list = sk_X509_new_null();
    BIO *bio = open_file(path, "certificate file", false, error);
    if (bio == NULL || list == NULL) {
        status = bio == NULL ? NETPOOL_CREDENTIALS : NETPOOL_NO_MEMORY;
        goto cleanup;
    }
    X509 *certificate;
    ERR_clear_error();
    while ((certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_push(list, certificate) == 0) {
            X509_free(certificate);
            goto cleanup;
        }
    }
    if (!is_end()) {
        status = fail(error, path, "holds a damaged certificate");
        goto cleanup;
    }
    if (sk_X509_num(list) == 0) {
        status = fail(error, path, "holds no certificate in PEM form");
        goto cleanup;
    }
    *out = list;
    list = NULL;
    status = NETPOOL_OK;
cleanup:
    BIO_free(bio);
    sk_X509_pop_free(list, X509_free);
    return status;
}

netpool_status tls_files_read_key(EVP_PKEY **out, const char *path, netpool_error *error)
{
    BIO *bio = open_file(path, "key file", true, error);
    if (bio == NULL) {
        return NETPOOL_CREDENTIALS;
    }
    bool wanted_passphrase = false;
    ERR_clear_error();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &wanted_passphrase);
    ERR_clear_error();
    BIO_free(bio);
    if (key != NULL) {
        *out = key;
        return NETPOOL_OK;
    }
    if (wanted_passphrase) {
        return fail(error, path,
                    "the key is encrypted with a passphrase; netpool needs it plain, in a file of mode 600");
    }
    return fail(error, path, "holds no usable private key in PEM form");
}

static netpool_status check_times(const X509_CRL *crl, const char *path, netpool_error *error)
{
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
    if (X509_cmp_current_time(X509_CRL_get0_lastUpdate(crl)) >= 0) {
        return fail(error, path, "the revocation list is not yet valid");
    }
    if (next == NULL || X509_cmp_current_time(next) <= 0) {
        return fail(error, path, "the revocation list is out of date; renew it (netpool ca crl) and reload");
    }
    return NETPOOL_OK;
}

netpool_status tls_files_read_crls(STACK_OF(X509_CRL) * *out, const char *path, netpool_error *error)
{
    netpool_status status = NETPOOL_NO_MEMORY;
    STACK_OF(X509_CRL) *list = sk_X509_CRL_new_null();
    BIO *bio = open_file(path, "revocation list", false, error);
    if (bio == NULL || list == NULL) {
        status = bio == NULL ? NETPOOL_CREDENTIALS : NETPOOL_NO_MEMORY;
        goto cleanup;
    }
    X509_CRL *crl;
    ERR_clear_error();
    while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_CRL_push(list, crl) == 0) {
            X509_CRL_free(crl);
            status = NETPOOL_NO_MEMORY;
            goto cleanup;
        }
        status = check_times(crl, path, error);
        if (status != NETPOOL_OK) {
            goto cleanup;
        }
    }
    if (!is_end()) {
        status = fail(error, path, "holds a damaged revocation list");
        goto cleanup;
    }
    if (sk_X509_CRL_num(list) == 0) {
        status = fail(error, path, "holds no revocation list in PEM form");
        goto cleanup;
    }
    *out = list;
    list = NULL;
    status = NETPOOL_OK;
cleanup:
    BIO_free(bio);
    sk_X509_CRL_pop_free(list, X509_CRL_free);
    return status;
}
