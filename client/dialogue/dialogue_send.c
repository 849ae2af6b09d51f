#include "client/dialogue/dialogue_state.h"

#include <assert.h>
#include <string.h>

#include "common/block.h"
#include "common/clock.h"

/* What is written on every HELLO. */
#define SOFTWARE "netpool 0.1.0"

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text; /* packing does not write to it */
}

static netpool_status send_hello(struct dialogue *dialogue, const struct dialogue_output *output)
{
    Np__Hello hello = NP__HELLO__INIT;
    hello.version_min = NP_PROTOCOL_VERSION_MIN;
    hello.version_max = NP_PROTOCOL_VERSION_MAX;
    hello.role = dialogue->role;
    hello.software = text_of(SOFTWARE);
    hello.name = dialogue->name;
    hello.host = dialogue->host;
    hello.pid = dialogue->pid;
    hello.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = dialogue->id};
    hello.resume = dialogue->was_welcome;
    hello.max_payload = dialogue->max_payload;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    netpool_status status = output->send(output->context, &envelope, NULL, 0, false);
    if (status == NETPOOL_OK) {
        dialogue->state = DIALOGUE_GREETING;
    }
    return status;
}

static netpool_status send_status_request(struct dialogue *dialogue, const struct dialogue_output *output)
{
    Np__StatusRequest request = NP__STATUS_REQUEST__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_STATUS_REQUEST;
    envelope.status_request = &request;
    netpool_status status = output->send(output->context, &envelope, NULL, 0, false);
    dialogue->status_sent = status == NETPOOL_OK;
    return status;
}

static netpool_status send_acknowledge(const struct dialogue_output *output, uint64_t *seqs, size_t count)
{
    Np__Acknowledge acknowledge = NP__ACKNOWLEDGE__INIT;
    acknowledge.seqs = seqs;
    acknowledge.n_seqs = count;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_ACKNOWLEDGE;
    envelope.acknowledge = &acknowledge;
    return output->send(output->context, &envelope, NULL, 0, true);
}

static netpool_status send_any_cancel(const struct dialogue_output *output, uint64_t *seqs, size_t count,
                                      bool unstarted_only)
{
    Np__Cancel cancel = NP__CANCEL__INIT;
    cancel.seqs = seqs;
    cancel.n_seqs = count;
    cancel.unstarted_only = unstarted_only;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CANCEL;
    envelope.cancel = &cancel;
    return output->send(output->context, &envelope, NULL, 0, false);
}

static netpool_status send_cancel(const struct dialogue_output *output, uint64_t *seqs, size_t count)
{
    return send_any_cancel(output, seqs, count, false);
}

static netpool_status send_unstarted_cancel(const struct dialogue_output *output, uint64_t *seqs, size_t count)
{
    return send_any_cancel(output, seqs, count, true);
}

static netpool_status send_preparation(struct dialogue *dialogue, const struct dialogue_output *output)
{
    const struct dialogue_preparation *preparation = &dialogue->preparation;
    Np__Prepare prepare = NP__PREPARE__INIT;
    prepare.initializer = text_of(preparation->initializer != NULL ? preparation->initializer : "");
    prepare.max_tasks_per_executor = preparation->max_tasks_per_executor;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PREPARE;
    envelope.prepare = &prepare;
    netpool_status status =
        output->send(output->context, &envelope, preparation->input, preparation->input_size, false);
    dialogue->preparation_due = status != NETPOOL_OK;
    return status;
}

/* Sends the numbers gathered in `buffer` in messages of a batch's size. */
static netpool_status send_seqs(struct dialogue *dialogue, const struct dialogue_output *output,
                                struct np_buffer *buffer,
                                netpool_status (*send)(const struct dialogue_output *, uint64_t *, size_t))
{
    while (np_buffer_size(buffer) > 0) {
        size_t count = np_buffer_size(buffer) / sizeof(uint64_t);
        if (count > NP_BATCH_TASKS_MAX) {
            count = NP_BATCH_TASKS_MAX;
        }
        memcpy(dialogue->seqs, np_buffer_data(buffer), count * sizeof(uint64_t));
        netpool_status status = send(output, dialogue->seqs, count);
        if (status != NETPOOL_OK) {
            return status;
        }
        np_buffer_consume(buffer, count * sizeof(uint64_t));
    }
    return NETPOOL_OK;
}

/* What is left of its time, for the broker counts from when it gets the task. */
static uint64_t remaining_expiry_ms(const struct np_task *task, int64_t now)
{
    if (task->kind->expiry_ms == 0 || now <= task->submitted) { /* submitted since the turn of this flush began */
        return task->kind->expiry_ms;
    }
    uint64_t passed_ms = (uint64_t)((now - task->submitted) / NP_NS_PER_MS);
    return passed_ms < task->kind->expiry_ms ? task->kind->expiry_ms - passed_ms : 1;
}

static bool is_same_kind(const struct np_task_kind *a, const struct np_task_kind *b)
{
    return a == b ||
           (a->function == b->function && a->timeout_ms == b->timeout_ms && a->expiry_ms == b->expiry_ms &&
            a->max_attempts == b->max_attempts && a->priority == b->priority && a->item_in_size == b->item_in_size &&
            a->item_out_size == b->item_out_size && a->at_most_once == b->at_most_once && a->labels == b->labels &&
            a->slots == b->slots && a->retry_delay_ms == b->retry_delay_ms && a->retry_failures == b->retry_failures);
}

static bool is_credit_for(const struct dialogue *dialogue, size_t more_tasks, size_t more_bytes)
{
    return dialogue->used_tasks + more_tasks <= dialogue->credit_tasks &&
           dialogue->used_bytes + more_bytes <= dialogue->credit_bytes;
}

/* Whether `task` may follow `first` in a batch that has `count` tasks of `bytes` bytes. */
static bool fits(const struct dialogue *dialogue, const struct np_task *first, const struct np_task *task,
                 size_t count, size_t bytes, int64_t now)
{
    if (!is_credit_for(dialogue, count + 1, bytes + task->input_size)) {
        return false;
    }
    if (count == 0) {
        return true;
    }
    return count < NP_BATCH_TASKS_MAX && bytes + task->input_size <= NP_FRAME_BODY_MAX &&
           is_same_kind(task->kind, first->kind) && task->was_submitted_before == first->was_submitted_before &&
           (task->kind->expiry_ms == 0 || remaining_expiry_ms(task, now) == remaining_expiry_ms(first, now));
}

struct batch {
    size_t count;
    const uint8_t *body;
    size_t body_size;
    void *block;    /* made for a large body that is none; else NULL */
    bool has_items; /* a column is wanted: not all of it is 0 */
    bool has_lanes;
};

/* The body of a batch of one task that is too large for dialogue->body. */
static netpool_status take_large(const struct dialogue *dialogue, struct batch *batch, const struct np_task *task)
{
    batch->body = task->input;
    if (!task->is_input_block) {
        batch->block = np_block_new_in(dialogue->heap, task->input_size);
        if (batch->block == NULL) {
            return NETPOOL_NO_MEMORY;
        }
        batch->body = memcpy(batch->block, task->input, task->input_size);
    }
    return NETPOOL_OK;
}

/* Makes the next batch's columns from the front of the queue; the tasks stay there. */
static netpool_status gather(struct dialogue *dialogue, struct batch *batch, int64_t now)
{
    *batch = (struct batch){0};
    struct np_list *node = dialogue->queue.next;
    struct np_task *first = NP_CONTAINER(node, struct np_task, node);
    uint64_t next_seq = dialogue->next_seq;
    size_t count = 0;
    size_t bytes = 0;
    for (; node != &dialogue->queue; node = node->next) {
        struct np_task *task = NP_CONTAINER(node, struct np_task, node);
        if (!fits(dialogue, first, task, count, bytes, now)) {
            break;
        }
        dialogue->seqs[count] = task->seq != 0 ? task->seq : next_seq++;
        dialogue->sizes[count] = (uint32_t)task->input_size;
        dialogue->first_items[count] = task->first_item;
        dialogue->lanes[count] = task->lane;
        batch->has_items |= task->first_item != 0;
        batch->has_lanes |= task->lane != 0;
        if (task->input_size > 0 && bytes + task->input_size <= sizeof dialogue->body) {
            memcpy(dialogue->body + bytes, task->input, task->input_size);
        }
        bytes += task->input_size;
        count++;
    }
    batch->count = count;
    batch->body = dialogue->body;
    batch->body_size = bytes;
    return bytes <= sizeof dialogue->body ? NETPOOL_OK : take_large(dialogue, batch, first);
}

/* Books the tasks of a batch that was sent. */
static void book(struct dialogue *dialogue, size_t count, size_t bytes)
{
    struct np_list *node = dialogue->queue.next;
    for (size_t i = 0; i < count; i++, node = node->next) {
        struct np_task *task = NP_CONTAINER(node, struct np_task, node);
        task->seq = dialogue->seqs[i];
        task->state = NP_TASK_SENT;
        if (task->cancel_wanted != NP_CANCEL_NONE && dialogue_ask_cancel(dialogue, task) != NETPOOL_OK) {
            task->cancel_wanted = NP_CANCEL_NONE; /* as in dialogue_cancel */
        }
    }
    np_list_move_front(&dialogue->sent, &dialogue->queue, node);
    if (dialogue->seqs[count - 1] >= dialogue->next_seq) {
        dialogue->next_seq = dialogue->seqs[count - 1] + 1;
    }
    dialogue->used_tasks += count;
    dialogue->used_bytes += bytes;
    dialogue->counters.submitted += count;
    dialogue->counters.batches++;
}

static void withdraw_seqs(struct dialogue *dialogue, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        outstanding_take(&dialogue->by_seq, dialogue->seqs[i]);
    }
}

/* Enters the batch's tasks under their numbers; all or none. */
static netpool_status enter_seqs(struct dialogue *dialogue, size_t count)
{
    struct np_list *node = dialogue->queue.next;
    for (size_t i = 0; i < count; i++, node = node->next) {
        struct np_task *task = NP_CONTAINER(node, struct np_task, node);
        netpool_status status = outstanding_put(&dialogue->by_seq, dialogue->seqs[i], task);
        if (status != NETPOOL_OK) {
            withdraw_seqs(dialogue, i);
            return status;
        }
    }
    return NETPOOL_OK;
}

/* A message for the batch whose columns have been gathered. */
static void describe(struct dialogue *dialogue, const struct batch *batch, Np__Submit *submit, int64_t now)
{
    const struct np_task *first = NP_CONTAINER(dialogue->queue.next, struct np_task, node);
    const struct np_task_kind *kind = first->kind;
    submit->function = text_of(kind->function);
    submit->seqs = dialogue->seqs;
    submit->n_seqs = batch->count;
    submit->sizes = dialogue->sizes;
    submit->n_sizes = batch->count;
    submit->max_attempts = kind->max_attempts;
    submit->priority = kind->priority;
    submit->timeout_ms = kind->timeout_ms;
    submit->expiry_ms = remaining_expiry_ms(first, now);
    submit->at_most_once = kind->at_most_once;
    submit->resumed = first->was_submitted_before;
    submit->item_in_size = kind->item_in_size;
    submit->item_out_size = kind->item_out_size;
    submit->first_items = dialogue->first_items;
    submit->n_first_items = batch->has_items ? batch->count : 0;
    submit->lanes = dialogue->lanes;
    submit->n_lanes = batch->has_lanes ? batch->count : 0;
    submit->labels = (char **)(uintptr_t)kind->labels;
    submit->n_labels = kind->label_count;
    submit->slots = kind->slots;
    submit->retry_delay_ms = kind->retry_delay_ms;
    submit->retry_failures = kind->retry_failures;
}

static netpool_status send_batch(struct dialogue *dialogue, const struct dialogue_output *output, size_t *sent,
                                 int64_t now)
{
    struct batch batch;
    netpool_status status = gather(dialogue, &batch, now);
    *sent = 0;
    if (status != NETPOOL_OK || batch.count == 0) {
        return status; /* without a batch: no credit */
    }
    Np__Submit submit = NP__SUBMIT__INIT;
    describe(dialogue, &batch, &submit, now);
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    status = enter_seqs(dialogue, batch.count);
    if (status != NETPOOL_OK) {
        np_block_free(batch.block);
        return status;
    }
    status = output->send(output->context, &envelope, batch.body, batch.body_size, false);
    np_block_free(batch.block);
    if (status != NETPOOL_OK) {
        withdraw_seqs(dialogue, batch.count);
        return status;
    }
    book(dialogue, batch.count, batch.body_size);
    *sent = batch.body_size + batch.count * (sizeof(uint64_t) + sizeof(uint32_t));
    return NETPOOL_OK;
}

netpool_status dialogue_flush(struct dialogue *dialogue, const struct dialogue_output *output, size_t room,
                              int64_t now)
{
    if (dialogue->state == DIALOGUE_HELLO_DUE) {
        return send_hello(dialogue, output);
    }
    if (dialogue->state != DIALOGUE_WELCOME) {
        return NETPOOL_OK;
    }
    netpool_status status = send_seqs(dialogue, output, &dialogue->acknowledgements, send_acknowledge);
    if (status == NETPOOL_OK && dialogue->preparation_due) {
        status = send_preparation(dialogue, output);
    }
    if (status == NETPOOL_OK && dialogue->status_wanted && !dialogue->status_sent) {
        status = send_status_request(dialogue, output);
    }
    while (status == NETPOOL_OK && room > 0 && !np_list_is_empty(&dialogue->queue)) {
        size_t sent;
        status = send_batch(dialogue, output, &sent, now);
        if (sent == 0) {
            break;
        }
        room -= sent < room ? sent : room;
    }
    /* Last, as what was just submitted (again) may be among them. */
    if (status == NETPOOL_OK) {
        status = send_seqs(dialogue, output, &dialogue->unstarted_cancels, send_unstarted_cancel);
    }
    return status == NETPOOL_OK ? send_seqs(dialogue, output, &dialogue->cancels, send_cancel) : status;
}

bool dialogue_has_output(const struct dialogue *dialogue)
{
    if (dialogue->state == DIALOGUE_HELLO_DUE) {
        return true;
    }
    if (dialogue->state != DIALOGUE_WELCOME) {
        return false;
    }
    if (np_buffer_size(&dialogue->acknowledgements) > 0 || np_buffer_size(&dialogue->cancels) > 0 ||
        np_buffer_size(&dialogue->unstarted_cancels) > 0 || dialogue->preparation_due ||
        (dialogue->status_wanted && !dialogue->status_sent)) {
        return true;
    }
    struct np_list *front = np_list_front(&dialogue->queue);
    return front != NULL && is_credit_for(dialogue, 1, NP_CONTAINER(front, struct np_task, node)->input_size);
}
