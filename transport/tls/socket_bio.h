/*
 * How OpenSSL reaches a socket. OpenSSL's own socket BIO uses write(2) and so raises SIGPIPE in the host program;
 * this one sends with MSG_NOSIGNAL and remembers why a call failed.
 */
#ifndef NP_SOCKET_BIO_H
#define NP_SOCKET_BIO_H

#include <openssl/bio.h>
#include <stdbool.h>

#include "common/buffer.h"

/* Zero-initialized apart from fd. Outlives the BIO; its fd may be exchanged while no bytes have passed. */
struct socket_bio {
    BIO_METHOD *method; /* one each, so that nothing of it is global to the process */
    int fd;
    bool read_blocked; /* the last read found nothing there */
    int failure;       /* errno of what failed, 0 = none */
    bool gathers;      /* what is written goes to `gathered`, which cannot block */
    struct np_buffer gathered;
    bool write_broken; /* the peer takes no more. Not an error yet: its last words may still be there to read */
};

/* The BIO belongs to the caller (SSL_set_bio passes it on). NULL when out of memory. */
BIO *socket_bio_new(struct socket_bio *state);

/* Sends what was gathered, until the socket takes no more. While some is left, other writes are held back. */
void socket_bio_send_gathered(struct socket_bio *state);

/* After the BIO has been freed. */
void socket_bio_fini(struct socket_bio *state);

#endif
