#include "broker/core/lease.h"

#include <assert.h>
#include <string.h>

#include "broker/core/record.h"
#include "broker/core/state.h"
#include "common/text.h"

void lease_assign(struct core *core, struct task *task, struct worker *worker, int64_t now)
{
    task->attempt++;
    if (task->attempt > 1) {
        core->stats.retried++;
    }
    task->queue_ns = (uint64_t)(now - task->submitted_ns);
    if (task->extra != NULL) {
        task->extra->held_epoch = 0;
        task->extra->last_loss = UINT32_MAX;
    }
    worker->is_barren = false;
    task->is_adopted = false;
    task_move(core, task, TASK_ASSIGN, TASK_LEASED, worker);
    if (worker->unsent == NULL) {
        worker->unsent = task;
        core_touch(core, worker->peer);
    }
}

unsigned lease_assign_run(struct core *core, struct queue *queue, struct worker *worker, unsigned most, int64_t now)
{
    struct task *first = queue_front(queue);
    unsigned count = task_assign_run(core, queue, worker, most, now);
    if (count > 0) {
        worker->is_barren = false;
        if (worker->unsent == NULL) {
            worker->unsent = first;
            core_touch(core, worker->peer);
        }
    }
    return count;
}

static bool is_leased(const struct task *task)
{
    return task->state == TASK_LEASED || task->state == TASK_CANCELLING;
}

bool lease_is_held(const struct core *core, const struct task *task, const struct worker *worker, uint64_t epoch)
{
    return is_leased(task) && task->worker == worker &&
           (epoch == core->config.epoch || (task->extra != NULL && task->extra->held_epoch == epoch));
}

/* A task that no worker holds. An attempt that counts has begun, or must be taken to have. */
static void finish_unassigned(struct core *core, struct task *task, enum task_event event, netpool_status status)
{
    if (task->attempt > 0) {
        record_started(core, task);
    }
    task_finish(core, task, event, status);
}

void lease_review(struct core *core, struct task *task)
{
    if (task->is_unwanted) {
        finish_unassigned(core, task, TASK_CANCEL_UNSTARTED, NETPOOL_CANCELLED);
    } else if (task->session->is_broken) {
        finish_unassigned(core, task, TASK_BREAK, NETPOOL_NOT_INITIALIZED);
    }
}

static void say_too_large(char *text, size_t text_size, uint32_t size, const struct session *session)
{
    np_text_format(text, text_size, "a result of %u bytes; the pool's limit is %llu", size,
                   (unsigned long long)session->max_payload);
}

void lease_hold_to_limit(struct core *core, struct task *task)
{
    if (task->status != NETPOOL_OK || task->size <= task->session->max_payload) {
        return;
    }
    char text[128];
    say_too_large(text, sizeof text, task->size, task->session);
    Np__Failure failure = NP__FAILURE__INIT;
    failure.message = text;
    failure.started = true;
    task_drop_data(core, task);
    record_failure(core, task, &failure);
    task->status = NETPOOL_TOO_LARGE;
    core->stats.done--;
    core->stats.failed++;
}

/* A row that does not name its sender's lease: late if the sender may have held it, refused if it never can have.
 * What is finished, withdrawn or of an earlier epoch was somebody's once; the attempt tells the rest. */
static void drop_row(struct core *core, const struct worker *worker, const struct task *task, uint64_t seq,
                     uint32_t attempt, uint64_t epoch)
{
    bool is_late = task == NULL || epoch != core->config.epoch || task->state == TASK_FINISHED ||
                   (is_leased(task) ? attempt < task->attempt : attempt <= task->attempt);
    if (is_late) {
        core->stats.late++;
        return;
    }
    core->stats.refused++;
    core_log(core, NP_LOG_WARNING,
             "worker %s (%s): result of task %llu, attempt %u refused: it does not hold the lease",
             worker->origin->name, worker->peer->address, (unsigned long long)seq, attempt);
}

static netpool_status cancel_status(const struct task *task)
{
    return task->is_expired ? NETPOOL_DEADLINE : NETPOOL_CANCELLED;
}

/* A task that its client has not submitted again: it starts afresh when that happens. */
static void drop_unclaimed(struct core *core, struct task *task, enum task_event event)
{
    if (event == TASK_RETURN && task->state == TASK_LEASED) {
        event = TASK_LOST;
    }
    task_drop_data(core, task);
    task_move(core, task, event, TASK_FINISHED, NULL);
    task->origin = NULL;
    task_destroy(core, task);
}

static bool may_run_again(const struct task *task)
{
    return !task->kind->at_most_once && task->attempt < task->kind->max_attempts;
}

/* An attempt that ended with its executor. */
static void take_crash(struct core *core, struct task *task, netpool_status status, uint32_t pid,
                       const Np__Failure *failure)
{
    struct origin *origin = task->worker->origin;
    bool is_only = task->kind->at_most_once || task->kind->max_attempts <= 1;
    if (!is_only) {
        record_attempt(core, task, status, origin, pid, failure, netpool_status_text(status));
    }
    if (may_run_again(task)) {
        task_retry(core, task, TASK_RESULT);
        lease_review(core, task);
        return;
    }
    if (failure != NULL) {
        record_failure(core, task, failure);
    }
    task_finish(core, task, TASK_RESULT, is_only ? status : NETPOOL_POISON);
    task->origin = origin;
    origin->references++;
    task->pid = pid;
}

struct row {
    netpool_status status;
    uint32_t size;
    const uint8_t *data;
    bool is_block; /* data is a whole block */
    uint64_t compute_ns;
    uint64_t wait_ns; /* at the worker */
    uint32_t pid;
    uint32_t attempt;
    const Np__Failure *failure;
};

static const Np__Failure *find_failure(const Np__Results *results, size_t index)
{
    for (size_t i = 0; i < results->n_failures; i++) {
        if (results->failures[i]->index == index) {
            return results->failures[i];
        }
    }
    return NULL;
}

/* False when out of memory: nothing has changed. */
static inline __attribute__((always_inline)) bool finish(struct core *core, struct task *task, const struct row *row,
                                                         netpool_status status)
{
    struct worker *worker = task->worker;
    if (task->kind == NULL && !core->is_recovering) {
        core->stats.late++;
        drop_unclaimed(core, task, TASK_RESULT);
        return true;
    }
    if (task->state == TASK_CANCELLING && status == NETPOOL_CANCELLED) {
        status = cancel_status(task);
    }
    if (!task_store_result(core, task, row->data, row->size, row->is_block)) {
        return false;
    }
    if (status == NETPOOL_OK) {
        if (task->extra != NULL) {
            record_drop(core, task); /* what became of earlier attempts matters to nobody now */
        }
    } else if (row->failure != NULL) {
        record_failure(core, task, row->failure);
    }
    if (task->kind != NULL && (status == NETPOOL_OK || status == NETPOOL_FAILED)) {
        function_measure(task->kind->demand->function, row->compute_ns);
    }
    task_move(core, task, TASK_RESULT, TASK_FINISHED, NULL);
    task->origin = worker->origin;
    worker->origin->references++;
    task->status = (uint8_t)status;
    task->compute_ns = row->compute_ns;
    task->pid = row->pid;
    if (status == NETPOOL_OK) {
        core->stats.done++;
        worker->done++;
    } else if (status == NETPOOL_CANCELLED) {
        core->stats.cancelled++;
    } else {
        core->stats.failed++;
        worker->failed++;
    }
    return true;
}

static bool finish_row(struct core *core, struct task *task, const struct row *row)
{
    return finish(core, task, row, row->status);
}

static bool is_to_be_retried(const struct task *task, netpool_status status)
{
    return task->state == TASK_LEASED && task->kind != NULL && kind_retries(task->kind, status);
}

/* An attempt that failed, of a task that wants to be tried again. */
static bool take_failure(struct core *core, struct task *task, const struct row *row)
{
    struct worker *worker = task->worker;
    record_attempt(core, task, row->status, worker->origin, row->pid, row->failure, netpool_status_text(row->status));
    if (!may_run_again(task)) {
        return finish_row(core, task, row);
    }
    worker->failed++;
    task_retry(core, task, TASK_RESULT);
    lease_review(core, task);
    return true;
}

static void lose(struct core *core, struct task *task, const char *why)
{
    record_attempt(core, task, NETPOOL_LOST, task->worker->origin, 0, NULL, why);
    if (may_run_again(task)) {
        task_retry(core, task, TASK_LOST);
        lease_review(core, task);
    } else {
        task_finish(core, task, TASK_LOST, NETPOOL_LOST);
    }
}

/* A worker answers a withdrawal that it was sent before its task was adopted: nobody wants that of the task as it is
 * now. */
static bool is_outdated_cancel(const struct task *task, netpool_status status)
{
    return status == NETPOOL_CANCELLED && task->state == TASK_LEASED && task->is_adopted && !task->is_unwanted;
}

static bool take_bad_row(struct core *core, struct worker *worker, struct task *task, const struct row *row)
{
    bool is_crash = row->status == NETPOOL_CRASHED || row->status == NETPOOL_OUT_OF_MEMORY;
    if (is_outdated_cancel(task, row->status)) {
        if (task->kind == NULL) {
            drop_unclaimed(core, task, TASK_RESULT);
        } else {
            lose(core, task, "withdrawn before it was taken over");
        }
        return true;
    }
    if (is_to_be_retried(task, row->status)) {
        return take_failure(core, task, row);
    }
    if (!is_crash || task->state != TASK_LEASED) {
        return finish_row(core, task, row);
    }
    worker->failed++;
    if (task->kind == NULL) {
        drop_unclaimed(core, task, TASK_RESULT);
    } else {
        take_crash(core, task, row->status, row->pid, row->failure);
    }
    return true;
}

static bool take_row(struct core *core, struct worker *worker, struct task *task, const struct row *row)
{
    task->queue_ns += row->wait_ns < UINT64_MAX - task->queue_ns ? row->wait_ns : UINT64_MAX - task->queue_ns;
    /* Inlined with a constant: the way of nearly every result. */
    return row->status == NETPOOL_OK ? finish(core, task, row, NETPOOL_OK) : take_bad_row(core, worker, task, row);
}

static bool count_result_bytes(struct core *core, struct worker *worker, size_t size)
{
    worker->result_bytes += size;
    if (worker->result_bytes > worker->credit_bytes) {
        peer_close(core, worker->peer, NETPOOL_PROTOCOL, "results beyond the credit of %llu bytes",
                   (unsigned long long)worker->credit_bytes);
        return false;
    }
    uint64_t full = worker->result_bytes + core->config.max_payload + WORKER_CREDIT_SLACK;
    if (full - worker->credit_bytes >= WORKER_CREDIT_SLACK / 2) {
        worker->credit_bytes = full;
        worker->credit_due = true;
        core_touch(core, worker->peer);
    }
    return true;
}

static bool is_too_large(const struct session *session, const struct row *row)
{
    return row->status == NETPOOL_OK && session->max_payload != 0 && row->size > session->max_payload;
}

/* Fails a result that its client will not take, instead of the client's link. */
static bool take_too_large(struct core *core, struct worker *worker, struct task *task, const struct row *row)
{
    char text[128];
    say_too_large(text, sizeof text, row->size, task->session);
    Np__Failure failure = NP__FAILURE__INIT;
    failure.message = text;
    failure.started = true;
    struct row failed = *row;
    failed.status = NETPOOL_TOO_LARGE;
    failed.size = 0;
    failed.failure = &failure;
    return take_row(core, worker, task, &failed);
}

static struct row read_row(const Np__Results *results, size_t i, struct np_message *message, const uint8_t *data)
{
    struct row row = {.status = results->n_statuses > 0 ? (netpool_status)results->statuses[i] : NETPOOL_OK,
                      .size = results->sizes[i],
                      .data = data,
                      .is_block = results->n_seqs == 1 && np_message_has_block(message),
                      .compute_ns = results->n_compute_ns > i ? results->compute_ns[i] : 0,
                      .wait_ns = results->n_wait_ns > i ? results->wait_ns[i] : 0,
                      .pid = results->n_pids > i ? results->pids[i] : 0,
                      .attempt = results->n_attempts > 0 ? results->attempts[i] : 1};
    row.failure = row.status != NETPOOL_OK ? find_failure(results, i) : NULL;
    return row;
}

/* False: the worker has been closed. */
static bool handle_row(struct core *core, struct worker *worker, struct session *session, const Np__Results *results,
                       uint64_t seq, const struct row *row)
{
    if (row->status > NETPOOL_NOT_INITIALIZED || row->size > core->config.max_payload) {
        peer_close(core, worker->peer, NETPOOL_PROTOCOL, "a result has status %u and %u bytes", (unsigned)row->status,
                   (unsigned)row->size);
        return false;
    }
    struct task *task = session != NULL ? np_table_find(&session->tasks, seq) : NULL;
    if (task == NULL || task->attempt != row->attempt || !lease_is_held(core, task, worker, results->epoch)) {
        drop_row(core, worker, task, seq, row->attempt, results->epoch);
        return true;
    }
    bool is_taken =
        is_too_large(session, row) ? take_too_large(core, worker, task, row) : take_row(core, worker, task, row);
    if (!is_taken) {
        peer_close(core, worker->peer, NETPOOL_NO_MEMORY, "no memory for a result of %u bytes", row->size);
        return false;
    }
    if (row->status == NETPOOL_NOT_INITIALIZED) {
        bool has_words = row->failure != NULL && row->failure->message[0] != '\0';
        prepare_failed(core, session, has_words ? row->failure->message : netpool_status_text(row->status));
    }
    return true;
}

bool lease_results(struct core *core, struct worker *worker, struct np_message *message)
{
    const Np__Results *results = message->envelope->results;
    if (results->session.len == 0) { /* well-formed only on its way to a client */
        peer_close(core, worker->peer, NETPOOL_PROTOCOL, "results without a session");
        return false;
    }
    if (!count_result_bytes(core, worker, message->body_size)) {
        return false;
    }
    struct session *session = session_find(core, results->session.data);
    const uint8_t *data = np_message_bytes(message);
    worker_heard(core, worker);
    bool is_alive = true;
    for (size_t i = 0; i < results->n_seqs && is_alive; i++) {
        if (session != NULL) {
            session_look_ahead(session, results->seqs, results->n_seqs, i);
        }
        struct row row = read_row(results, i, message, data);
        is_alive = handle_row(core, worker, session, results, results->seqs[i], &row);
        data += results->sizes[i];
    }
    if (session != NULL) {
        session_lease_ended(core, session);
    }
    return is_alive;
}

/* It was given to a worker, and did not begin to run. */
static void uncount_attempt(struct core *core, struct task *task)
{
    core->stats.retried -= task->attempt-- > 1;
}

static void take_back(struct core *core, struct task *task)
{
    if (task->kind == NULL) {
        drop_unclaimed(core, task, TASK_RETURN);
    } else if (task->state == TASK_LEASED) {
        uncount_attempt(core, task);
        task_move(core, task, TASK_RETURN, TASK_QUEUED, NULL);
        lease_review(core, task);
    } else {
        task_finish(core, task, TASK_RETURN, cancel_status(task));
    }
}

bool lease_returned(struct core *core, struct worker *worker, const Np__Returned *returned)
{
    struct session *session = returned->n_seqs > 0 ? session_find(core, returned->session.data) : NULL;
    for (size_t i = 0; i < returned->n_seqs; i++) {
        uint32_t attempt = returned->n_attempts > 0 ? returned->attempts[i] : 1;
        struct task *task = session != NULL ? np_table_find(&session->tasks, returned->seqs[i]) : NULL;
        if (task != NULL && is_leased(task) && task->worker == worker && task->attempt == attempt) {
            take_back(core, task);
            worker->withdrawn++;
        }
    }
    if (session != NULL) {
        session_lease_ended(core, session);
    }
    if (returned->end) {
        worker_withdrawal_done(core, worker);
    }
    return true;
}

void lease_cancel(struct core *core, struct task *task, enum task_event event)
{
    switch (task_rule((enum task_state)task->state, event)) {
    case TASK_TO_FINISHED_CANCELLED:
    case TASK_TO_FINISHED_DEADLINE:
        finish_unassigned(core, task, event, event == TASK_EXPIRE ? NETPOOL_DEADLINE : NETPOOL_CANCELLED);
        break;
    case TASK_MARKED:
        if (!task->is_unwanted && task->state == TASK_LEASED) {
            worker_revoke(core, task->worker, task->session->id, task->seq, true);
        }
        task->is_unwanted = true;
        break;
    case TASK_TO_CANCELLING:
        task->is_expired = event == TASK_EXPIRE;
        task_move(core, task, event, TASK_CANCELLING, NULL);
        worker_revoke(core, task->worker, task->session->id, task->seq, false);
        break;
    case TASK_IGNORED:
        break;
    default:
        assert(false && "cancel and expiry have a rule in every state they can meet");
    }
}

static void settle(struct core *core, struct task *task, bool is_unstarted)
{
    if (task->kind == NULL) {
        drop_unclaimed(core, task, TASK_LOST);
        return;
    }
    if (task->state == TASK_CANCELLING) {
        if (!is_unstarted) {
            record_started(core, task);
        }
        task_finish(core, task, TASK_LOST, cancel_status(task));
        return;
    }
    if (is_unstarted && !task->kind->at_most_once) {
        uncount_attempt(core, task);
        task_move(core, task, TASK_RETURN, TASK_QUEUED, NULL);
        lease_review(core, task);
        return;
    }
    lose(core, task, "the worker was lost");
}

void lease_forfeit(struct core *core, struct task *task, const char *why)
{
    worker_revoke(core, task->worker, task->session->id, task->seq, false);
    lose(core, task, why);
}

void lease_settle_all(struct core *core, struct worker *worker, bool orderly, int64_t now)
{
    (void)now;
    unsigned may_have_started = worker->slots;
    NP_LIST_EACH(node, &worker->leases) {
        struct task *task = NP_CONTAINER(node, struct task, node);
        struct session *session = task->session;
        settle(core, task, orderly && may_have_started == 0);
        may_have_started -= may_have_started > 0;
        session_lease_ended(core, session);
    }
}
