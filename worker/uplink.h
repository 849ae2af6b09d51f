/* The supervisor's one link to the broker: connects, introduces the worker, and connects again with jittered back-off
 * when the link breaks, until the broker refuses for good or is away for too long. */
#ifndef NP_UPLINK_H
#define NP_UPLINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/random.h"
#include "transport/channel.h"
#include "worker/supervisor.h"

struct uplink_handler {
    /* A WELCOME has come; the channel may be used until `lost`. */
    void (*welcomed)(void *owner);
    void (*received)(void *owner, struct np_message *message);
    void (*lost)(void *owner);
};

struct uplink {
    struct reactor *reactor;
    const struct supervisor_options *options; /* borrowed */
    const struct uplink_handler *handler;
    void *owner;
    char **functions; /* names to tell; borrowed */
    size_t function_count;
    struct np_heap *heap;    /* shared with the other end, or NULL */
    struct channel *channel; /* NULL: none */
    bool is_dead;            /* the channel is to be destroyed */
    bool is_ready;           /* WELCOME has come */
    bool was_welcomed;       /* ever */
    uint8_t session[NP_SESSION_SIZE];
    uint64_t epoch;        /* of the broker */
    uint64_t credit_bytes; /* cumulative, of this link */
    uint64_t sent_bytes;   /* results, of this link */
    int64_t connect_at;    /* the next attempt, NP_NEVER */
    int64_t welcome_by;    /* NP_NEVER but between HELLO and WELCOME */
    int64_t away_since;    /* NP_NEVER while ready */
    int64_t backoff_ns;
    struct np_random random;
    bool has_ended;    /* no more attempts */
    netpool_error end; /* NETPOOL_CLOSED: in good order */
};

void uplink_init(struct uplink *uplink, struct reactor *reactor, const struct supervisor_options *options,
                 const struct uplink_handler *handler, void *owner);
void uplink_fini(struct uplink *uplink);

/* Connects when it is time, keeps the channel's deadlines, buries the dead. */
void uplink_turn(struct uplink *uplink, int64_t now);
int64_t uplink_deadline(const struct uplink *uplink);

/* Sends a message without a body; nothing when there is no ready link. */
void uplink_send(struct uplink *uplink, Np__Envelope *envelope);

#endif
