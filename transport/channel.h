/*
 * A channel: messages over a link. It frames, decodes, checks, cuts large bodies into chunks and joins them, keeps
 * the peer alive with heartbeats and notices when it is dead, and holds to the deadlines of handshake and write
 * stall. It knows nothing of tasks; who may send what is checked here against the table of proto/message.c once both
 * roles are known.
 *
 * Memory: at most one frame and one large body of the announced limit on the way in; on the way out what was sent and
 * not yet written (channel_backlog), which its owner bounds through credits.
 */
#ifndef NP_CHANNEL_H
#define NP_CHANNEL_H

#include "common/netpool_status.h"
#include "proto/message.h"
#include "transport/link.h"
#include "transport/reactor.h"

struct channel;

/* Callbacks run inside channel_ready and channel_tick, on the thread of the reactor. They may call channel_send,
 * channel_close and channel_destroy on any channel, this one included. */
struct channel_handler {
    /* The link is established: channel_peer tells who. May be NULL. */
    void (*opened)(void *owner, struct channel *channel);
    /* One whole, checked message. */
    void (*received)(void *owner, struct channel *channel, struct np_message *message);
    /* The channel is dead; called once, nothing is called after it. The owner destroys it, here or later. `reason` is
     * one line. Not called for a channel that its owner destroys. A GOODBYE of the peer ends here with the peer's
     * status and words. */
    void (*closed)(void *owner, struct channel *channel, netpool_status status, const char *reason);
};

struct channel_options {
    Np__Role local_role;          /* who we are */
    uint64_t max_payload;         /* largest body accepted, bytes */
    int64_t heartbeat_ns;         /* 0 = NP_HEARTBEAT_MS */
    int64_t timeout_ns;           /* 0 = NP_TIMEOUT_MS: peer silence, and a write that makes no progress; neither is
                                     judged on a link that tells_end, nor what passed while we did not run */
    int64_t handshake_timeout_ns; /* 0 = NP_HANDSHAKE_TIMEOUT_MS: from channel_new to opened */
    struct np_heap *heap;         /* that both ends share: large bodies which lie there are told, not sent; or NULL */
};

/* Takes the link over (destroyed with the channel, and also when this fails). */
NETPOOL_MUST_CHECK netpool_status channel_new(struct channel **out, struct reactor *reactor, struct link *link,
                                              const struct channel_options *options,
                                              const struct channel_handler *handler, void *owner,
                                              netpool_error *error);

/* Closes at once, without a GOODBYE, and frees. *channel becomes NULL. NULL is harmless. */
void channel_destroy(struct channel **channel);

enum channel_urgency {
    CHANNEL_IN_ORDER, /* stands behind everything sent before it, large bodies included */
    CHANNEL_URGENT    /* may overtake a large body on its way: heartbeats, credits, acknowledgements, small results */
};

/* Encodes the message at once; envelope and body may be reused when this returns, but for a large body: that is a
 * block (np_message_has_block) and shared until it is written. Sets large_body itself. The bytes leave with
 * channel_flush at the latest, which the owner calls once at the end of its turn. On a dead channel: nothing happens.
 * NETPOOL_NO_MEMORY: nothing was queued. */
NETPOOL_MUST_CHECK netpool_status channel_send(struct channel *channel, Np__Envelope *envelope, const void *body,
                                               size_t body_size, enum channel_urgency urgency);

/* Writes what can be written. May run the closed callback. */
void channel_flush(struct channel *channel);

/* Sends GOODBYE with status and reason, writes what goes at once, then behaves as dead (`closed` is called with the
 * same status from the next channel_tick or reactor turn, not from inside this call). */
void channel_close(struct channel *channel, netpool_status status, const char *reason);

/* For links without a descriptor of their own, whose owner knows when bytes have come. */
void channel_ready(struct channel *channel);

/* Heartbeats and deadlines. The owner calls it when channel_deadline has passed (earlier is harmless). */
void channel_tick(struct channel *channel, int64_t now);
int64_t channel_deadline(const struct channel *channel);

/* After WELCOME: what was agreed there. */
void channel_set_limits(struct channel *channel, uint64_t max_payload, int64_t heartbeat_ns, int64_t timeout_ns);

/* From now on messages that remote_role may not send to us close the channel with NETPOOL_PROTOCOL. Before that only
 * HELLO, WELCOME, GOODBYE and HEARTBEAT pass. */
void channel_set_remote_role(struct channel *channel, Np__Role remote_role);

const struct link_peer *channel_peer(const struct channel *channel);
bool channel_is_open(const struct channel *channel);

/* Bytes sent and not yet written to the link. */
size_t channel_backlog(const struct channel *channel);

/* A number for this channel that no other channel of the process has had. */
uint64_t channel_id(const struct channel *channel);

#endif
