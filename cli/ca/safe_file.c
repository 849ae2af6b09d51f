#include "cli/ca/safe_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "common/text.h"

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return false;
        }
        data += written;
        size -= (size_t)written;
    }
    return true;
}

/* Makes the rename itself durable; a file system that cannot do that is no reason to fail. */
static void sync_directory(const char *path)
{
    char copy[SAFE_FILE_PATH_MAX];
    np_text_copy(copy, sizeof copy, path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

netpool_status safe_file_write(const char *path, const void *data, size_t size, mode_t mode, netpool_error *error)
{
    char temporary[SAFE_FILE_PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof temporary) {
        return np_error_set(error, NETPOOL_INVALID, "path too long: %.200s...", path);
    }
    int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        return np_error_system(error, "cannot write %s", path);
    }
    bool ok = write_all(fd, data, size) && fchmod(fd, mode) == 0 && fsync(fd) == 0;
    int saved = errno;
    ok = close(fd) == 0 && ok;
    ok = ok && rename(temporary, path) == 0;
    if (!ok) {
        saved = errno != 0 ? errno : saved;
        (void)unlink(temporary);
        errno = saved;
        return np_error_system(error, "cannot write %s", path);
    }
    sync_directory(path);
    return NETPOOL_OK;
}

/* Writes what `filled` tells has been put into the memory BIO, and frees that. */
static netpool_status write_pem(const char *path, BIO *memory, bool filled, mode_t mode, netpool_error *error)
{
    char *data = NULL;
    long size = filled ? BIO_get_mem_data(memory, &data) : 0;
    netpool_status status = size > 0 ? safe_file_write(path, data, (size_t)size, mode, error)
                                     : np_error_set(error, NETPOOL_NO_MEMORY, "no memory to write %s", path);
    BIO_free(memory);
    return status;
}

netpool_status safe_file_write_certificate(const char *path, X509 *certificate, netpool_error *error)
{
    BIO *memory = BIO_new(BIO_s_mem());
    bool filled = memory != NULL && PEM_write_bio_X509(memory, certificate) == 1;
    return write_pem(path, memory, filled, 0644, error);
}

netpool_status safe_file_write_crl(const char *path, X509_CRL *crl, netpool_error *error)
{
    BIO *memory = BIO_new(BIO_s_mem());
    bool filled = memory != NULL && PEM_write_bio_X509_CRL(memory, crl) == 1;
    return write_pem(path, memory, filled, 0644, error);
}

netpool_status safe_file_write_key(const char *path, EVP_PKEY *key, netpool_error *error)
{
    BIO *memory = BIO_new(BIO_s_secmem()); /* wiped when freed */
    bool filled = memory != NULL && PEM_write_bio_PKCS8PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL) == 1;
    return write_pem(path, memory, filled, 0600, error);
}
