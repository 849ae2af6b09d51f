#include "client/dialogue/dialogue_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/error.h"

/* Expired tasks are looked for at most this often: a look walks all that wait. */
#define EXPIRY_PAUSE (10 * NP_NS_PER_MS)

static void copy_name(char out[NP_NAME_MAX + 1], const char *name)
{
    size_t length = name != NULL ? strnlen(name, NP_NAME_MAX) : 0;
    memcpy(out, name, length);
    out[length] = '\0';
}

netpool_status dialogue_new(struct dialogue **out, const struct dialogue_config *config)
{
    struct dialogue *dialogue = calloc(1, sizeof *dialogue);
    if (dialogue == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    memcpy(dialogue->id, config->id, sizeof dialogue->id);
    copy_name(dialogue->name, config->name != NULL ? config->name : "");
    copy_name(dialogue->host, config->host != NULL ? config->host : "");
    dialogue->pid = config->pid;
    dialogue->role = config->role;
    dialogue->max_payload = config->max_payload;
    dialogue->heap = config->heap;
    if (config->role == NP__ROLE__CLIENT) {
        dialogue->preparation = config->preparation;
    }
    dialogue->status_received = config->status_received;
    dialogue->keep_name = config->keep_name;
    dialogue->context = config->context;
    dialogue->terms = (struct dialogue_terms){.max_payload = config->max_payload,
                                              .heartbeat_ns = NP_HEARTBEAT_MS * NP_NS_PER_MS,
                                              .timeout_ns = NP_TIMEOUT_MS * NP_NS_PER_MS};
    dialogue->next_seq = 1;
    dialogue->next_expiry = NP_NEVER;
    np_list_init(&dialogue->queue);
    np_list_init(&dialogue->sent);
    *out = dialogue;
    return NETPOOL_OK;
}

void dialogue_destroy(struct dialogue **dialogue)
{
    struct dialogue *self = *dialogue;
    if (self == NULL) {
        return;
    }
    assert(self->unfinished == 0);
    outstanding_fini(&self->by_seq);
    np_buffer_fini(&self->acknowledgements);
    np_buffer_fini(&self->cancels);
    np_buffer_fini(&self->unstarted_cancels);
    free(self);
    *dialogue = NULL;
}

int64_t dialogue_expiry(const struct np_task *task)
{
    uint64_t expiry_ms = task->kind->expiry_ms;
    if (expiry_ms == 0 || expiry_ms > (uint64_t)((NP_NEVER - task->submitted) / NP_NS_PER_MS)) {
        return NP_NEVER;
    }
    return task->submitted + (int64_t)expiry_ms * NP_NS_PER_MS;
}

void dialogue_watch_expiry(struct dialogue *dialogue, const struct np_task *task)
{
    dialogue->next_expiry = np_earlier(dialogue->next_expiry, dialogue_expiry(task));
}

void dialogue_submit(struct dialogue *dialogue, struct np_task *task, int64_t now)
{
    task->seq = 0;
    task->submitted = now; /* `now` may be a little earlier: when the user submitted it */
    task->state = NP_TASK_QUEUED;
    task->cancel_wanted = NP_CANCEL_NONE;
    task->was_submitted_before = false;
    /* Whoever may look at it gets it from what hands over the task. */
    atomic_store_explicit(&task->progress_done, 0, memory_order_relaxed);
    atomic_store_explicit(&task->progress_total, 0, memory_order_relaxed);
    np_list_push_back(&dialogue->queue, &task->node);
    dialogue->unfinished++;
    dialogue_watch_expiry(dialogue, task);
}

void dialogue_finish(struct dialogue *dialogue, struct np_task *task, const struct np_outcome *outcome)
{
    assert(task->state != NP_TASK_NEW);
    if (task->state == NP_TASK_SENT) {
        struct np_task *found = outstanding_take(&dialogue->by_seq, task->seq);
        assert(found == task);
        (void)found;
    }
    np_list_remove(&task->node);
    task->state = NP_TASK_NEW;
    task->finished(task, outcome);
    /* Counted last: while a map replaces a chunk by the next one the dialogue is never seen without work. */
    dialogue->unfinished--;
}

void dialogue_end(struct dialogue *dialogue, struct np_task *task, netpool_status status, const char *reason,
                  int64_t now)
{
    struct np_outcome outcome = {
        .status = status, .data = (const uint8_t *)"", .worker = "", .host = "", .now = now, .reason = reason};
    dialogue_finish(dialogue, task, &outcome);
}

netpool_status dialogue_ask_cancel(struct dialogue *dialogue, const struct np_task *task)
{
    struct np_buffer *seqs =
        task->cancel_wanted == NP_CANCEL_UNSTARTED ? &dialogue->unstarted_cancels : &dialogue->cancels;
    return np_buffer_append(seqs, &task->seq, sizeof task->seq);
}

void dialogue_cancel(struct dialogue *dialogue, struct np_task *task, enum np_cancel how, int64_t now)
{
    if (task->state == NP_TASK_NEW || task->cancel_wanted >= how) {
        return;
    }
    if (task->state == NP_TASK_QUEUED && !task->was_submitted_before) {
        dialogue_end(dialogue, task, NETPOOL_CANCELLED, "cancelled before it was sent", now);
        return;
    }
    enum np_cancel before = task->cancel_wanted;
    task->cancel_wanted = how;
    if (task->state == NP_TASK_SENT && dialogue->state == DIALOGUE_WELCOME &&
        dialogue_ask_cancel(dialogue, task) != NETPOOL_OK) {
        task->cancel_wanted = before; /* no memory for the request: the task goes on, as if it had come too late */
    }
}

/* What ends may take others of the list with it. */
static void end_all(struct dialogue *dialogue, struct np_list *list, netpool_status status, const char *reason,
                    int64_t now)
{
    struct np_list doomed;
    np_list_init(&doomed);
    np_list_splice_back(&doomed, list);
    for (struct np_list *node = np_list_front(&doomed); node != NULL; node = np_list_front(&doomed)) {
        dialogue_end(dialogue, NP_CONTAINER(node, struct np_task, node), status, reason, now);
    }
}

void dialogue_cancel_all(struct dialogue *dialogue, enum np_cancel how, int64_t now)
{
    NP_LIST_EACH(node, &dialogue->sent) {
        dialogue_cancel(dialogue, NP_CONTAINER(node, struct np_task, node), how, now);
    }
    /* An earlier broker's worker may be running it: that is asked when this broker has it. */
    struct np_list doomed;
    np_list_init(&doomed);
    NP_LIST_EACH(node, &dialogue->queue) {
        struct np_task *task = NP_CONTAINER(node, struct np_task, node);
        if (how == NP_CANCEL_UNSTARTED && task->was_submitted_before) {
            dialogue_cancel(dialogue, task, how, now);
        } else {
            np_list_remove(node);
            np_list_push_back(&doomed, node);
        }
    }
    end_all(dialogue, &doomed, NETPOOL_CANCELLED, "cancelled before it was sent", now);
}

void dialogue_fail(struct dialogue *dialogue, netpool_status status, const char *reason, int64_t now)
{
    end_all(dialogue, &dialogue->sent, status, reason, now);
    end_all(dialogue, &dialogue->queue, status, reason, now);
    np_buffer_clear(&dialogue->cancels);
    np_buffer_clear(&dialogue->unstarted_cancels);
}

void dialogue_connect(struct dialogue *dialogue, int64_t now)
{
    dialogue->state = DIALOGUE_HELLO_DUE;
    dialogue->greeting_deadline = now + NP_HELLO_TIMEOUT_MS * NP_NS_PER_MS;
}

void dialogue_disconnect(struct dialogue *dialogue)
{
    dialogue->state = DIALOGUE_DOWN;
    dialogue->status_sent = false;
    dialogue->preparation_due = false;
    np_buffer_clear(&dialogue->cancels);
    np_buffer_clear(&dialogue->unstarted_cancels);
    np_buffer_clear(&dialogue->acknowledgements); /* the broker will say those results again, or has forgotten them */
    /* Nobody but us watches the expiry of what was sent, as long as there is no link. */
    NP_LIST_EACH(node, &dialogue->sent) {
        dialogue_watch_expiry(dialogue, NP_CONTAINER(node, struct np_task, node));
    }
}

static void expire(struct dialogue *dialogue, struct np_list *list, int64_t now)
{
    struct np_list expired;
    np_list_init(&expired);
    NP_LIST_EACH(node, list) {
        struct np_task *task = NP_CONTAINER(node, struct np_task, node);
        int64_t expiry = dialogue_expiry(task);
        if (expiry <= now) {
            np_list_remove(node);
            np_list_push_back(&expired, node);
        } else {
            dialogue->next_expiry = np_earlier(dialogue->next_expiry, expiry);
        }
    }
    for (struct np_list *node = np_list_front(&expired); node != NULL; node = np_list_front(&expired)) {
        dialogue_end(dialogue, NP_CONTAINER(node, struct np_task, node), NETPOOL_DEADLINE,
                     "expired before it was assigned to a worker", now);
    }
}

netpool_status dialogue_tick(struct dialogue *dialogue, int64_t now, netpool_error *error)
{
    if (dialogue->next_expiry <= now) {
        dialogue->next_expiry = NP_NEVER;
        expire(dialogue, &dialogue->queue, now);
        if (dialogue->state != DIALOGUE_WELCOME) {
            expire(dialogue, &dialogue->sent, now);
        }
        if (dialogue->next_expiry < now + EXPIRY_PAUSE) {
            dialogue->next_expiry = now + EXPIRY_PAUSE;
        }
    }
    if ((dialogue->state == DIALOGUE_GREETING || dialogue->state == DIALOGUE_HELLO_DUE) &&
        now >= dialogue->greeting_deadline) {
        return np_error_set(error, NETPOOL_UNREACHABLE, "the broker did not answer HELLO within %d ms",
                            NP_HELLO_TIMEOUT_MS);
    }
    return NETPOOL_OK;
}

int64_t dialogue_deadline(const struct dialogue *dialogue)
{
    if (dialogue->state == DIALOGUE_GREETING || dialogue->state == DIALOGUE_HELLO_DUE) {
        return np_earlier(dialogue->next_expiry, dialogue->greeting_deadline);
    }
    return dialogue->next_expiry;
}

void dialogue_request_status(struct dialogue *dialogue)
{
    dialogue->status_wanted = true;
    dialogue->status_sent = false;
}

bool dialogue_is_welcome(const struct dialogue *dialogue)
{
    return dialogue->state == DIALOGUE_WELCOME;
}

bool dialogue_was_welcome(const struct dialogue *dialogue)
{
    return dialogue->was_welcome;
}

size_t dialogue_unfinished(const struct dialogue *dialogue)
{
    return dialogue->unfinished;
}

const struct dialogue_terms *dialogue_terms(const struct dialogue *dialogue)
{
    return &dialogue->terms;
}

const struct dialogue_counters *dialogue_counters(const struct dialogue *dialogue)
{
    return &dialogue->counters;
}
