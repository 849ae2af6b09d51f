/* Worker processes beside the program: an embedded core, and a companion process behind a socket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/places/backend.h"
#include "client/places/embedded.h"
#include "client/places/worker_process.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/heap.h"
#include "transport/channel.h"

/* A companion that is told to end does so within this time, or is killed. */
#define END_GRACE_NS (2 * NP_NS_PER_S)
/* Companions that end without having been ready, one after the other, until the pool gives up. */
enum { FAILED_STARTS_MAX = 3 };

struct backend_local {
    struct backend backend;
    const struct settings *settings;
    struct engine *engine;
    struct embedded embedded;
    struct worker_process process;
    struct reactor_source ready_source;
    char ready_text[512]; /* what it has said on ready_fd */
    size_t ready_size;
    bool is_ready;
    bool is_introduced;   /* its modules are loaded: its HELLO has come */
    struct np_heap *heap; /* shared with the companion: backend.heap with the first one, NULL with those that follow,
                             as nobody can tell which of its blocks a dead companion held */
    int failed_starts;
    struct channel *channel; /* to the companion */
    uint64_t peer;           /* its number in the core; 0: none */
    bool is_over;            /* the pool failed, or is being closed: no companion any more */
    int64_t open_deadline;   /* of the first start; NP_NEVER later */
};

static struct backend_local *local_of(struct backend *backend)
{
    return (struct backend_local *)(void *)backend;
}

static netpool_status start_companion(struct backend_local *local, netpool_error *error);

static void fail(struct backend_local *local, netpool_status status, const char *reason)
{
    local->is_over = true;
    engine_fail(local->engine, status, reason);
}

/* What to do about a companion that has ended. */
static const char *advice(const struct backend_local *local, bool was_ready, bool again)
{
    if (was_ready) {
        return again ? "" : "; a forked one cannot be replaced while the program has threads";
    }
    return local->settings->start_method == NETPOOL_START_SPAWN
               ? "; does main call netpool_init first, as NETPOOL_START_SPAWN needs?"
               : "";
}

/* Ends what is left of the companion, and starts another where that is possible. */
static void replace_companion(struct backend_local *local, const char *why, int64_t grace_ns)
{
    char how[64] = "";
    char text[400];
    netpool_error error = {0};
    bool was_ready = local->is_ready;
    reactor_remove(engine_reactor(local->engine), &local->ready_source);
    channel_destroy(&local->channel);
    if (local->peer != 0) {
        core_disconnect(local->embedded.core, local->peer, false, np_clock_now());
        local->peer = 0;
    }
    worker_process_end(&local->process, grace_ns, how);
    if (local->heap != NULL) {
        np_heap_purge(local->heap, NP_HEAP_WORKERS);
        local->heap = NULL;
    }
    if (local->is_over) {
        return;
    }
    local->failed_starts = was_ready ? 0 : local->failed_starts + 1;
    bool again = worker_process_can_restart(local->settings) && was_ready;
    if (again && start_companion(local, &error) == NETPOOL_OK) {
        return;
    }
    (void)snprintf(text, sizeof text, "the worker process of the local pool ended (%s)%s%s%s", how,
                   why[0] != '\0' ? ": " : "", why, advice(local, was_ready, again));
    fail(local, again ? error.status : was_ready ? NETPOOL_UNREACHABLE : NETPOOL_SYSTEM, text);
}

static void link_opened(void *owner, struct channel *channel)
{
    struct backend_local *local = owner;
    local->peer = embedded_connect_worker(&local->embedded, "", "child process", np_clock_now());
    if (local->peer == 0) {
        channel_close(channel, NETPOOL_NO_MEMORY, "out of memory");
    }
}

static void link_received(void *owner, struct channel *channel, struct np_message *message)
{
    struct backend_local *local = owner;
    if (message->envelope->kind_case == NP__ENVELOPE__KIND_HELLO) {
        channel_set_remote_role(channel, NP__ROLE__WORKER);
        local->is_introduced = true;
    }
    if (local->peer != 0) {
        core_receive(local->embedded.core, local->peer, message, np_clock_now());
    }
}

static void link_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    (void)channel;
    struct backend_local *local = owner;
    /* What it said on its ready pipe tells more than a broken link: wait for the end of that, if it comes. */
    if (local->is_ready || local->process.ready_fd < 0) {
        bool has_said_goodbye = status != NETPOOL_UNREACHABLE;
        replace_companion(local, reason, local->is_ready && !has_said_goodbye ? 0 : END_GRACE_NS);
    }
}

static const struct channel_handler link_handler = {
    .opened = link_opened, .received = link_received, .closed = link_closed};

/* The companion's report is complete: a line feed alone says that it is ready, anything else why it is not. */
static void read_report(struct backend_local *local)
{
    reactor_remove(engine_reactor(local->engine), &local->ready_source);
    close(local->process.ready_fd);
    local->process.ready_fd = -1;
    if (local->ready_size == 1 && local->ready_text[0] == '\n') {
        local->is_ready = true;
        local->open_deadline = NP_NEVER;
        engine_opened(local->engine);
        return;
    }
    local->ready_text[local->ready_size] = '\0';
    local->ready_text[strcspn(local->ready_text, "\n")] = '\0';
    if (local->ready_size > 0) {
        bool is_module = local->settings->modules[0] != NULL && !local->is_introduced;
        fail(local, is_module ? NETPOOL_BAD_MODULE : NETPOOL_SYSTEM, local->ready_text);
    }
    replace_companion(local, "before it was ready", END_GRACE_NS);
}

static void ready_is_readable(struct reactor_source *source, uint32_t events)
{
    (void)events;
    struct backend_local *local = NP_CONTAINER(source, struct backend_local, ready_source);
    ssize_t got = read(local->process.ready_fd, local->ready_text + local->ready_size,
                       sizeof local->ready_text - 1 - local->ready_size);
    if (got > 0) {
        local->ready_size += (size_t)got;
        if (local->ready_text[local->ready_size - 1] != '\n' && local->ready_size < sizeof local->ready_text - 1) {
            return;
        }
    } else if (got < 0) {
        return; /* interrupted or not yet */
    }
    read_report(local);
}

static netpool_status start_companion(struct backend_local *local, netpool_error *error)
{
    local->is_ready = local->is_introduced = false;
    local->ready_size = 0;
    int heap_fd = local->heap != NULL ? np_heap_fd(local->heap) : 0;
    netpool_status status = worker_process_start(&local->process, local->settings, heap_fd, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    struct link *link = link_fd_new(local->process.link_fd, "child process");
    if (link == NULL) {
        worker_process_end(&local->process, 0, NULL);
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    local->process.link_fd = -1; /* the link's now */
    struct channel_options options = {
        .local_role = NP__ROLE__BROKER, .max_payload = local->settings->max_payload, .heap = local->heap};
    status = channel_new(&local->channel, engine_reactor(local->engine), link, &options, &link_handler, local, error);
    if (status == NETPOOL_OK) {
        status = reactor_add(engine_reactor(local->engine), &local->ready_source, local->process.ready_fd, EPOLLIN,
                             ready_is_readable);
    }
    if (status != NETPOOL_OK) {
        channel_destroy(&local->channel);
        worker_process_end(&local->process, 0, NULL);
    }
    return status;
}

static void core_sends(void *owner, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                       bool urgent)
{
    struct backend_local *local = owner;
    if (peer != local->peer || local->channel == NULL) {
        return;
    }
    if (channel_send(local->channel, envelope, body, body_size, urgent ? CHANNEL_URGENT : CHANNEL_IN_ORDER) !=
        NETPOOL_OK) {
        channel_close(local->channel, NETPOOL_NO_MEMORY, "out of memory");
    }
}

static void core_closes(void *owner, uint64_t peer, netpool_status status, const char *reason)
{
    struct backend_local *local = owner;
    if (peer == local->peer && local->channel != NULL) {
        local->peer = 0;
        channel_close(local->channel, status, reason);
    }
}

static const struct embedded_worker worker_output = {.send = core_sends, .close = core_closes};

static netpool_status start(struct backend *backend, struct engine *engine, netpool_error *error)
{
    struct backend_local *local = local_of(backend);
    local->engine = engine;
    local->open_deadline = np_clock_now() + local->settings->connect_timeout_ns;
    netpool_status status = embedded_init(&local->embedded, local->settings, engine, &worker_output, local, error);
    return status == NETPOOL_OK ? start_companion(local, error) : status;
}

static void flush(struct backend *backend, int64_t now)
{
    struct backend_local *local = local_of(backend);
    embedded_flush(&local->embedded, now);
    if (local->channel != NULL) {
        channel_flush(local->channel);
    }
}

static void tick(struct backend *backend, int64_t now, bool may_block)
{
    (void)may_block;
    struct backend_local *local = local_of(backend);
    core_tick(local->embedded.core, now);
    (void)np_heap_review(local->backend.heap, now);
    if (local->channel != NULL && now >= channel_deadline(local->channel)) {
        channel_tick(local->channel, now);
    }
    if (now >= local->open_deadline) {
        local->open_deadline = NP_NEVER;
        char text[200];
        (void)snprintf(text, sizeof text, "the worker process of the local pool was not ready in time%s",
                       advice(local, false, false));
        fail(local, NETPOOL_UNREACHABLE, text);
    }
}

static int64_t deadline(const struct backend *backend)
{
    const struct backend_local *local = (const struct backend_local *)(const void *)backend;
    int64_t next = np_earlier(core_deadline(local->embedded.core), local->open_deadline);
    next = np_earlier(next, np_heap_deadline(local->backend.heap));
    return local->channel != NULL ? np_earlier(next, channel_deadline(local->channel)) : next;
}

static void drop_link(struct backend *backend, netpool_status status, const char *reason, int64_t now)
{
    (void)now;
    fail(local_of(backend), status, reason); /* between dialogue and core there is no link to lose */
}

static void shutdown_local(struct backend *backend)
{
    struct backend_local *local = local_of(backend);
    local->is_over = true;
    reactor_remove(engine_reactor(local->engine), &local->ready_source);
    if (local->channel != NULL) {
        channel_close(local->channel, NETPOOL_CLOSED, "the pool was closed");
        channel_destroy(&local->channel);
    }
    worker_process_end(&local->process, END_GRACE_NS, NULL);
    if (local->backend.heap != NULL) { /* results may be held for long, and nobody reviews it any more */
        np_heap_purge(local->backend.heap, NP_HEAP_WORKERS);
    }
}

static void destroy(struct backend *backend)
{
    struct backend_local *local = local_of(backend);
    embedded_fini(&local->embedded);
    np_heap_leave(local->backend.heap);
    free(local);
}

static const struct backend_operations operations = {.start = start,
                                                     .flush = flush,
                                                     .tick = tick,
                                                     .deadline = deadline,
                                                     .drop_link = drop_link,
                                                     .shutdown = shutdown_local,
                                                     .destroy = destroy};

netpool_status backend_local_new(struct backend **out, const struct settings *settings, netpool_error *error)
{
    struct backend_local *local = calloc(1, sizeof *local);
    if (local == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    local->backend =
        (struct backend){.operations = &operations, .slots = settings->slots, .heap = np_heap_new(settings->slots)};
    local->heap = local->backend.heap;
    local->settings = settings;
    local->process = (struct worker_process){.pidfd = -1, .link_fd = -1, .ready_fd = -1};
    local->open_deadline = NP_NEVER;
    np_list_init(&local->ready_source.deferred);
    *out = &local->backend;
    return NETPOOL_OK;
}
