#include "transport/tls.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/text.h"
#include "proto/message.h"
#include "transport/identity.h"
#include "transport/tls/context.h"
#include "transport/tls/files.h"
#include "transport/tls/verify.h"

/* AES-128 first: twice the speed of AES-256 here, and both out of reach. */
#define CIPHER_SUITES "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

#define CERTIFICATES_MAX \
    (16 * 1024) /* bytes of the peer's chain; the default allows 100 KiB before anybody is known */
#define CHAIN_DEPTH_MAX 4
/* Bytes: what a peer seals of LINK_WRITE_SIZE, and not a byte of what it sends next, so that records do not stand
 * across the end (3 bytes are OpenSSL's alignment). Freed while a link is idle. */
#define READ_BUFFER_SIZE (LINK_WRITE_SIZE + 4UL * 22 + 3)

static netpool_status fail(netpool_error *error, const char *path, const char *what)
{
    return np_error_set(error, NETPOOL_CREDENTIALS, "%s: %s", path, what);
}

static netpool_status no_memory(netpool_error *error)
{
    return np_error_set(error, NETPOOL_NO_MEMORY, "no memory for TLS");
}

static SSL_CTX *new_ssl_context(void)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_method());
    if (ssl == NULL || SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ssl, CIPHER_SUITES) != 1 || SSL_CTX_set_num_tickets(ssl, 0) != 1 ||
        SSL_CTX_set_max_early_data(ssl, 0) != 1) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    /* SSL_OP_IGNORE_UNEXPECTED_EOF stays off: a cut must not look like the peer's orderly close. */
    SSL_CTX_clear_options(ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_clear_mode(ssl, SSL_MODE_AUTO_RETRY); /* link_tls.c counts records without data: nobody can spin us */
    SSL_CTX_set_mode(ssl,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_default_read_buffer_len(ssl, READ_BUFFER_SIZE);
    SSL_CTX_set_max_cert_list(ssl, CERTIFICATES_MAX);
    SSL_CTX_set_verify_depth(ssl, CHAIN_DEPTH_MAX);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_verify);
    return ssl;
}

static netpool_status load_authorities(SSL_CTX *ssl, const char *path, netpool_error *error)
{
    STACK_OF(X509) * list;
    netpool_status status = tls_files_read_certificates(&list, path, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    for (int i = 0; i < sk_X509_num(list) && status == NETPOOL_OK; i++) {
        X509 *certificate = sk_X509_value(list, i);
        if (X509_check_ca(certificate) == 0) {
            status = fail(error, path, "holds a certificate that is not a CA");
        } else if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate) != 1) {
            status = no_memory(error);
        }
    }
    sk_X509_pop_free(list, X509_free);
    return status;
}

/* What a peer would refuse later is refused now, where somebody reads it. */
static netpool_status check_own(struct tls_context *context, X509 *certificate, const char *path, Np__Role local_role,
                                netpool_error *error)
{
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0) {
        return fail(error, path, "the certificate is not yet valid");
    }
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0) {
        return fail(error, path, "the certificate has expired");
    }
    struct identity identity;
    netpool_error reason = {0};
    if (identity_of_certificate(&identity, certificate, &reason) != NETPOOL_OK) {
        return fail(error, path, reason.message);
    }
    if (identity.role != local_role) {
        return np_error_set(error, NETPOOL_CREDENTIALS, "%s: the certificate has role %s, expected %s", path,
                            np_role_name(identity.role), np_role_name(local_role));
    }
    const char *usage = tls_verify_usage(certificate, local_role == NP__ROLE__BROKER);
    if (usage != NULL) {
        return np_error_set(error, NETPOOL_CREDENTIALS, "%s: the certificate %s", path, usage);
    }
    context->identity.role = identity.role;
    context->identity.serial = tls_serial_number(X509_get0_serialNumber(certificate));
    np_text_copy(context->identity.name, sizeof context->identity.name, identity.name);
    np_text_copy(context->identity.pool, sizeof context->identity.pool, identity.pool);
    return NETPOOL_OK;
}

static netpool_status load_own(struct tls_context *context, const struct tls_files *files, Np__Role local_role,
                               netpool_error *error)
{
    STACK_OF(X509) *list = NULL;
    EVP_PKEY *key = NULL;
    netpool_status status = tls_files_read_certificates(&list, files->cert, error);
    if (status != NETPOOL_OK) {
        goto cleanup;
    }
    X509 *own = sk_X509_value(list, 0);
    status = check_own(context, own, files->cert, local_role, error);
    if (status != NETPOOL_OK) {
        goto cleanup;
    }
    status = tls_files_read_key(&key, files->key, error);
    if (status != NETPOOL_OK) {
        goto cleanup;
    }
    if (X509_check_private_key(own, key) != 1) {
        status = np_error_set(error, NETPOOL_CREDENTIALS, "%s: the key does not belong to the certificate in %s",
                              files->key, files->cert);
        goto cleanup;
    }
    if (SSL_CTX_use_certificate(context->ssl, own) != 1 || SSL_CTX_use_PrivateKey(context->ssl, key) != 1) {
        status = fail(error, files->cert, "OpenSSL does not accept the certificate or its key (too weak?)");
        goto cleanup;
    }
    for (int i = 1; i < sk_X509_num(list); i++) {
        if (SSL_CTX_add1_chain_cert(context->ssl, sk_X509_value(list, i)) != 1) {
            status = fail(error, files->cert, "OpenSSL does not accept an intermediate certificate");
            goto cleanup;
        }
    }
cleanup:
    EVP_PKEY_free(key);
    sk_X509_pop_free(list, X509_free);
    return status;
}

static int compare_serials(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static netpool_status add_revoked(struct tls_context *context, X509_CRL *crl)
{
    STACK_OF(X509_REVOKED) *list = X509_CRL_get_REVOKED(crl);
    int count = sk_X509_REVOKED_num(list);
    if (count <= 0) {
        return NETPOOL_OK;
    }
    uint64_t *grown = realloc(context->revoked, (context->revoked_count + (size_t)count) * sizeof *grown);
    if (grown == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    context->revoked = grown;
    for (int i = 0; i < count; i++) {
        const X509_REVOKED *entry = sk_X509_REVOKED_value(list, i);
        grown[context->revoked_count++] = tls_serial_number(X509_REVOKED_get0_serialNumber(entry));
    }
    return NETPOOL_OK;
}

static netpool_status load_crls(struct tls_context *context, const char *path, netpool_error *error)
{
    STACK_OF(X509_CRL) * list;
    netpool_status status = tls_files_read_crls(&list, path, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    X509_STORE *store = SSL_CTX_get_cert_store(context->ssl);
    /* A chain with any CA that has no list is refused. */
    if (X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) != 1) {
        status = no_memory(error);
    }
    for (int i = 0; i < sk_X509_CRL_num(list) && status == NETPOOL_OK; i++) {
        X509_CRL *crl = sk_X509_CRL_value(list, i);
        if (X509_STORE_add_crl(store, crl) != 1 || add_revoked(context, crl) != NETPOOL_OK) {
            status = no_memory(error);
        }
    }
    if (context->revoked_count > 1) {
        qsort(context->revoked, context->revoked_count, sizeof *context->revoked, compare_serials);
    }
    sk_X509_CRL_pop_free(list, X509_CRL_free);
    return status;
}

static netpool_status check_files(const struct tls_files *files, netpool_error *error)
{
    if (files->ca == NULL || files->cert == NULL || files->key == NULL) {
        return np_error_set(error, NETPOOL_CREDENTIALS, "TLS needs three files and has no %s",
                            files->ca == NULL     ? "CA certificate"
                            : files->cert == NULL ? "certificate"
                                                  : "key");
    }
    return NETPOOL_OK;
}

netpool_status tls_context_new(struct tls_context **out, const struct tls_files *files, Np__Role local_role,
                               netpool_error *error)
{
    assert(local_role != NP__ROLE__NONE);
    netpool_status status = check_files(files, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    ERR_clear_error();
    struct tls_context *context = calloc(1, sizeof *context);
    if (context == NULL || (context->ssl = new_ssl_context()) == NULL) {
        status = no_memory(error);
        goto cleanup;
    }
    status = load_authorities(context->ssl, files->ca, error);
    if (status == NETPOOL_OK) {
        status = load_own(context, files, local_role, error);
    }
    if (status == NETPOOL_OK && files->crl != NULL) {
        status = load_crls(context, files->crl, error);
    }
    if (status == NETPOOL_OK) {
        *out = context;
        context = NULL;
    }
cleanup:
    ERR_clear_error();
    tls_context_destroy(&context);
    return status;
}

void tls_context_destroy(struct tls_context **context)
{
    if (*context != NULL) {
        SSL_CTX_free((*context)->ssl);
        free((*context)->revoked);
        free(*context);
        *context = NULL;
    }
}

const struct link_peer *tls_context_identity(const struct tls_context *context)
{
    return &context->identity;
}

bool tls_context_is_revoked(const struct tls_context *context, uint64_t serial)
{
    return context->revoked_count > 0 &&
           bsearch(&serial, context->revoked, context->revoked_count, sizeof serial, compare_serials) != NULL;
}
