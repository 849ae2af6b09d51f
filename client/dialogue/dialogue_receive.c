#include "client/dialogue/dialogue_state.h"

#include <assert.h>
#include <string.h>

#include "common/clock.h"
#include "common/error.h"

/* What was lost on the way to a broker that still knows the session goes back to the queue, in front of what was
 * never sent, and no longer counts against the credit. */
static void take_back_unreceived(struct dialogue *dialogue, uint64_t received_seq, bool broker_is_new)
{
    struct np_list again;
    np_list_init(&again);
    NP_LIST_EACH(node, &dialogue->sent) {
        struct np_task *task = NP_CONTAINER(node, struct np_task, node);
        if (!broker_is_new && task->seq <= received_seq) {
            continue;
        }
        outstanding_take(&dialogue->by_seq, task->seq);
        np_list_remove(node);
        np_list_push_back(&again, node);
        task->state = NP_TASK_QUEUED;
        task->was_submitted_before = broker_is_new;
        dialogue->used_tasks--;
        dialogue->used_bytes -= task->input_size;
    }
    np_list_splice_back(&again, &dialogue->queue);
    np_list_splice_back(&dialogue->queue, &again);
}

/* Tasks whose cancellation was asked for while there was no link, or whose request may have been lost with it. */
static netpool_status renew_cancels(struct dialogue *dialogue, int64_t now)
{
    NP_LIST_EACH(sent, &dialogue->sent) {
        const struct np_task *task = NP_CONTAINER(sent, struct np_task, node);
        if (task->cancel_wanted != NP_CANCEL_NONE && dialogue_ask_cancel(dialogue, task) != NETPOOL_OK) {
            return NETPOOL_NO_MEMORY;
        }
    }
    struct np_list cancelled;
    np_list_init(&cancelled);
    NP_LIST_EACH(queued, &dialogue->queue) {
        const struct np_task *task = NP_CONTAINER(queued, struct np_task, node);
        if (task->cancel_wanted == NP_CANCEL_ALWAYS ||
            (task->cancel_wanted == NP_CANCEL_UNSTARTED && !task->was_submitted_before)) {
            np_list_remove(queued);
            np_list_push_back(&cancelled, queued);
        }
    }
    for (struct np_list *node = np_list_front(&cancelled); node != NULL; node = np_list_front(&cancelled)) {
        dialogue_end(dialogue, NP_CONTAINER(node, struct np_task, node), NETPOOL_CANCELLED, "cancelled", now);
    }
    return NETPOOL_OK;
}

static netpool_status receive_welcome(struct dialogue *dialogue, struct np_message *message, int64_t now,
                                      netpool_error *error)
{
    const Np__Welcome *welcome = message->envelope->welcome;
    if (dialogue->state != DIALOGUE_GREETING) {
        return np_error_set(error, NETPOOL_PROTOCOL, "WELCOME without a HELLO");
    }
    if (welcome->version < NP_PROTOCOL_VERSION_MIN || welcome->version > NP_PROTOCOL_VERSION_MAX) {
        return np_error_set(error, NETPOOL_PROTOCOL, "the broker chose protocol version %u, we speak %d to %d",
                            welcome->version, NP_PROTOCOL_VERSION_MIN, NP_PROTOCOL_VERSION_MAX);
    }
    if (welcome->resumed && !dialogue->was_welcome) {
        return np_error_set(error, NETPOOL_PROTOCOL, "the broker resumes a session that is new");
    }
    dialogue->state = DIALOGUE_WELCOME;
    dialogue->was_welcome = true;
    dialogue->terms = (struct dialogue_terms){.max_payload = welcome->max_payload > 0 &&
                                                                     welcome->max_payload < dialogue->max_payload
                                                                 ? welcome->max_payload
                                                                 : dialogue->max_payload,
                                              .heartbeat_ns = (int64_t)welcome->heartbeat_ms * NP_NS_PER_MS,
                                              .timeout_ns = (int64_t)welcome->timeout_ms * NP_NS_PER_MS};
    dialogue->preparation_due =
        dialogue->preparation.initializer != NULL || dialogue->preparation.max_tasks_per_executor > 0;
    dialogue->credit_tasks = welcome->credit_tasks;
    dialogue->credit_bytes = welcome->credit_bytes;
    take_back_unreceived(dialogue, welcome->received_seq, !welcome->resumed);
    if (!welcome->resumed) {
        dialogue->used_tasks = 0;
        dialogue->used_bytes = 0;
    }
    return renew_cancels(dialogue, now);
}

static netpool_status receive_credit(struct dialogue *dialogue, struct np_message *message, int64_t now,
                                     netpool_error *error)
{
    (void)now;
    (void)error;
    const Np__Credit *credit = message->envelope->credit;
    if (credit->tasks > dialogue->credit_tasks) {
        dialogue->credit_tasks = credit->tasks;
    }
    if (credit->bytes > dialogue->credit_bytes) {
        dialogue->credit_bytes = credit->bytes;
    }
    return NETPOOL_OK;
}

static const Np__Failure *find_failure(const Np__Results *results, size_t index)
{
    for (size_t i = 0; i < results->n_failures; i++) {
        if (results->failures[i]->index == index) {
            return results->failures[i];
        }
    }
    return NULL;
}

/* A broker's number may be none of ours (contract.md B42). */
static netpool_status status_of_wire(uint32_t number)
{
    return strcmp(netpool_status_name((netpool_status)number), "UNKNOWN") == 0 ? NETPOOL_PROTOCOL
                                                                               : (netpool_status)number;
}

static const char *keep_name(const struct dialogue *dialogue, const char *name)
{
    return dialogue->keep_name != NULL ? dialogue->keep_name(dialogue->context, name) : name;
}

/* Changes in `outcome` what differs from row to row, for the i-th one, whose bytes begin there. */
static void read_row(struct np_outcome *outcome, const Np__Results *results, size_t i, const uint8_t *bytes)
{
    outcome->size = results->sizes[i];
    outcome->data = outcome->size > 0 ? bytes : (const uint8_t *)"";
    if (results->n_statuses > 0) {
        outcome->status = status_of_wire(results->statuses[i]);
        outcome->failure = outcome->status != NETPOOL_OK ? find_failure(results, i) : NULL;
    }
    if (results->n_attempts > 0) {
        outcome->attempt = results->attempts[i];
    }
    if (results->n_pids > 0) {
        outcome->pid = results->pids[i];
    }
    if (results->n_queue_ns > 0) {
        outcome->queue_ns = results->queue_ns[i];
    }
    if (results->n_compute_ns > 0) {
        outcome->compute_ns = results->compute_ns[i];
    }
}

static netpool_status receive_results(struct dialogue *dialogue, struct np_message *message, int64_t now,
                                      netpool_error *error)
{
    const Np__Results *results = message->envelope->results;
    if (np_buffer_append(&dialogue->acknowledgements, results->seqs, results->n_seqs * sizeof(uint64_t)) !=
        NETPOOL_OK) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory to acknowledge results");
    }
    struct np_outcome outcome = {.status = NETPOOL_OK,
                                 .is_block = results->n_seqs == 1 && np_message_has_block(message),
                                 .attempt = 1,
                                 .worker = keep_name(dialogue, results->worker),
                                 .host = keep_name(dialogue, results->host),
                                 .now = now};
    const uint8_t *bytes = message->body;
    for (size_t i = 0; i < results->n_seqs; i++) {
        struct np_task *task = outstanding_find(&dialogue->by_seq, results->seqs[i]);
        if (task != NULL) {
            read_row(&outcome, results, i, bytes);
            dialogue->counters.results++;
            dialogue_finish(dialogue, task, &outcome);
        } else {
            dialogue->counters.duplicates++; /* acknowledged all the same, so that the broker forgets it */
        }
        bytes += results->sizes[i];
    }
    return NETPOOL_OK;
}

static netpool_status receive_status(struct dialogue *dialogue, struct np_message *message, int64_t now,
                                     netpool_error *error)
{
    (void)now;
    (void)error;
    if (dialogue->status_wanted) {
        dialogue->status_wanted = false;
        dialogue->status_sent = false;
        if (dialogue->status_received != NULL) {
            dialogue->status_received(dialogue->context, message->envelope->status);
        }
    }
    return NETPOOL_OK;
}

static netpool_status receive_progress(struct dialogue *dialogue, struct np_message *message, int64_t now,
                                       netpool_error *error)
{
    (void)now;
    (void)error;
    const Np__Progress *progress = message->envelope->progress;
    for (size_t i = 0; i < progress->n_seqs; i++) {
        struct np_task *task = outstanding_find(&dialogue->by_seq, progress->seqs[i]);
        if (task == NULL) {
            continue; /* its result was faster */
        }
        atomic_store(&task->progress_total, progress->total[i]);
        atomic_store(&task->progress_done, progress->done[i]);
        if (task->progressed != NULL) {
            task->progressed(task, progress->done[i], progress->total[i]);
        }
    }
    return NETPOOL_OK;
}

typedef netpool_status receiver(struct dialogue *dialogue, struct np_message *message, int64_t now,
                                netpool_error *error);

static const struct {
    receiver *receive;
    bool needs_welcome;
} receivers[] = {
    [NP__ENVELOPE__KIND_WELCOME] = {receive_welcome, false},  [NP__ENVELOPE__KIND_CREDIT] = {receive_credit, true},
    [NP__ENVELOPE__KIND_RESULTS] = {receive_results, true},   [NP__ENVELOPE__KIND_STATUS] = {receive_status, true},
    [NP__ENVELOPE__KIND_PROGRESS] = {receive_progress, true},
};

netpool_status dialogue_receive(struct dialogue *dialogue, struct np_message *message, int64_t now,
                                netpool_error *error)
{
    size_t kind = (size_t)message->envelope->kind_case;
    if (kind >= sizeof receivers / sizeof receivers[0] || receivers[kind].receive == NULL) {
        /* Heartbeats and goodbyes are the channel's. */
        return np_error_set(error, NETPOOL_PROTOCOL, "unexpected %s message from the broker",
                            np_message_kind_name(message->envelope->kind_case));
    }
    if (receivers[kind].needs_welcome && dialogue->state != DIALOGUE_WELCOME) {
        return np_error_set(error, NETPOOL_PROTOCOL, "%s message before WELCOME",
                            np_message_kind_name(message->envelope->kind_case));
    }
    return receivers[kind].receive(dialogue, message, now, error);
}
