/*
 * The simulated world around one broker core: virtual time, links that delay and break, clients and workers that
 * speak the protocol, and faults. Everything follows from one seed.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/random.h"

#define WORLD_CLIENTS 5
#define WORLD_WORKERS 6

struct world;
struct client_model;
struct worker_model;

/* What is to happen: a function that is called at its time, unless its owner has moved on (generation). */
struct happening {
    int64_t time;
    uint64_t order;
    void (*happen)(struct world *world, void *who);
    void *who;
    const uint64_t *generation; /* NULL: happens in any case */
    uint64_t expected;
    bool owns; /* `who` is malloc'ed, for `happen` to free */
};

/* One end of a link is the core, the other a model. Ordered both ways until it breaks. */
struct sim_link {
    uint64_t id;         /* the core's number for it; 0: not connected */
    uint64_t generation; /* counts the links of this model */
    bool is_up;          /* the model believes so */
    bool carries;        /* not broken: what is sent arrives */
    bool is_vouched;     /* the core has seen core_connect and not its end */
    struct np_list to_broker;
    struct np_list to_model;
    int64_t last_to_broker; /* arrival of the newest message */
    int64_t last_to_model;
    void (*received)(struct world *world, void *model, const Np__Envelope *envelope, const uint8_t *body,
                     size_t body_size);
    void (*lost)(struct world *world, void *model);
    void (*opened)(struct world *world, void *model);
    void *model;
};

struct world {
    struct np_random random;
    uint64_t seed;
    int64_t now;
    struct happening *heap;
    size_t heap_count;
    size_t heap_capacity;
    uint64_t next_order;
    uint64_t events;
    uint64_t event_goal;
    bool is_calm;      /* no more faults, no more new tasks */
    struct core *core; /* NULL: the broker is down */
    struct core_config config;
    uint64_t next_peer;
    struct sim_link *links[WORLD_CLIENTS + WORLD_WORKERS];
    struct client_model *clients[WORLD_CLIENTS];
    struct worker_model *workers[WORLD_WORKERS];
    uint64_t restarts, breaks, crashes, drains, forgeries, completed, lost, poisoned, retransmitted;
    uint64_t late, refused, adopted, returned;
    uint64_t in_lanes, labelled, wide, prepared; /* assignments that were checked */
    uint64_t progressed;                         /* values that came to clients */
};

/* Ends the program with the seed and the command that replays it. */
_Noreturn void world_fail(struct world *world, const char *format, ...) NETPOOL_PRINTF(2, 3);
#define WORLD_EXPECT(world, condition)                                      \
    do {                                                                    \
        if (!(condition)) {                                                 \
            world_fail(world, "%s:%d: %s", __FILE__, __LINE__, #condition); \
        }                                                                   \
    } while (0)

bool world_chance(struct world *world, unsigned one_in);
uint64_t world_below(struct world *world, uint64_t bound);
/* A hash of the two: what a task is like follows from who it is. */
uint64_t world_hash(uint64_t a, uint64_t b);
void world_at(struct world *world, int64_t time, void (*happen)(struct world *, void *), void *who,
              const uint64_t *generation);

/* The same with `who` malloc'ed; `happen` frees it. */
void world_give(struct world *world, int64_t time, void (*happen)(struct world *, void *), void *who);

void link_init(struct sim_link *link, void *model);
/* A new link to the broker, if it is up; `opened` follows, or `lost`. */
void link_connect(struct world *world, struct sim_link *link);
void link_send(struct world *world, struct sim_link *link, Np__Envelope *envelope, const void *body,
               size_t body_size);
void link_from_core(struct world *world, uint64_t peer, const Np__Envelope *envelope, const void *body,
                    size_t body_size);
/* What is in flight is lost; each side notices in its time. */
void link_break(struct world *world, struct sim_link *link);
/* The model closes it in good order, after what it has sent. */
void link_goodbye(struct world *world, struct sim_link *link);
/* The core has closed it. */
void link_closed_by_core(struct world *world, uint64_t peer, netpool_status status, const char *reason);
/* The broker is gone with all its links. */
void link_all_lost(struct world *world);

struct client_model *client_model_new(struct world *world, unsigned index);
void client_model_destroy(struct client_model **client);
/* The process is killed; another takes its place with new tasks. */
void client_model_kill(struct world *world, struct client_model *client);
bool client_model_is_done(const struct client_model *client);
void client_model_describe(const struct client_model *client, char *out, size_t size);
struct sim_link *client_model_link(struct client_model *client);

struct worker_model *worker_model_new(struct world *world, unsigned index);
void worker_model_destroy(struct worker_model **worker);
void worker_model_crash(struct world *world, struct worker_model *worker);
void worker_model_drain(struct world *world, struct worker_model *worker);
/* It sends results that are not its own to send. */
void worker_model_forge(struct world *world, struct worker_model *worker, struct worker_model *victim);
struct sim_link *worker_model_link(struct worker_model *worker);

/* What a client's session asks of executors. The version goes up with each change. */
struct wish_to_prepare {
    uint64_t version; /* 0: nothing */
    bool is_ill;      /* its initializer fails */
};
#define PREPARATION_SIZE (NP_SESSION_SIZE + sizeof(uint64_t)) /* bytes of the input: session, version */
#define ILL_MESSAGE "it is ill"
/* Of the task's latest submission. False when nobody has that session any more. */
bool client_model_preparation(const struct world *world, const uint8_t *session, uint64_t seq,
                              struct wish_to_prepare *out);
/* What a task of that session says of its progress: seq of this. */
uint64_t progress_of(const uint8_t *session, uint64_t seq);

/* One more execution of a task begins. `epoch`: of the broker whose lease it has; 0: it
 * may have lost that. */
void client_model_executed(struct world *world, const uint8_t *session, uint64_t seq, uint64_t epoch);

/* What a task asks of workers and of its siblings. */
struct wish {
    unsigned client;
    uint64_t lane;     /* 0: none */
    const char *label; /* NULL: none */
    unsigned slots;
};
/* False: the client of that session is no more. */
bool client_model_wish(const struct world *world, const uint8_t *session, uint64_t seq, struct wish *out);

#endif
