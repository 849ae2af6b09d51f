/* A CA, certificates and both ends of TLS links over loopback in one thread, for the tests of links. */
#ifndef NP_TLS_PAIR_H
#define NP_TLS_PAIR_H

#include "tests/support/odd_certificate.h"
#include "transport/tls.h"

struct tls_ground {
    char dir[64]; /* of the CA; ca.pem, crl.pem, broker-main, worker-w1, client-c1, admin-a1 */
    struct odd_authority authority;
    int listener;
    char port[8];
};

/* Pool "lab" on 127.0.0.1. Asserts that all goes well. */
void tls_ground_init(struct tls_ground *ground);
void tls_ground_fini(struct tls_ground *ground);

/* Credentials of the files ROLE-NAME in the ground's directory, crl NULL or a file name there. */
netpool_status tls_ground_load(const struct tls_ground *ground, struct tls_context **out, const char *stem,
                               Np__Role role, const char *crl, netpool_error *error);

/* The same for what must succeed. */
struct tls_context *tls_ground_context(const struct tls_ground *ground, const char *stem, Np__Role role,
                                       const char *crl);

/* What became of one end. */
struct tls_end {
    struct link *link;
    bool established;
    netpool_status status; /* the first that was not OK */
    char message[512];
};

struct tls_pair {
    struct tls_end broker;
    struct tls_end peer;
};

/* Connects to `host` and runs both ends until each is established or failed. */
void tls_pair_run(struct tls_pair *pair, const struct tls_ground *ground, struct tls_context *broker,
                  struct tls_context *peer, const char *host);

/* The same, and the peer reads on until it has heard the broker's verdict when the broker failed. */
void tls_pair_open(struct tls_pair *pair, const struct tls_ground *ground, struct tls_context *broker,
                   struct tls_context *peer, const char *host);
void tls_pair_close(struct tls_pair *pair);

/* Waits until the end's descriptor has what the link asks for (at most 5 s, then the test fails). */
void tls_end_wait(const struct tls_end *end, bool want_write);

/* Waits for input and reads once; asserts nothing about the outcome. */
netpool_status tls_end_read(struct tls_end *end, uint8_t *out, size_t capacity, size_t *got, netpool_error *error);

/* A connected pair for a raw peer: the broker's link, and the other end of its connection. */
struct link *tls_ground_accept(const struct tls_ground *ground, struct tls_context *broker, int *raw_peer);

#endif
