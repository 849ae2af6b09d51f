/*
 * The broker's core: all scheduling state, no I/O, no clock, no threads. It takes (event, now) and yields effects and
 * the next deadline. netpool-broker runs it behind sockets; the client library embeds it for `local` and `threads`;
 * the simulation drives it with virtual time.
 *
 * Events only change state. Effects are yielded by core_flush alone, which the owner calls once after each group of
 * events: that is what makes batches.
 */
#ifndef NP_CORE_H
#define NP_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/log.h"
#include "common/netpool_status.h"
#include "proto/limits.h"
#include "proto/message.h"

struct core;

struct core_config {
    uint8_t broker_id[NP_SESSION_SIZE]; /* random, made at start */
    uint64_t epoch;                     /* differs at every start; never 0 */
    uint64_t hash_seed;       /* secret and random: of the tables whose keys peers choose. 0: peers are trusted */
    char address[129];        /* for status */
    uint64_t max_payload;     /* bytes; 0 = NP_PAYLOAD_DEFAULT */
    uint64_t max_tasks;       /* tasks held in all; 0 = 8 Mi */
    uint64_t max_memory;      /* payload and result bytes held in all; 0 = 4 GiB */
    uint64_t client_tasks;    /* window of one client; 0 = 2 Mi */
    uint64_t client_bytes;    /* window of one client; 0 = 512 MiB */
    uint64_t delivery_bytes;  /* results sent to one client and not acknowledged; 0 = 4 MiB (one always fits) */
    unsigned max_attempts;    /* default for tasks; 0 = 3 */
    int64_t session_grace_ns; /* a client whose link broke may resume for so long; 0 = 10 s */
    int64_t recovery_ns;      /* after start, resumed tasks wait so long for workers that may hold them; 0 = 5 s,
                                 < 0 = none (embedded cores) */
    int64_t heartbeat_ns;     /* told to peers in WELCOME; 0 = NP_HEARTBEAT_MS */
    int64_t timeout_ns;       /* 0 = NP_TIMEOUT_MS */
};

/* Where effects go. Called from core_flush only; must not call the core. Everything passed is borrowed for the call;
 * a large body may be shared (np_message_has_block). */
struct core_output {
    void *context;
    void (*send)(void *context, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                 bool urgent);
    /* The peer has broken a rule or is to go in good order; the owner sends GOODBYE and closes. The core has
     * forgotten the peer: no core_disconnect follows. */
    void (*close)(void *context, uint64_t peer, netpool_status status, const char *reason);
    void (*log)(void *context, enum np_log_level level, const char *text); /* may be NULL */
};

/* Who a peer is, as its transport vouches for it. */
struct core_peer {
    Np__Role role;       /* NONE: HELLO's claim counts */
    const char *name;    /* "" : HELLO's name counts */
    const char *address; /* for logs and status */
};

NETPOOL_MUST_CHECK netpool_status core_new(struct core **out, const struct core_config *config,
                                           const struct core_output *output, int64_t now);
void core_destroy(struct core **core);

/* A link was established. `peer` is a number that is never used again. False: no memory, the core does not know it.
 */
bool core_connect(struct core *core, uint64_t peer, const struct core_peer *who, int64_t now);

/* A link is gone, whatever the cause. `orderly`: the peer said GOODBYE, so a client's session ends at once instead of
 * waiting session_grace_ns, and a worker's leases are requeued without counting the attempt against not-started
 * tasks. */
void core_disconnect(struct core *core, uint64_t peer, bool orderly, int64_t now);

/* A checked message (np_message_check, and np_message_is_allowed once roles are known). May share its body. */
void core_receive(struct core *core, uint64_t peer, struct np_message *message, int64_t now);

/* Deadlines: expiries, session graces, recovery, HELLO time-outs, workers that answer nothing. Earlier than
 * core_deadline is harmless. */
void core_tick(struct core *core, int64_t now);
int64_t core_deadline(const struct core *core);

/* Schedules, then yields every effect that is due. */
void core_flush(struct core *core, int64_t now);

/* Graceful end: no new peers or tasks are accepted, every peer is told GOODBYE(CLOSED, reason). */
void core_shutdown(struct core *core, const char *reason, int64_t now);

struct core_stats {
    uint64_t queued, running, undelivered; /* tasks by state, now */
    uint64_t done, failed, cancelled;      /* in all */
    uint64_t retried, late, refused, returned, adopted;
    uint64_t memory_bytes; /* payloads and results held */
    uint64_t clients, workers, slots;
};
void core_get_stats(const struct core *core, struct core_stats *out);

/* Walks every structure and asserts that counts, links and sums agree. For tests; slow. */
void core_check(const struct core *core);

#endif
