/*
 * How OpenSSL reaches a socket. OpenSSL's own socket BIO uses write(2) and so raises SIGPIPE in the host program;
 * this one sends with MSG_NOSIGNAL and remembers why a call failed.
 */
#ifndef NP_SOCKET_BIO_H
#define NP_SOCKET_BIO_H

#include <openssl/bio.h>
#include <stdbool.h>

/* Zero-initialized apart from fd. Outlives the BIO; its fd may be exchanged while no bytes have passed. */
struct socket_bio {
    BIO_METHOD *method; /* one each, so that nothing of it is global to the process */
    int fd;
    bool read_blocked; /* the last read found nothing there */
    int failure;       /* errno of the read that failed, 0 = none */
    bool write_broken; /* the peer takes no more. Not an error yet: its last words may still be there to read */
};

/* The BIO belongs to the caller (SSL_set_bio passes it on). NULL when out of memory. */
BIO *socket_bio_new(struct socket_bio *state);

/* After the BIO has been freed. */
void socket_bio_fini(struct socket_bio *state);

#endif
