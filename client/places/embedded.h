/*
 * A broker's core inside the program, with the program's own dialogue as its one client. The two exchange messages as
 * structs, without a link and without serialization; the worker's side is left to the backend that owns this.
 */
#ifndef NP_EMBEDDED_H
#define NP_EMBEDDED_H

#include <stdint.h>

#include "broker/core/core.h"
#include "client/dialogue/dialogue.h"
#include "client/engine.h"
#include "client/options.h"

/* Where the core's messages for the worker go. Called from embedded_flush; must not call the core. */
struct embedded_worker {
    void (*send)(void *owner, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size, bool urgent);
    /* The core has dropped this peer. */
    void (*close)(void *owner, uint64_t peer, netpool_status status, const char *reason);
};

struct embedded {
    struct core *core;
    struct engine *engine;
    struct dialogue *dialogue;
    const struct embedded_worker *worker;
    void *owner;
    uint64_t last_peer;
    int64_t now; /* of the flush that runs */
};

NETPOOL_MUST_CHECK netpool_status embedded_init(struct embedded *embedded, const struct settings *settings,
                                                struct engine *engine, const struct embedded_worker *worker,
                                                void *owner, netpool_error *error);
void embedded_fini(struct embedded *embedded);

/* Makes a worker known to the core; returns its peer number, 0: no memory. */
uint64_t embedded_connect_worker(struct embedded *embedded, const char *name, const char *address, int64_t now);

/* Carries messages between dialogue and core until neither has one. */
void embedded_flush(struct embedded *embedded, int64_t now);

#endif
