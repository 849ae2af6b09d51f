/*
 * Where a pool's tasks run: a broker behind a link (backend_remote.c), worker processes beside the program
 * (backend_local.c), threads of the program (backend_threads.c). All functions run on the thread that leads the
 * engine (engine.h), but for start, which runs in netpool_open before there is any thread.
 */
#ifndef NP_BACKEND_H
#define NP_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "client/dialogue/dialogue.h"
#include "client/options.h"
#include "common/netpool_status.h"

struct engine;
struct backend;

struct backend_operations {
    /* Gets ready as far as that goes without waiting. Later it says engine_opened or engine_fail. */
    netpool_status (*start)(struct backend *backend, struct engine *engine, netpool_error *error);

    /* Carries on what the dialogue, and the core where there is one, have to say. */
    void (*flush)(struct backend *backend, int64_t now);

    /* Deadlines. `may_block`: this is the I/O thread, and name resolution may take its time. */
    void (*tick)(struct backend *backend, int64_t now, bool may_block);
    int64_t (*deadline)(const struct backend *backend);

    /* The session cannot go on with this link: `status` says why. */
    void (*drop_link)(struct backend *backend, netpool_status status, const char *reason, int64_t now);

    /* Says goodbye, ends and reaps what it started, within about two seconds. */
    void (*shutdown)(struct backend *backend);

    void (*destroy)(struct backend *backend);
};

/* First member of each kind's own struct. */
struct backend {
    const struct backend_operations *operations;
    unsigned slots;       /* executors as far as known; 0: unknown */
    struct np_heap *heap; /* where large payloads are best put (heap.h); NULL: anywhere. Fixed before any thread */
};

/* NETPOOL_NO_MEMORY, NETPOOL_CREDENTIALS (tls: files are read here). The settings are borrowed as long as it lives.
 */
NETPOOL_MUST_CHECK netpool_status backend_remote_new(struct backend **out, const struct settings *settings,
                                                     netpool_error *error);
NETPOOL_MUST_CHECK netpool_status backend_local_new(struct backend **out, const struct settings *settings,
                                                    netpool_error *error);
NETPOOL_MUST_CHECK netpool_status backend_threads_new(struct backend **out, const struct settings *settings,
                                                      netpool_error *error);

/* ADMIN where the credentials say so, else CLIENT. */
Np__Role backend_remote_role(const struct backend *backend);

#endif
