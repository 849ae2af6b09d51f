#include "bench/floors/tls_link.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/figures.h"

#define READ_AHEAD_SIZE (64 * 1024) /* bytes; several records a system call */

static void die_of_tls(const char *what)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    figures_die("tls: %s: %s (%s)", what, text, strerror(errno));
}

void tls_identity_init(struct tls_identity *identity)
{
    identity->key = EVP_EC_gen("P-256");
    identity->certificate = X509_new();
    if (identity->key == NULL || identity->certificate == NULL) {
        die_of_tls("key");
    }
    X509 *certificate = identity->certificate;
    X509_NAME *name = X509_get_subject_name(certificate);
    if (X509_set_version(certificate, X509_VERSION_3) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(certificate), -60) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) == NULL ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"floor", -1, -1, 0) != 1 ||
        X509_set_issuer_name(certificate, name) != 1 || X509_set_pubkey(certificate, identity->key) != 1 ||
        X509_sign(certificate, identity->key, EVP_sha256()) == 0) {
        die_of_tls("certificate");
    }
}

void tls_identity_fini(struct tls_identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
}

static SSL_CTX *context_new(bool is_server, const struct tls_identity *identity)
{
    SSL_CTX *context = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_use_certificate(context, identity->certificate) != 1 ||
        SSL_CTX_use_PrivateKey(context, identity->key) != 1 ||
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context), identity->certificate) != 1) {
        die_of_tls("context");
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD_SIZE);
    return context;
}

void tls_link_init(struct tls_link *link, int fd, bool is_server, const struct tls_identity *identity,
                   size_t out_size)
{
    *link = (struct tls_link){.fd = fd, .out_size = out_size, .is_blocking = true};
    link->out = malloc(out_size);
    link->context = context_new(is_server, identity);
    link->ssl = SSL_new(link->context);
    if (link->out == NULL || link->ssl == NULL || SSL_set_fd(link->ssl, fd) != 1) {
        die_of_tls("connection");
    }
    if ((is_server ? SSL_accept(link->ssl) : SSL_connect(link->ssl)) != 1) {
        die_of_tls("handshake");
    }
}

void tls_link_fini(struct tls_link *link)
{
    SSL_free(link->ssl);
    SSL_CTX_free(link->context);
    close(link->fd);
    free(link->out);
}

void tls_link_set_nonblocking(struct tls_link *link)
{
    if (fcntl(link->fd, F_SETFL, O_NONBLOCK) != 0) {
        figures_die("tls: O_NONBLOCK: %s", strerror(errno));
    }
    link->is_blocking = false;
}

size_t tls_link_room(struct tls_link *link)
{
    if (link->out_begin == link->out_end) { /* start over at memory that is in the cache */
        link->out_begin = 0;
        link->out_end = 0;
    }
    return link->out_size - (link->out_end - link->out_begin);
}

void tls_link_append(struct tls_link *link, const void *data, size_t size)
{
    assert(size <= tls_link_room(link));
    if (link->out_end + size > link->out_size) {
        memmove(link->out, link->out + link->out_begin, link->out_end - link->out_begin);
        link->out_end -= link->out_begin;
        link->out_begin = 0;
    }
    memcpy(link->out + link->out_end, data, size);
    link->out_end += size;
}

void tls_link_flush(struct tls_link *link)
{
    while (link->out_begin < link->out_end) {
        size_t size = link->out_end - link->out_begin;
        size = size < TLS_LINK_RECORD ? size : TLS_LINK_RECORD;
        int written = SSL_write(link->ssl, link->out + link->out_begin, (int)size);
        if (written <= 0) {
            int error = SSL_get_error(link->ssl, written);
            if (error == SSL_ERROR_SYSCALL && errno == ECONNRESET) {
                link->out_begin = link->out_end; /* the peer is gone, as the next read will say */
                return;
            }
            if (error == SSL_ERROR_WANT_WRITE) {
                return;
            }
            die_of_tls("write");
        }
        link->out_begin += (size_t)written;
    }
}

long tls_link_read(struct tls_link *link, void *data, size_t size)
{
    int count = SSL_read(link->ssl, data, (int)size);
    if (count > 0) {
        return count;
    }
    switch (SSL_get_error(link->ssl, count)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return -1;
    case SSL_ERROR_SYSCALL:
        if (errno == ECONNRESET || errno == 0) {
            return -1;
        }
        break;
    case SSL_ERROR_SSL:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            ERR_clear_error();
            return -1;
        }
        break;
    default:
        break;
    }
    die_of_tls("read");
    return -1;
}

bool tls_link_has_pending(const struct tls_link *link)
{
    return SSL_has_pending(link->ssl) != 0;
}
