/*
 * A worker session: from WELCOME until its link is gone. What it holds, how loaded it is, and what is to be sent to
 * it.
 */
#ifndef CORE_WORKER_H
#define CORE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "broker/core/function.h"
#include "common/clock.h"
#include "common/list.h"

struct core;
struct demand;
struct fleet;
struct kind;
struct peer;
struct task;

enum worker_state { WORKER_JOINING, WORKER_READY, WORKER_DRAINING, WORKER_GONE };
#define WORKER_STATES 4

enum worker_event { WORKER_HELD, WORKER_SAYS_READY, WORKER_RESULTS, WORKER_RETURNED, WORKER_DRAIN, WORKER_LOST };
#define WORKER_EVENTS 6

/* The next state, or -1: the worker has broken the protocol. */
int worker_next(enum worker_state state, enum worker_event event);
const char *worker_state_name(enum worker_state state);

#define WORKER_NOT_IN_HEAP SIZE_MAX

/* Round trips. Within the shorter one, what a worker has ahead is hardly less when more of it comes. */
#define WORKER_NEAR_NS ((int64_t)FUNCTION_AHEAD_NS / 4)
#define WORKER_FAR_NS (25 * NP_NS_PER_MS)

/* Whose results these are: outlives the worker as long as a result names it. */
struct origin {
    unsigned references;
    char name[NP_NAME_MAX + 1];
    char host[NP_NAME_MAX + 1];
};

/* Tasks that it is to be told to drop. */
struct revocation {
    uint8_t session[NP_SESSION_SIZE];
    uint64_t seq;
    bool unstarted_only;
};

struct worker {
    struct peer *peer;
    struct fleet *fleet;
    struct origin *origin;
    enum worker_state state;
    struct np_list node;         /* in core.workers */
    uint8_t id[NP_SESSION_SIZE]; /* its session */
    unsigned slots;
    uint64_t window_bytes;
    size_t heap_index; /* in fleet.heap, or WORKER_NOT_IN_HEAP */

    struct np_list leases;       /* of tasks, in order of assignment */
    uint64_t held;               /* their number */
    uint64_t held_units;         /* their estimated work */
    uint64_t held_bytes;         /* their payloads */
    uint64_t held_slots;         /* that they take up */
    uint64_t held_wide;          /* those of more than one slot: while there are any, nothing waits in line here */
    struct demand *reserved_for; /* is given nothing else; NULL: none */
    struct task *unsent;         /* first lease that is not on its way yet, or NULL */
    bool is_blocked;             /* the next payload did not fit its window: waits for room */

    struct np_list changed_node; /* in core.changed while its place in heap and lists may be outdated */
    struct np_list hungry_node;  /* in core.hungry while ready with a free slot */
    struct np_list surplus_node; /* in core.surplus while it holds more than its slots and may be asked */
    uint32_t withdrawing;        /* tasks asked back in the Withdraw that is not answered yet; 0: none */
    uint32_t withdraw_due;       /* to be asked with the next flush */
    uint32_t withdrawn;          /* tasks given back so far in answer to it */
    bool is_barren;              /* had nothing to give back: asked again after it was given more */
    bool is_stuck;          /* runs what takes longer than thought: nothing waits in line here until it answers */
    int64_t quiet_since_ns; /* in core.surplus: nothing has come back since */
    int64_t asked_ns;       /* when it was last asked for what it answers at once: WELCOME, Withdraw */
    int64_t fed_ns;         /* when it got its first tasks with nothing to do; NP_NEVER: they have been answered */
    int64_t round_trip_ns;  /* the shortest time that took */

    struct np_list briefings; /* what it was told of sessions, struct briefing */
    struct np_list outdated;  /* what it is to be told to forget */

    struct revocation *revocations;
    size_t revocation_count;
    size_t revocation_capacity;

    uint64_t result_bytes; /* received since WELCOME */
    uint64_t credit_bytes; /* granted since WELCOME */
    bool credit_due;
    uint64_t done;
    uint64_t failed;
};

/* Has the share of its capacity that `a` holds more left than `b`? */
static inline bool worker_is_less_loaded(const struct worker *a, const struct worker *b)
{
    return a->held_units * b->slots < b->held_units * a->slots;
}

/* Could so many more run at once with what it holds? */
static inline bool worker_has_slots(const struct worker *worker, uint64_t slots)
{
    return worker->held_slots + slots <= worker->slots;
}

/* Negative when it holds more than it can run. */
static inline int64_t worker_free_slots(const struct worker *worker)
{
    return (int64_t)worker->slots - (int64_t)worker->held_slots;
}

/* So far that a run which turns out to be longer than thought would be noticed late. */
static inline bool worker_is_far(const struct worker *worker)
{
    return worker->round_trip_ns > WORKER_FAR_NS;
}

/* How much work it may hold. One that was full, nearby, and has enough in line is filled up when a quarter is done:
 * not for each result anew. */
static inline uint64_t worker_bound(const struct worker *worker)
{
    uint64_t units = (uint64_t)worker->slots * FUNCTION_SLOT_UNITS;
    bool was_full = worker->heap_index == WORKER_NOT_IN_HEAP && worker->held_slots >= 2 * (uint64_t)worker->slots &&
                    worker->round_trip_ns <= WORKER_NEAR_NS;
    return was_full ? units - units / 4 : units;
}

/* May it be given a task of one slot? Then it is in its fleet's heap. */
static inline bool worker_has_room(const struct worker *worker)
{
    return worker->state == WORKER_READY && !worker->is_blocked && worker->reserved_for == NULL &&
           ((worker->held_wide == 0 && !worker->is_stuck) || worker_has_slots(worker, 1)) &&
           worker->held_units < worker_bound(worker);
}

/* Has it a slot that nothing runs in? Then it is in core.hungry. */
static inline bool worker_is_hungry(const struct worker *worker)
{
    return worker->state == WORKER_READY && worker->reserved_for == NULL && worker_has_slots(worker, 1);
}

/* A worker that has said a correct HELLO. NULL when out of memory. */
struct worker *worker_new(struct core *core, struct peer *peer, const Np__Hello *hello);

/* Its link is gone: all leases are settled, and it is freed. `orderly`: it has said GOODBYE. */
void worker_end(struct core *core, struct worker *worker, bool orderly, int64_t now);

/* False: the worker has broken the protocol. */
bool worker_handle(struct core *core, struct worker *worker, enum worker_event event);

/* All those whose load has changed get their places in heaps and lists. The scheduler looks at these. */
void workers_settle(struct core *core);

/* The lease begins and ends; called where tasks change their state. */
void worker_hold(struct core *core, struct worker *worker, struct task *task);
/* The same of `count` tasks of one demand, which are in its leases already, with so many payload bytes together. */
void worker_hold_run(struct core *core, struct worker *worker, const struct demand *demand, unsigned count,
                     uint64_t bytes);
void worker_let_go(struct core *core, struct worker *worker, struct task *task);

/* A lease whose task is of a kind from now on: its client has submitted it again. */
void worker_claimed(struct core *core, struct worker *worker, struct task *task, struct kind *kind);

/* Nothing but tasks of this demand from now on; NULL: anything again. Called by demand_reserve and its opposite. */
void worker_reserve(struct core *core, struct worker *worker, struct demand *demand);

/* Results came from it. */
void worker_heard(struct core *core, struct worker *worker);

/* It has answered what it answers at once. */
void worker_answered(struct core *core, struct worker *worker);

/* The answer to its Withdraw is complete. */
void worker_withdrawal_done(struct core *core, struct worker *worker);

/* Asks `count` tasks back with the next flush. */
void worker_withdraw(struct core *core, struct worker *worker, uint32_t count);

/* Does a payload of this size fit its window? If not, the worker waits until something of what it holds is done. */
bool worker_fits(struct core *core, struct worker *worker, uint32_t size);

/* It is to drop that task, or only if it has not begun to run. A worker that cannot be told is closed (out of
 * memory).
 */
void worker_revoke(struct core *core, struct worker *worker, const uint8_t *session_id, uint64_t seq,
                   bool unstarted_only);

void origin_release(struct origin *origin);

#endif
