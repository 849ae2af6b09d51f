#include "broker/core/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/state.h"

#define LABELS_TEXT_MAX 256 /* bytes of a worker's labels, or of those required, that are told */
#define ROW_FRAME 8         /* bytes that a row takes in its message beside its own */
/* Bytes of each sort of rows: they fit one frame's header together. */
#define WORKERS_BYTES_MAX (NP_FRAME_HEADER_MAX / 2)
#define CLIENTS_BYTES_MAX (NP_FRAME_HEADER_MAX / 4)
#define WAITING_BYTES_MAX (NP_FRAME_HEADER_MAX / 8)
#define WHY_TEXT_MAX (NP_NAME_MAX + LABELS_TEXT_MAX + 64)
#define WAITING_TEXT_MAX NP_MESSAGE_MAX

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
    size_t waiting_left; /* bytes */
};

/* Takes the row's share of what is left; false: not enough. */
static bool has_room(size_t *left, size_t row_size)
{
    if (*left < row_size + ROW_FRAME) {
        return false;
    }
    *left -= row_size + ROW_FRAME;
    return true;
}

static size_t told_labels(const struct labels *labels)
{
    size_t count = 0;
    for (size_t size = 0; count < labels->count; count++) {
        size += strlen(labels->names[count]) + 1;
        if (size > LABELS_TEXT_MAX) {
            break;
        }
    }
    return count;
}

static size_t capped(size_t count)
{
    return count < NP_STATUS_ROWS_MAX ? count : NP_STATUS_ROWS_MAX;
}

static bool fill_workers(const struct core *core, struct rows *rows)
{
    size_t left = WORKERS_BYTES_MAX;
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
        row->n_labels = told_labels(&worker->fleet->labels);
        row->labels = worker->fleet->labels.names;
        if (!has_room(&left, np__worker_status__get_packed_size(row))) {
            break;
        }
        rows->worker_pointers[rows->worker_count++] = row;
    }
    return true;
}

static bool fill_clients(const struct core *core, struct rows *rows)
{
    size_t left = CLIENTS_BYTES_MAX;
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
        row->memory_bytes = session->payload_bytes + session->result_bytes + prepare_bytes(session);
        if (!has_room(&left, np__client_status__get_packed_size(row))) {
            break;
        }
        rows->client_pointers[rows->client_count++] = row;
    }
    return true;
}

static size_t members_of(const struct fleet_set *fleets)
{
    size_t members = 0;
    for (size_t i = 0; i < fleets->count; i++) {
        members += fleets->items[i]->members;
    }
    return members;
}

static bool has_ready_worker(const struct core *core, const struct demand *demand)
{
    NP_LIST_EACH(node, &core->workers) {
        const struct worker *worker = NP_CONTAINER(node, struct worker, node);
        for (size_t i = 0; i < demand->fleets.count && worker->state == WORKER_READY; i++) {
            if (worker->fleet == demand->fleets.items[i]) {
                return true;
            }
        }
    }
    return false;
}

/* Why no worker that is there can ever run a task of this demand. */
static void print_unmet(const struct core *core, const struct demand *demand, char *out, size_t size)
{
    const struct fleet_set *offering = &demand->function->fleets;
    char labels[LABELS_TEXT_MAX] = "";
    unsigned largest = 0;
    for (size_t i = 0; i < offering->count; i++) {
        if (labels_meet(&offering->items[i]->labels, &demand->labels) && offering->items[i]->slots > largest) {
            largest = offering->items[i]->slots;
        }
    }
    if (demand->labels.count > 0) {
        labels_print(&demand->labels, labels, sizeof labels);
    }
    const char *noun = demand->labels.count == 1 ? "label" : "labels";
    if (core->stats.workers == 0) {
        snprintf(out, size, "no worker is connected");
    } else if (offering->count == 0) {
        snprintf(out, size, "no worker has it");
    } else if (largest == 0) {
        size_t members = members_of(offering);
        snprintf(out, size, "no worker with %s %s (%zu %s %s)", noun, labels, members,
                 members == 1 ? "worker has" : "workers have", demand->function->name);
    } else if (demand->labels.count > 0) {
        snprintf(out, size, "needs %u slots: the largest worker with %s %s has %u", demand->slots, noun, labels,
                 largest);
    } else {
        snprintf(out, size, "needs %u slots: the largest worker has %u", demand->slots, largest);
    }
}

static void add_line(struct rows *rows, const struct core *core, const struct session *session,
                     const struct demand *demand, bool is_named)
{
    char why[WHY_TEXT_MAX];
    if (demand->fleets.count > 0) {
        snprintf(why, sizeof why, "no worker that has it is ready");
    } else {
        print_unmet(core, demand, why, sizeof why);
    }
    char *text = rows->waiting[rows->waiting_count];
    bool is_one = demand->counted == 1;
    snprintf(text, WAITING_TEXT_MAX, "%s%s%llu %s of %s %s: %s", is_named ? session->name : "", is_named ? ": " : "",
             (unsigned long long)demand->counted, is_one ? "task" : "tasks", demand->function->name,
             is_one ? "waits" : "wait", why);
    if (has_room(&rows->waiting_left, strlen(text))) {
        rows->waiting_pointers[rows->waiting_count++] = text;
    }
}

/* One line for each demand that tasks of the client have and no ready worker meets. */
static void fill_waiting_of(const struct core *core, struct rows *rows, const struct session *session, bool is_named)
{
    NP_LIST_EACH(node, &session->queues) {
        const struct queue *queue = NP_CONTAINER(node, struct queue, node);
        queue->demand->counted += queue->count + queue->waiting;
    }
    NP_LIST_EACH(node, &session->queues) {
        struct demand *demand = NP_CONTAINER(node, struct queue, node)->demand;
        if (demand->counted > 0 && rows->waiting_count < NP_STATUS_ROWS_MAX && !has_ready_worker(core, demand)) {
            add_line(rows, core, session, demand, is_named);
        }
        demand->counted = 0;
    }
}

/* Is this client's waiting the peer's business? It is a client of the same name: one's job in another window. */
static bool may_see(const struct peer *peer, const struct session *session)
{
    return peer->role == NP__ROLE__ADMIN || session == peer->session || !peer->is_name_vouched ||
           strcmp(session->name, peer->name) == 0;
}

static bool fill_waiting(const struct core *core, struct rows *rows, const struct peer *peer)
{
    rows->waiting_left = WAITING_BYTES_MAX;
    rows->waiting = malloc(NP_STATUS_ROWS_MAX * sizeof *rows->waiting);
    rows->waiting_pointers = malloc(NP_STATUS_ROWS_MAX * sizeof *rows->waiting_pointers);
    if (rows->waiting == NULL || rows->waiting_pointers == NULL) {
        return false;
    }
    NP_LIST_EACH(node, &core->all_sessions) {
        const struct session *session = NP_CONTAINER(node, struct session, node);
        if (may_see(peer, session)) {
            bool is_own = peer->role != NP__ROLE__ADMIN && strcmp(session->name, peer->name) == 0;
            fill_waiting_of(core, rows, session, !is_own);
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
    if (!fill_workers(core, &rows) || (is_admin && !fill_clients(core, &rows)) || !fill_waiting(core, &rows, peer)) {
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
