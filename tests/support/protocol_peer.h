/* A peer of the broker in a test's hands: a channel that says what the test tells it, and hands over what comes, one
 * message after the other. Every failure fails the test. */
#ifndef NP_TEST_PROTOCOL_PEER_H
#define NP_TEST_PROTOCOL_PEER_H

#include "transport/channel.h"
#include "transport/reactor.h"
#include "transport/tls.h"

struct protocol_message {
    struct np_list link;
    Np__Envelope *envelope; /* owned, np__envelope__free_unpacked */
    uint8_t *body;          /* owned */
    size_t body_size;
};

struct protocol_peer {
    struct reactor *reactor;
    struct channel *channel;
    struct tls_context *credentials;
    struct np_list received; /* struct protocol_message.link */
    uint64_t epoch;          /* from WELCOME */
    bool is_closed;
    netpool_status closed_status;
    char closed_reason[512];
};

/* Connects to 127.0.0.1:port with DIR/ROLE-NAME.pem of the CA in DIR. The handshake goes on with the first run. */
void protocol_peer_connect_tls(struct protocol_peer *peer, const char *dir, Np__Role role, const char *name,
                               const char *port);
/* Connects to an ipc socket; `context` is a ZeroMQ context. */
void protocol_peer_connect_ipc(struct protocol_peer *peer, void *context, Np__Role role, const char *path);
void protocol_peer_close(struct protocol_peer *peer);

/* Sends, waiting for the link to be established first and for the last byte to have left. */
void protocol_peer_send(struct protocol_peer *peer, Np__Envelope *envelope, const void *body, size_t body_size);

/* HELLO in a role, with a session made of `session` repeated; a worker has 1 slot and the function "double". */
void protocol_peer_hello(struct protocol_peer *peer, Np__Role role, uint8_t session);

/* HELLO, WELCOME, and for a worker Ready. */
void protocol_peer_enter(struct protocol_peer *peer, Np__Role role, uint8_t session);

/* The next message of this kind; others before it are dropped. The caller destroys it. */
struct protocol_message *protocol_peer_expect(struct protocol_peer *peer, Np__Envelope__KindCase kind);
void protocol_message_destroy(struct protocol_message *message);

/* Waits until the channel is closed; closed_status and closed_reason tell how. */
void protocol_peer_expect_closed(struct protocol_peer *peer);

/* Runs until then, keeping what comes. */
void protocol_peer_run_until(struct protocol_peer *peer, int64_t end);

#endif
