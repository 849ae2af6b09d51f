/*
 * The peers of one loop: their channels, their deadlines, what was sent to whom in this turn. It introduces a peer to
 * the core with its HELLO, not before; a peer that does not say HELLO in time is dropped without the core's
 * knowledge. It cuts a peer whose unread backlog passes what the protocol's credits can ever put there.
 */
#ifndef BROKER_PEERS_H
#define BROKER_PEERS_H

#include "broker/port.h"
#include "transport/channel.h"
#include "transport/reactor.h"

struct peers;

struct peers_config {
    uint64_t max_payload;     /* bytes of one message's body; 0 = NP_PAYLOAD_DEFAULT */
    uint64_t delivery_bytes;  /* of unacknowledged results a client may have on its way */
    int64_t hello_timeout_ns; /* link established to HELLO; 0 = NP_HELLO_TIMEOUT_MS */
};

/* `port` is borrowed: the port these peers belong to, whose events are called. */
NETPOOL_MUST_CHECK netpool_status peers_new(struct peers **out, struct reactor *reactor, struct port *port,
                                            const struct peers_config *config);
/* Closes every channel without a word. */
void peers_destroy(struct peers **peers);

/* Takes over a link (also on failure). *channel is borrowed, for links that must be told of input (ipc). */
NETPOOL_MUST_CHECK netpool_status peers_adopt(struct peers *peers, struct link *link, struct channel **channel);

/* The operations of a port, for its peers. */
void peers_send(struct peers *peers, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                bool urgent);
void peers_close(struct peers *peers, uint64_t peer, netpool_status status, const char *reason);
void peers_close_revoked(struct peers *peers, const struct tls_context *context);
void peers_tick(struct peers *peers, int64_t now);
int64_t peers_deadline(const struct peers *peers);
void peers_flush(struct peers *peers);

/* All peers, and those of them that have not said HELLO. */
size_t peers_count(const struct peers *peers);
size_t peers_unintroduced(const struct peers *peers);

#endif
