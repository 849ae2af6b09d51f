/*
 * One TLS 1.3 connection of the TLS floor: an output buffer that is written in records of up to 16 KiB, read-ahead on
 * input, and nothing else. Also the self-made certificate that both sides present and check.
 */
#ifndef BENCH_TLS_LINK_H
#define BENCH_TLS_LINK_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#define TLS_LINK_RECORD 16384 /* bytes, the largest plaintext of one record */

struct tls_identity {
    X509 *certificate;
    EVP_PKEY *key;
};

struct tls_link {
    int fd;
    SSL_CTX *context;
    SSL *ssl;
    unsigned char *out; /* bytes [out_begin, out_end) wait to be written */
    size_t out_begin;
    size_t out_end;
    size_t out_size;
    bool is_blocking;
};

/* An EC P-256 key and a certificate signed with it, in memory only. */
void tls_identity_init(struct tls_identity *identity);
void tls_identity_fini(struct tls_identity *identity);

/* Takes the connected socket and does the handshake. out_size bounds what can wait to be written. */
void tls_link_init(struct tls_link *link, int fd, bool is_server, const struct tls_identity *identity,
                   size_t out_size);
void tls_link_fini(struct tls_link *link);

/* After the handshake; a link starts blocking. */
void tls_link_set_nonblocking(struct tls_link *link);

/* Bytes that can still be appended. */
size_t tls_link_room(struct tls_link *link);

/* The caller has checked the room. */
void tls_link_append(struct tls_link *link, const void *data, size_t size);

/* Writes what waits; a nonblocking link stops where the socket is full. */
void tls_link_flush(struct tls_link *link);

/* Bytes read, 0: nothing now (nonblocking only), -1: the peer closed. */
long tls_link_read(struct tls_link *link, void *data, size_t size);

/* More input is buffered inside, so that polling the socket would not show it. */
bool tls_link_has_pending(const struct tls_link *link);

#endif
