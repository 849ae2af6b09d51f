#include "tests/unit/dialogue_lab.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/support/block_of.h"

static void forget_sent(struct lab *lab)
{
    for (size_t i = 0; i < lab->sent_count; i++) {
        np__envelope__free_unpacked(lab->sent[i].envelope, NULL);
        np_block_free(lab->sent[i].body);
    }
    lab->sent_count = 0;
}

static netpool_status keep_sent(void *context, Np__Envelope *envelope, const void *body, size_t body_size,
                                bool urgent)
{
    struct lab *lab = context;
    netpool_error error = {0};
    if (lab->outputs_left == 0 && lab->output != NETPOOL_OK) {
        return lab->output;
    }
    lab->outputs_left -= lab->outputs_left > 0;
    if (np_message_check(envelope, body_size, &error) != NETPOOL_OK) {
        fail_msg("sent: %s", error.message);
    }
    assert_true(np_message_is_allowed(NP__ROLE__CLIENT, NP__ROLE__BROKER, envelope->kind_case));
    assert_true(lab->sent_count < LAB_SENT_MAX);
    size_t size = np__envelope__get_packed_size(envelope);
    uint8_t *packed = test_malloc(size);
    np__envelope__pack(envelope, packed);
    struct lab_sent *sent = &lab->sent[lab->sent_count++];
    sent->envelope = np__envelope__unpack(NULL, size, packed);
    test_free(packed);
    assert_non_null(sent->envelope);
    sent->body = np_message_take_body(&(struct np_message){.body = body, .body_size = body_size});
    assert_non_null(sent->body);
    sent->body_size = body_size;
    sent->urgent = urgent;
    return NETPOOL_OK;
}

static void count_status(void *context, const Np__Status *status)
{
    (void)status;
    ((struct lab *)context)->statuses++;
}

void lab_init(struct lab *lab)
{
    lab_init_prepared(lab, (struct dialogue_preparation){0});
}

void lab_init_prepared(struct lab *lab, struct dialogue_preparation preparation)
{
    struct dialogue_config config = {.id = {1, 2, 3},
                                     .name = "lab",
                                     .host = "here",
                                     .pid = 42,
                                     .role = NP__ROLE__CLIENT,
                                     .max_payload = 1 << 20,
                                     .preparation = preparation,
                                     .status_received = count_status,
                                     .context = lab};
    *lab = (struct lab){.now = 1000 * NP_NS_PER_S};
    lab->tasks = calloc(LAB_TASKS_MAX, sizeof *lab->tasks);
    assert_non_null(lab->tasks);
    assert_int_equal(dialogue_new(&lab->dialogue, &config), NETPOOL_OK);
}

void lab_fini(struct lab *lab)
{
    forget_sent(lab);
    dialogue_fail(lab->dialogue, NETPOOL_CLOSED, "the test is over", lab->now);
    dialogue_destroy(&lab->dialogue);
    assert_null(lab->dialogue);
    for (size_t i = 0; i < LAB_TASKS_MAX; i++) {
        np_block_free(lab->tasks[i].taken);
    }
    free(lab->tasks);
}

netpool_status lab_receive(struct lab *lab, Np__Envelope *envelope, const void *body, size_t body_size)
{
    netpool_error error = {0};
    void *block = block_of(body, body_size);
    lab->given = block;
    struct np_message message = {.envelope = envelope, .body = block, .body_size = body_size};
    netpool_status status = dialogue_receive(lab->dialogue, &message, lab->now, &error);
    np_block_free(block);
    return status;
}

netpool_status lab_welcome(struct lab *lab, struct lab_welcome parameters)
{
    uint8_t broker[NP_SESSION_SIZE] = {9};
    Np__Welcome welcome = NP__WELCOME__INIT;
    welcome.version = parameters.version > 0 ? parameters.version : 1;
    welcome.broker = (ProtobufCBinaryData){sizeof broker, broker};
    welcome.epoch = 7;
    welcome.resumed = parameters.resumed;
    welcome.received_seq = parameters.received_seq;
    welcome.max_payload = 1 << 20;
    welcome.credit_tasks = parameters.credit_tasks;
    welcome.credit_bytes = parameters.credit_bytes;
    welcome.heartbeat_ms = 2000;
    welcome.timeout_ms = 8000;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_WELCOME;
    envelope.welcome = &welcome;
    dialogue_connect(lab->dialogue, lab->now);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    (void)lab_sent(lab, 0, NP__ENVELOPE__KIND_HELLO);
    return lab_receive(lab, &envelope, NULL, 0);
}

void lab_open(struct lab *lab)
{
    struct lab_welcome generous = {.credit_tasks = 1 << 20, .credit_bytes = 1 << 30};
    assert_int_equal(lab_welcome(lab, generous), NETPOOL_OK);
}

static void task_finished(struct np_task *task, const struct np_outcome *outcome)
{
    struct lab_task *mine = NP_CONTAINER(task, struct lab_task, task);
    mine->ended++;
    mine->status = outcome->status;
    mine->attempt = outcome->attempt;
    mine->size = outcome->size;
    mine->reason = outcome->reason;
    mine->item = outcome->failure != NULL ? outcome->failure->item : 0;
    if (outcome->is_block) {
        mine->taken = np_block_share(outcome->data);
    } else if (outcome->size < LAB_RESULT_MAX) {
        memcpy(mine->result, outcome->data, outcome->size);
        mine->result[outcome->size] = '\0';
    }
    if (mine->submit_again) {
        mine->submit_again = false;
        dialogue_submit(mine->lab->dialogue, task, outcome->now);
    }
}

static void task_progressed(struct np_task *task, uint64_t done, uint64_t total)
{
    struct lab_task *mine = NP_CONTAINER(task, struct lab_task, task);
    mine->progressed++;
    mine->done = done;
    mine->total = total;
}

void lab_submit_in_lane(struct lab *lab, size_t i, const struct np_task_kind *kind, uint64_t lane)
{
    struct lab_task *task = &lab->tasks[i];
    task->lab = lab;
    task->task = (struct np_task){
        .kind = kind, .lane = lane, .input = "", .finished = task_finished, .progressed = task_progressed};
    dialogue_submit(lab->dialogue, &task->task, lab->now);
}

void lab_submit(struct lab *lab, size_t i, const struct np_task_kind *kind, const void *input, size_t size)
{
    struct lab_task *task = &lab->tasks[i];
    task->lab = lab;
    task->task = (struct np_task){.kind = kind, .input = input, .input_size = size, .finished = task_finished};
    dialogue_submit(lab->dialogue, &task->task, lab->now);
}

netpool_status lab_progress(struct lab *lab, uint64_t seq, uint64_t done, uint64_t total)
{
    Np__Progress progress = NP__PROGRESS__INIT;
    progress.seqs = &seq;
    progress.done = &done;
    progress.total = &total;
    progress.n_seqs = progress.n_done = progress.n_total = 1;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
    envelope.progress = &progress;
    return lab_receive(lab, &envelope, NULL, 0);
}

netpool_status lab_flush_room(struct lab *lab, size_t room)
{
    struct dialogue_output output = {.context = lab, .send = keep_sent};
    forget_sent(lab);
    return dialogue_flush(lab->dialogue, &output, room, lab->now);
}

netpool_status lab_flush(struct lab *lab)
{
    return lab_flush_room(lab, SIZE_MAX);
}

const Np__Envelope *lab_sent(const struct lab *lab, size_t i, Np__Envelope__KindCase kind)
{
    assert_true(i < lab->sent_count);
    assert_string_equal(np_message_kind_name(lab->sent[i].envelope->kind_case), np_message_kind_name(kind));
    return lab->sent[i].envelope;
}

netpool_status lab_credit(struct lab *lab, uint64_t tasks, uint64_t bytes)
{
    Np__Credit credit = NP__CREDIT__INIT;
    credit.tasks = tasks;
    credit.bytes = bytes;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CREDIT;
    envelope.credit = &credit;
    return lab_receive(lab, &envelope, NULL, 0);
}

netpool_status lab_results(struct lab *lab, Np__Results *results, const void *body, size_t body_size)
{
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = results;
    return lab_receive(lab, &envelope, body, body_size);
}

netpool_status lab_result(struct lab *lab, uint64_t seq, const char *text)
{
    Np__Results results = NP__RESULTS__INIT;
    uint32_t size = (uint32_t)strlen(text);
    results.seqs = &seq;
    results.sizes = &size;
    results.n_seqs = results.n_sizes = 1;
    return lab_results(lab, &results, text, size);
}
