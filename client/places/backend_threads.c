/* Threads of the program: an embedded core, and a crew that it knows as its worker. */
#include <stdlib.h>

#include "client/places/backend.h"
#include "client/places/crew_worker.h"
#include "client/places/embedded.h"
#include "common/clock.h"
#include "common/error.h"
#include "worker/executor/modules.h"

#define END_GRACE_NS (2 * NP_NS_PER_S)

struct backend_threads {
    struct backend backend;
    const struct settings *settings;
    struct engine *engine;
    struct embedded embedded;
    struct crew_worker *worker;
};

static struct backend_threads *threads_of(struct backend *backend)
{
    return (struct backend_threads *)(void *)backend;
}

static void core_sends(void *owner, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                       bool urgent)
{
    (void)peer;
    (void)urgent;
    crew_worker_receive(((struct backend_threads *)owner)->worker, envelope, body, body_size);
}

static void core_closes(void *owner, uint64_t peer, netpool_status status, const char *reason)
{
    (void)peer;
    struct backend_threads *threads = owner;
    engine_fail(threads->engine, status, reason);
}

static const struct embedded_worker worker_output = {.send = core_sends, .close = core_closes};

static netpool_status start(struct backend *backend, struct engine *engine, netpool_error *error)
{
    struct backend_threads *threads = threads_of(backend);
    threads->engine = engine;
    netpool_status status = modules_check(error);
    for (char **module = threads->settings->modules; status == NETPOOL_OK && *module != NULL; module++) {
        status = modules_load(*module, error);
    }
    if (status == NETPOOL_OK) {
        status = embedded_init(&threads->embedded, threads->settings, engine, &worker_output, threads, error);
    }
    return status == NETPOOL_OK
               ? crew_worker_new(&threads->worker, threads->settings, engine, &threads->embedded, error)
               : status;
}

static void flush(struct backend *backend, int64_t now)
{
    struct backend_threads *threads = threads_of(backend);
    do {
        embedded_flush(&threads->embedded, now);
    } while (crew_worker_speak(threads->worker));
}

static void tick(struct backend *backend, int64_t now, bool may_block)
{
    (void)may_block;
    struct backend_threads *threads = threads_of(backend);
    core_tick(threads->embedded.core, now);
    crew_worker_tick(threads->worker, now);
}

static int64_t deadline(const struct backend *backend)
{
    const struct backend_threads *threads = (const struct backend_threads *)(const void *)backend;
    return np_earlier(core_deadline(threads->embedded.core), crew_worker_deadline(threads->worker));
}

static void drop_link(struct backend *backend, netpool_status status, const char *reason, int64_t now)
{
    (void)now;
    engine_fail(threads_of(backend)->engine, status, reason); /* there is no link to lose */
}

static void shutdown_threads(struct backend *backend)
{
    crew_worker_end(threads_of(backend)->worker, END_GRACE_NS);
}

static void destroy(struct backend *backend)
{
    struct backend_threads *threads = threads_of(backend);
    crew_worker_destroy(&threads->worker);
    embedded_fini(&threads->embedded);
    free(threads);
}

static const struct backend_operations operations = {.start = start,
                                                     .flush = flush,
                                                     .tick = tick,
                                                     .deadline = deadline,
                                                     .drop_link = drop_link,
                                                     .shutdown = shutdown_threads,
                                                     .destroy = destroy};

netpool_status backend_threads_new(struct backend **out, const struct settings *settings, netpool_error *error)
{
    struct backend_threads *threads = calloc(1, sizeof *threads);
    if (threads == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    threads->backend = (struct backend){.operations = &operations, .slots = settings->slots};
    threads->settings = settings;
    *out = &threads->backend;
    return NETPOOL_OK;
}
