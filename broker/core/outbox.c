#include "broker/core/outbox.h"

#include <assert.h>
#include <string.h>

#include "broker/core/state.h"
#include "broker/core/status.h"
#include "common/copy.h"

static void send(struct core *core, struct peer *peer, Np__Envelope *envelope, bool urgent)
{
    const struct outbox *outbox = core->outbox;
    core->output.send(core->output.context, peer->id, envelope, outbox->body_size > 0 ? outbox->body : NULL,
                      outbox->body_size, urgent);
}

static void clear(struct outbox *outbox)
{
    outbox->count = 0;
    outbox->body_size = 0;
    outbox->body = outbox->bytes;
    outbox->has_attempts = false;
    outbox->has_items = false;
    outbox->has_statuses = false;
    outbox->has_pids = false;
    outbox->failure_count = 0;
    outbox->record_bytes = 0;
}

static void append(struct outbox *outbox, const struct task *task)
{
    size_t i = outbox->count++;
    outbox->seqs[i] = task->seq;
    outbox->sizes[i] = task->size;
    outbox->attempts[i] = task->attempt;
    outbox->has_attempts |= task->attempt != 1;
    outbox->first_items[i] = task->first_item;
    outbox->has_items |= task->first_item != 0;
    if (task->size > NP_FRAME_BODY_MAX) {
        assert(i == 0);
        outbox->body = task->data;
    } else {
        np_copy(outbox->bytes + outbox->body_size, task->data, task->size);
    }
    outbox->body_size += task->size;
}

static bool has_room(const struct outbox *outbox, const struct task *task)
{
    return outbox->count == 0 ||
           (outbox->count < NP_BATCH_TASKS_MAX && outbox->body_size + task->size <= NP_FRAME_BODY_MAX);
}

static void send_assign(struct core *core, struct peer *peer, const struct task *first)
{
    struct outbox *outbox = core->outbox;
    Np__Assign assign = NP__ASSIGN__INIT;
    assign.session.data = first->session->id;
    assign.session.len = NP_SESSION_SIZE;
    assign.function = first->kind->demand->function->name;
    assign.n_seqs = assign.n_sizes = outbox->count;
    assign.seqs = outbox->seqs;
    assign.sizes = outbox->sizes;
    assign.n_attempts = outbox->has_attempts ? outbox->count : 0;
    assign.attempts = outbox->attempts;
    assign.timeout_ms = first->kind->timeout_ms;
    assign.item_in_size = first->kind->item_in_size;
    assign.item_out_size = first->kind->item_out_size;
    assign.n_first_items = outbox->has_items ? outbox->count : 0;
    assign.first_items = outbox->first_items;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_ASSIGN;
    envelope.assign = &assign;
    send(core, peer, &envelope, false);
}

static void send_assignments(struct core *core, struct worker *worker)
{
    struct outbox *outbox = core->outbox;
    struct np_list *node = worker->unsent != NULL ? &worker->unsent->node : &worker->leases;
    while (node != &worker->leases) {
        const struct task *first = NP_CONTAINER(node, struct task, node);
        clear(outbox);
        for (; node != &worker->leases; node = node->next) {
            const struct task *task = NP_CONTAINER(node, struct task, node);
            if (!kind_is_alike(first->kind, task->kind) || !has_room(outbox, task)) {
                break;
            }
            append(outbox, task);
        }
        if (first->session->preparation != NULL && !prepare_brief(core, worker, first->session)) {
            peer_close(core, worker->peer, NETPOOL_NO_MEMORY, "no memory to prepare a worker");
            break;
        }
        send_assign(core, worker->peer, first);
    }
    worker->unsent = NULL;
}

static void send_withdraw(struct core *core, struct peer *peer, Np__Withdraw *withdraw)
{
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_WITHDRAW;
    envelope.withdraw = withdraw;
    core->outbox->body_size = 0;
    send(core, peer, &envelope, false);
}

static void send_revocations(struct core *core, struct worker *worker)
{
    struct outbox *outbox = core->outbox;
    for (size_t i = 0; i < worker->revocation_count;) {
        struct revocation *first = &worker->revocations[i];
        clear(outbox);
        while (i < worker->revocation_count && outbox->count < NP_BATCH_TASKS_MAX &&
               worker->revocations[i].unstarted_only == first->unstarted_only &&
               memcmp(first->session, worker->revocations[i].session, NP_SESSION_SIZE) == 0) {
            outbox->seqs[outbox->count++] = worker->revocations[i++].seq;
        }
        Np__Withdraw withdraw = NP__WITHDRAW__INIT;
        withdraw.session.data = first->session;
        withdraw.session.len = NP_SESSION_SIZE;
        withdraw.n_seqs = outbox->count;
        withdraw.seqs = outbox->seqs;
        withdraw.unstarted_only = first->unstarted_only;
        send_withdraw(core, worker->peer, &withdraw);
    }
    worker->revocation_count = 0;
}

static void send_credit(struct core *core, struct peer *peer, uint64_t tasks, uint64_t bytes)
{
    Np__Credit credit = NP__CREDIT__INIT;
    credit.tasks = tasks;
    credit.bytes = bytes;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CREDIT;
    envelope.credit = &credit;
    core->outbox->body_size = 0;
    send(core, peer, &envelope, true);
}

static void send_welcome(struct core *core, struct peer *peer)
{
    Np__Welcome welcome = NP__WELCOME__INIT;
    welcome.version = NP_PROTOCOL_VERSION_MAX;
    welcome.software = (char *)STATUS_SOFTWARE;
    welcome.broker.data = core->config.broker_id;
    welcome.broker.len = NP_SESSION_SIZE;
    welcome.epoch = core->config.epoch;
    welcome.resumed = peer->resumed;
    welcome.max_payload = peer->max_payload;
    welcome.heartbeat_ms = (uint32_t)(core->config.heartbeat_ns / NP_NS_PER_MS);
    welcome.timeout_ms = (uint32_t)(core->config.timeout_ns / NP_NS_PER_MS);
    if (peer->session != NULL) {
        welcome.received_seq = peer->session->received_seq;
        welcome.credit_tasks = peer->session->granted_tasks;
        welcome.credit_bytes = peer->session->granted_bytes;
        peer->session->credit_due = false;
    } else if (peer->worker != NULL) {
        welcome.credit_bytes = peer->worker->credit_bytes;
        peer->worker->credit_due = false;
    }
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_WELCOME;
    envelope.welcome = &welcome;
    core->outbox->body_size = 0;
    send(core, peer, &envelope, false);
}

/* What the broker says where no worker has said anything. */
static const char *plain_message(const struct task *task)
{
    netpool_status status = (netpool_status)task->status;
    return status == NETPOOL_NOT_INITIALIZED && task->session->broken_message != NULL ? task->session->broken_message
                                                                                      : netpool_status_text(status);
}

/* A crash is proof that it had begun, and what was lost must be taken to have. */
static bool has_certainly_started(const struct task *task)
{
    switch (task->status) {
    case NETPOOL_CRASHED:
    case NETPOOL_OUT_OF_MEMORY:
    case NETPOOL_POISON:
    case NETPOOL_LOST:
        return task->attempt > 0;
    default:
        return false;
    }
}

/* One failure for the task just appended. What the broker decided by itself has no record but its status. */
static void append_failure(struct outbox *outbox, const struct task *task)
{
    size_t i = outbox->failure_count++;
    Np__Failure *unpacked = NULL;
    if (task->extra != NULL && task->extra->record_size > 0) {
        unpacked = np__failure__unpack(NULL, task->extra->record_size, task->extra->record);
        outbox->record_bytes += task->extra->record_size;
    }
    outbox->unpacked[i] = unpacked;
    if (unpacked != NULL) {
        outbox->failures[i] = *unpacked;
    } else {
        np__failure__init(&outbox->failures[i]);
    }
    Np__Failure *failure = &outbox->failures[i];
    failure->index = (uint32_t)(outbox->count - 1);
    if (failure->message[0] == '\0') {
        failure->message = (char *)plain_message(task);
    }
    failure->started |= has_certainly_started(task);
    outbox->failure_pointers[i] = failure;
}

static bool result_has_room(const struct outbox *outbox, const struct task *first, const struct task *task)
{
    size_t record = task->extra != NULL ? task->extra->record_size : 0;
    return has_room(outbox, task) && first->origin == task->origin &&
           (task->status == NETPOOL_OK || outbox->failure_count == 0 ||
            (outbox->failure_count < NP_BATCH_FAILURES_MAX && outbox->record_bytes + record <= OUTBOX_RECORDS_MAX));
}

static void append_result(struct outbox *outbox, const struct task *task)
{
    size_t i = outbox->count;
    append(outbox, task);
    outbox->statuses[i] = task->status;
    outbox->pids[i] = task->pid;
    outbox->has_pids |= task->pid != 0;
    outbox->compute_ns[i] = task->compute_ns;
    outbox->queue_ns[i] = task->queue_ns;
    if (task->status != NETPOOL_OK) {
        outbox->has_statuses = true;
        append_failure(outbox, task);
    }
}

static void send_results(struct core *core, struct session *session, const struct origin *origin)
{
    struct outbox *outbox = core->outbox;
    size_t count = outbox->count;
    Np__Results results = NP__RESULTS__INIT;
    results.n_seqs = results.n_sizes = results.n_compute_ns = results.n_queue_ns = count;
    results.seqs = outbox->seqs;
    results.sizes = outbox->sizes;
    results.compute_ns = outbox->compute_ns;
    results.queue_ns = outbox->queue_ns;
    results.n_statuses = outbox->has_statuses ? count : 0;
    results.statuses = outbox->statuses;
    results.n_attempts = outbox->has_attempts ? count : 0;
    results.attempts = outbox->attempts;
    results.n_pids = outbox->has_pids ? count : 0;
    results.pids = outbox->pids;
    results.n_failures = outbox->failure_count;
    results.failures = outbox->failure_pointers;
    if (origin != NULL) {
        results.worker = (char *)origin->name;
        results.host = (char *)origin->host;
    }
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    send(core, session->peer, &envelope, outbox->body_size <= NP_FRAME_BODY_MAX);
    for (size_t i = 0; i < outbox->failure_count; i++) {
        if (outbox->unpacked[i] != NULL) {
            np__failure__free_unpacked(outbox->unpacked[i], NULL);
        }
    }
}

static struct task *next_result(const struct core *core, const struct session *session)
{
    struct np_list *node = np_list_front(&session->undelivered);
    if (node == NULL) {
        return NULL;
    }
    struct task *task = NP_CONTAINER(node, struct task, node);
    bool is_due =
        session->sent_bytes == 0 || session->sent_bytes + session_cost_of(task) <= core->config.delivery_bytes;
    return is_due ? task : NULL;
}

static void deliver(struct core *core, struct session *session)
{
    struct outbox *outbox = core->outbox;
    struct task *first;
    while ((first = next_result(core, session)) != NULL) {
        clear(outbox);
        for (struct task *task = first; task != NULL && result_has_room(outbox, first, task);) {
            append_result(outbox, task);
            np_list_remove(&task->node);
            np_list_push_back(&session->sent, &task->node);
            task->is_sent = true;
            session->sent_bytes += session_cost_of(task);
            task = next_result(core, session);
        }
        send_results(core, session, first->origin);
    }
}

static void send_to_worker(struct core *core, struct worker *worker)
{
    if (worker->credit_due) {
        worker->credit_due = false;
        send_credit(core, worker->peer, 0, worker->credit_bytes);
    }
    send_revocations(core, worker);
    prepare_send_outdated(core, worker);
    send_assignments(core, worker);
    if (worker->withdraw_due > 0) {
        Np__Withdraw withdraw = NP__WITHDRAW__INIT;
        withdraw.count = worker->withdraw_due;
        worker->withdraw_due = 0;
        send_withdraw(core, worker->peer, &withdraw);
    }
}

void outbox_send_due(struct core *core, struct peer *peer, int64_t now)
{
    if (peer->session != NULL) {
        session_grant(core, peer->session);
    }
    if (peer->welcome_due) {
        peer->welcome_due = false;
        send_welcome(core, peer);
    }
    if (peer->session != NULL) {
        if (peer->session->credit_due) {
            peer->session->credit_due = false;
            send_credit(core, peer, peer->session->granted_tasks, peer->session->granted_bytes);
        }
        deliver(core, peer->session);
        progress_send_due(core, peer->session, now);
    }
    if (peer->worker != NULL) {
        send_to_worker(core, peer->worker);
    }
    if (peer->status_due) {
        peer->status_due = false;
        status_send(core, peer, now);
    }
}
