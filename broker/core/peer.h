/* A peer: one link from its start to its end, and what it has turned out to be. */
#ifndef CORE_PEER_H
#define CORE_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "common/list.h"

struct core;
struct session;
struct worker;

enum peer_state { PEER_NEW, PEER_OPEN, PEER_CLOSING, PEER_GONE };
#define PEER_STATES 4

enum peer_event {
    PEER_HELLO,
    PEER_MESSAGE,    /* any other */
    PEER_HELLO_LATE, /* no HELLO in time */
    PEER_CLOSE,      /* we end it */
    PEER_LOST        /* the link is gone */
};
#define PEER_EVENTS 5

enum peer_rule {
    PEER_NEVER, /* our bug */
    PEER_IGNORED,
    PEER_FAULT, /* closed with PROTOCOL */
    PEER_TO_OPEN,
    PEER_STAYS,
    PEER_TO_CLOSING,
    PEER_TO_GONE
};

enum peer_rule peer_rule(enum peer_state state, enum peer_event event);

struct peer {
    uint64_t id;
    enum peer_state state;
    Np__Role role; /* vouched for by the transport until HELLO, then what it is; NONE: unknown */
    char name[NP_NAME_MAX + 1];
    bool is_name_vouched; /* the transport says so; else HELLO does, and all peers are of one user */
    char host[NP_NAME_MAX + 1];
    char address[129];
    struct np_list new_node; /* in core.new_peers, oldest first, until HELLO */
    int64_t hello_end_ns;
    struct np_list touched_node; /* in core.touched: something may be to be sent */
    struct np_list closing_node; /* in core.closing */
    struct session *session;     /* clients */
    struct worker *worker;       /* workers */
    uint64_t max_payload;        /* bytes; the smaller of both sides' */
    bool welcome_due;
    bool resumed; /* said in WELCOME */
    bool status_due;
    bool is_orderly; /* said GOODBYE */
    netpool_status close_status;
    char close_reason[192];
};

/* NULL when out of memory. */
struct peer *peer_new(struct core *core, uint64_t id, const struct core_peer *who, int64_t now);

/* A checked message of it. */
void peer_receive(struct core *core, struct peer *peer, struct np_message *message, int64_t now);

/* It is to be closed; nothing more is taken from it. Its session or leases are settled by peer_settle. Repeats are
 * harmless: the first reason counts. */
void peer_close(struct core *core, struct peer *peer, netpool_status status, const char *format, ...)
    NETPOOL_PRINTF(4, 5);

/* Its link is gone; settles and frees it. */
void peer_lost(struct core *core, struct peer *peer, bool orderly, int64_t now);

/* Parts a closing peer from its session or its leases. Repeats are harmless. */
void peer_settle(struct core *core, struct peer *peer, int64_t now);

/* Forgets a settled peer. */
void peer_destroy(struct core *core, struct peer *peer);

#endif
