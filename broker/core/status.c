#include "broker/core/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/state.h"

#define WAITING_TEXT_MAX (NP_NAME_MAX + 128)

/* Rows and the pointers to them that a message wants, in one block each. */
struct rows {
    Np__WorkerStatus *workers;
    Np__WorkerStatus **worker_pointers;
    size_t worker_count;
    Np__ClientStatus *clients;
    Np__ClientStatus **client_pointers;
    size_t client_count;
    char (*waiting)[WAITING_TEXT_MAX];
    char **waiting_pointers;
    size_t waiting_count;
};

static size_t capped(size_t count)
{
    return count < NP_STATUS_ROWS_MAX ? count : NP_STATUS_ROWS_MAX;
}

static bool fill_workers(const struct core *core, struct rows *rows)
{
    size_t count = capped(core->stats.workers);
    rows->workers = malloc((count + 1) * sizeof *rows->workers);
    rows->worker_pointers = malloc((count + 1) * sizeof *rows->worker_pointers);
    if (rows->workers == NULL || rows->worker_pointers == NULL) {
        return false;
    }
    NP_LIST_EACH(node, &core->workers) {
        if (rows->worker_count == count) {
            break;
        }
        struct worker *worker = NP_CONTAINER(node, struct worker, node);
        Np__WorkerStatus *row = &rows->workers[rows->worker_count];
        np__worker_status__init(row);
        row->name = worker->origin->name;
        row->host = worker->origin->host;
        row->state = (char *)worker_state_name(worker->state);
        row->slots = worker->slots;
        row->held = (uint32_t)worker->held;
        row->done = worker->done;
        row->failed = worker->failed;
        row->address = worker->peer->address;
        rows->worker_pointers[rows->worker_count++] = row;
    }
    return true;
}

static bool fill_clients(const struct core *core, struct rows *rows)
{
    size_t count = capped(core->stats.clients);
    rows->clients = malloc((count + 1) * sizeof *rows->clients);
    rows->client_pointers = malloc((count + 1) * sizeof *rows->client_pointers);
    if (rows->clients == NULL || rows->client_pointers == NULL) {
        return false;
    }
    NP_LIST_EACH(node, &core->all_sessions) {
        struct session *session = NP_CONTAINER(node, struct session, node);
        if (rows->client_count == count) {
            break;
        }
        if (session->is_ending || session->is_awaited) {
            continue;
        }
        Np__ClientStatus *row = &rows->clients[rows->client_count];
        np__client_status__init(row);
        row->name = session->name;
        row->host = session->host;
        row->address = session->address;
        row->connected = session->peer != NULL;
        row->queued = session->queued;
        row->running = session->running;
        row->done = session->done;
        row->memory_bytes = session->payload_bytes + session->result_bytes;
        rows->client_pointers[rows->client_count++] = row;
    }
    return true;
}

static const char *why_waiting(const struct core *core, const struct function *function)
{
    if (core->stats.workers == 0) {
        return "no worker is connected";
    }
    if (function->fleet_count == 0) {
        return "no worker has it";
    }
    for (size_t i = 0; i < function->fleet_count; i++) {
        const struct fleet *fleet = function->fleets[i];
        NP_LIST_EACH(node, &core->workers) {
            const struct worker *worker = NP_CONTAINER(node, struct worker, node);
            if (worker->fleet == fleet && worker->state == WORKER_READY) {
                return NULL;
            }
        }
    }
    return "no worker that has it is ready";
}

/* One line for each function that has queued tasks and no ready worker. */
static bool fill_waiting(const struct core *core, struct rows *rows)
{
    size_t count = capped(core->functions.by_hash.count);
    rows->waiting = malloc((count + 1) * sizeof *rows->waiting);
    rows->waiting_pointers = malloc((count + 1) * sizeof *rows->waiting_pointers);
    if (rows->waiting == NULL || rows->waiting_pointers == NULL) {
        return false;
    }
    size_t cursor = 0;
    for (struct function *function; (function = np_table_next(&core->functions.by_hash, &cursor)) != NULL;) {
        for (; function != NULL && rows->waiting_count < count; function = function->next) {
            const char *why = function->queued > 0 ? why_waiting(core, function) : NULL;
            if (why != NULL) {
                char *text = rows->waiting[rows->waiting_count];
                snprintf(text, WAITING_TEXT_MAX, "%s: %llu tasks queued, %s", function->name,
                         (unsigned long long)function->queued, why);
                rows->waiting_pointers[rows->waiting_count++] = text;
            }
        }
    }
    return true;
}

static void free_rows(struct rows *rows)
{
    free(rows->workers);
    free(rows->worker_pointers);
    free(rows->clients);
    free(rows->client_pointers);
    free(rows->waiting);
    free(rows->waiting_pointers);
}

void status_send(struct core *core, struct peer *peer, int64_t now)
{
    struct rows rows = {0};
    bool is_admin = peer->role == NP__ROLE__ADMIN;
    if (!fill_workers(core, &rows) || (is_admin && !fill_clients(core, &rows)) || !fill_waiting(core, &rows)) {
        peer_close(core, peer, NETPOOL_NO_MEMORY, "no memory for a status");
        free_rows(&rows);
        return;
    }
    Np__Status status = NP__STATUS__INIT;
    status.broker = core->config.address;
    status.software = (char *)STATUS_SOFTWARE;
    status.uptime_ms = (uint64_t)(now - core->started_ns) / NP_NS_PER_MS;
    status.queued = core->stats.queued;
    status.running = core->stats.running;
    status.done = core->stats.done;
    status.failed = core->stats.failed;
    status.cancelled = core->stats.cancelled;
    status.retried = core->stats.retried;
    status.late = core->stats.late;
    status.refused = core->stats.refused;
    status.memory_bytes = core->stats.memory_bytes;
    status.n_workers = rows.worker_count;
    status.workers = rows.worker_pointers;
    status.n_clients = rows.client_count;
    status.clients = rows.client_pointers;
    status.n_waiting = rows.waiting_count;
    status.waiting = rows.waiting_pointers;
    status.client_count = (uint32_t)core->stats.clients;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_STATUS;
    envelope.status = &status;
    core->output.send(core->output.context, peer->id, &envelope, NULL, 0, false);
    free_rows(&rows);
}
