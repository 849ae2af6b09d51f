#include "tests/unit/core_rig.h"

#include <stdlib.h>

#include "tests/support/block_of.h"

static void on_send(void *context, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                    bool urgent)
{
    struct rig *rig = context;
    netpool_error error;
    if (np_message_check(envelope, body_size, &error) != NETPOOL_OK) {
        fail_msg("the core sent a wrong message: %s", error.message);
    }
    assert_true(rig->count < RIG_MESSAGES_MAX);
    struct rig_message *message = &rig->messages[rig->count++];
    size_t size = np__envelope__get_packed_size(envelope);
    uint8_t *bytes = malloc(size + 1);
    assert_non_null(bytes);
    np__envelope__pack(envelope, bytes);
    message->peer = peer;
    message->envelope = np__envelope__unpack(NULL, size, bytes);
    assert_non_null(message->envelope);
    free(bytes);
    message->body = np_message_take_body(&(struct np_message){.body = body, .body_size = body_size});
    assert_non_null(message->body);
    message->body_size = body_size;
    message->urgent = urgent;
}

static void on_close(void *context, uint64_t peer, netpool_status status, const char *reason)
{
    struct rig *rig = context;
    rig->closed_peer = peer;
    rig->closed_status = status;
    snprintf(rig->closed_reason, sizeof rig->closed_reason, "%s", reason);
}

struct rig *rig_new(const struct core_config *config)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    struct core_config own = {.epoch = 7, .recovery_ns = -1, .address = "here"};
    if (config != NULL) {
        own = *config;
        own.epoch = own.epoch == 0 ? 7 : own.epoch;
    }
    struct core_output output = {.context = rig, .send = on_send, .close = on_close};
    rig->now = NP_NS_PER_S;
    assert_int_equal(core_new(&rig->core, &own, &output, rig->now), NETPOOL_OK);
    return rig;
}

void rig_free(struct rig *rig)
{
    core_check(rig->core);
    core_destroy(&rig->core);
    assert_null(rig->core);
    for (size_t i = 0; i < rig->count; i++) {
        np__envelope__free_unpacked(rig->messages[i].envelope, NULL);
        np_block_free(rig->messages[i].body);
    }
    free(rig);
}

void rig_flush(struct rig *rig)
{
    core_flush(rig->core, rig->now);
    core_check(rig->core);
}

void rig_advance(struct rig *rig, int64_t ms)
{
    rig->now += ms * NP_NS_PER_MS;
    core_tick(rig->core, rig->now);
    rig_flush(rig);
    assert_true(core_deadline(rig->core) > rig->now);
}

void rig_give(struct rig *rig, uint64_t peer, const Np__Envelope *envelope, const void *body, size_t body_size)
{
    netpool_error error;
    if (np_message_check(envelope, body_size, &error) != NETPOOL_OK) {
        fail_msg("the test sent a wrong message: %s", error.message);
    }
    void *block = block_of(body, body_size);
    rig->given = block;
    struct np_message message = {.envelope = envelope, .body = block, .body_size = body_size};
    core_receive(rig->core, peer, &message, rig->now);
    np_block_free(block);
    core_check(rig->core);
}

void rig_disconnect(struct rig *rig, uint64_t peer, bool orderly)
{
    core_disconnect(rig->core, peer, orderly, rig->now);
    core_check(rig->core);
}

Np__Hello rig_hello_of(Np__Role role, uint8_t id)
{
    static uint8_t sessions[256][NP_SESSION_SIZE];
    Np__Hello hello = NP__HELLO__INIT;
    sessions[id][0] = id;
    hello.version_min = hello.version_max = 1;
    hello.role = role;
    hello.name = (char *)(role == NP__ROLE__WORKER ? "worker" : "client");
    hello.host = (char *)"host";
    hello.session.data = sessions[id];
    hello.session.len = NP_SESSION_SIZE;
    return hello;
}

uint64_t rig_hello(struct rig *rig, const Np__Hello *hello, Np__Role vouched, const char *name)
{
    uint64_t peer = ++rig->next_peer;
    core_connect(rig->core, peer, &(struct core_peer){.role = vouched, .name = name, .address = "rig"}, rig->now);
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = (Np__Hello *)hello;
    rig_give(rig, peer, &envelope, NULL, 0);
    return peer;
}

uint64_t rig_client(struct rig *rig, uint8_t id, bool resume)
{
    Np__Hello hello = rig_hello_of(NP__ROLE__CLIENT, id);
    hello.resume = resume;
    uint64_t peer = rig_hello(rig, &hello, NP__ROLE__NONE, "");
    rig_flush(rig);
    return peer;
}

/* Cuts the text at its spaces. Returns the number of words. */
static size_t split(char *text, char **words, size_t most)
{
    size_t count = 0;
    char *save = NULL;
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        assert_true(count < most);
        words[count++] = word;
    }
    return count;
}

static uint64_t hello_worker(struct rig *rig, uint8_t id, unsigned slots, const char *functions, const char *labels)
{
    char text[256];
    char label_text[256];
    char *names[16];
    char *label_names[16];
    char own_name[16];
    snprintf(text, sizeof text, "%s", functions);
    snprintf(label_text, sizeof label_text, "%s", labels);
    snprintf(own_name, sizeof own_name, "worker-%u", id);
    Np__Hello hello = rig_hello_of(NP__ROLE__WORKER, id);
    hello.n_functions = split(text, names, 16);
    hello.n_labels = split(label_text, label_names, 16);
    hello.name = own_name;
    hello.functions = names;
    hello.labels = label_names;
    hello.slots = slots;
    hello.window_bytes = 1 << 20;
    uint64_t peer = rig_hello(rig, &hello, NP__ROLE__NONE, "");
    rig_flush(rig);
    return peer;
}

uint64_t rig_joining_worker(struct rig *rig, uint8_t id, unsigned slots, const char *functions)
{
    return hello_worker(rig, id, slots, functions, "");
}

uint64_t rig_labelled_worker(struct rig *rig, uint8_t id, unsigned slots, const char *functions, const char *labels)
{
    uint64_t peer = hello_worker(rig, id, slots, functions, labels);
    rig_say(rig, peer, NP__ENVELOPE__KIND_READY);
    rig_flush(rig);
    return peer;
}

uint64_t rig_worker(struct rig *rig, uint8_t id, unsigned slots, const char *functions)
{
    uint64_t peer = rig_joining_worker(rig, id, slots, functions);
    rig_say(rig, peer, NP__ENVELOPE__KIND_READY);
    rig_flush(rig);
    return peer;
}

void rig_submit(struct rig *rig, uint64_t client, struct rig_task task)
{
    assert_true(task.count <= NP_BATCH_TASKS_MAX);
    uint64_t *seqs = calloc(task.count, sizeof *seqs);
    uint32_t *sizes = calloc(task.count, sizeof *sizes);
    uint64_t *lanes = calloc(task.count, sizeof *lanes);
    uint8_t *body = calloc(1, task.count * task.size + 1);
    assert_true(seqs != NULL && sizes != NULL && lanes != NULL && body != NULL);
    for (uint64_t i = 0; i < task.count; i++) {
        seqs[i] = task.first + i;
        sizes[i] = task.size;
        lanes[i] = task.lane;
        memset(body + i * task.size, (int)(task.first + i), task.size);
    }
    Np__Submit submit = NP__SUBMIT__INIT;
    submit.function = (char *)task.function;
    submit.n_seqs = submit.n_sizes = task.count;
    submit.seqs = seqs;
    submit.sizes = sizes;
    submit.priority = task.priority;
    submit.max_attempts = task.max_attempts;
    submit.expiry_ms = task.expiry_ms;
    submit.at_most_once = task.at_most_once;
    submit.resumed = task.resumed;
    submit.n_lanes = task.lane != 0 ? task.count : 0;
    submit.lanes = lanes;
    char text[256];
    char *labels[16];
    snprintf(text, sizeof text, "%s", task.labels != NULL ? task.labels : "");
    submit.n_labels = split(text, labels, 16);
    submit.labels = labels;
    submit.slots = task.slots;
    submit.retry_delay_ms = task.retry_delay_ms;
    submit.retry_failures = task.retry_failures;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    rig_give(rig, client, &envelope, body, task.count * task.size);
    free(seqs);
    free(sizes);
    free(lanes);
    free(body);
}

static void cancel_one(struct rig *rig, uint64_t client, uint64_t seq, bool unstarted_only)
{
    Np__Cancel cancel = NP__CANCEL__INIT;
    cancel.unstarted_only = unstarted_only;
    cancel.n_seqs = 1;
    cancel.seqs = &seq;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CANCEL;
    envelope.cancel = &cancel;
    rig_give(rig, client, &envelope, NULL, 0);
}

void rig_cancel(struct rig *rig, uint64_t client, uint64_t seq)
{
    cancel_one(rig, client, seq, false);
}

void rig_cancel_unstarted(struct rig *rig, uint64_t client, uint64_t seq)
{
    cancel_one(rig, client, seq, true);
}

void rig_acknowledge(struct rig *rig, uint64_t client, uint64_t first, uint64_t count)
{
    for (uint64_t seq = first; seq < first + count; seq++) {
        Np__Acknowledge acknowledge = NP__ACKNOWLEDGE__INIT;
        acknowledge.n_seqs = 1;
        acknowledge.seqs = &seq;
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_ACKNOWLEDGE;
        envelope.acknowledge = &acknowledge;
        rig_give(rig, client, &envelope, NULL, 0);
    }
}

void rig_result(struct rig *rig, uint64_t worker, struct rig_result row)
{
    uint8_t session[NP_SESSION_SIZE] = {row.session};
    uint32_t attempt = row.attempt == 0 ? 1 : row.attempt;
    uint32_t status = (uint32_t)row.status;
    uint8_t *body = calloc(1, row.size + 1);
    assert_non_null(body);
    Np__Failure failure = NP__FAILURE__INIT;
    failure.message = (char *)(row.message != NULL ? row.message : "it went wrong");
    failure.stack = (char *)(row.stack != NULL ? row.stack : "");
    failure.started = row.started;
    failure.signal = 11;
    Np__Failure *failures[] = {&failure};
    Np__Results results = NP__RESULTS__INIT;
    results.session.data = session;
    results.session.len = NP_SESSION_SIZE;
    results.epoch = row.epoch == 0 ? rig->core->config.epoch : row.epoch;
    results.n_seqs = results.n_sizes = results.n_attempts = results.n_statuses = results.n_compute_ns = 1;
    results.seqs = &row.seq;
    results.sizes = &row.size;
    results.attempts = &attempt;
    results.statuses = &status;
    results.compute_ns = &row.compute_ns;
    results.n_wait_ns = row.wait_ns > 0;
    results.wait_ns = &row.wait_ns;
    results.n_failures = row.status != NETPOOL_OK;
    results.failures = failures;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    rig_give(rig, worker, &envelope, body, row.size);
    free(body);
}

void rig_returned(struct rig *rig, uint64_t worker, uint8_t session_id, uint64_t seq, uint32_t attempt, bool end)
{
    uint8_t session[NP_SESSION_SIZE] = {session_id};
    Np__Returned returned = NP__RETURNED__INIT;
    if (seq != 0) {
        returned.session.data = session;
        returned.session.len = NP_SESSION_SIZE;
        returned.n_seqs = returned.n_attempts = 1;
        returned.seqs = &seq;
        returned.attempts = &attempt;
    }
    returned.end = end;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RETURNED;
    envelope.returned = &returned;
    rig_give(rig, worker, &envelope, NULL, 0);
}

void rig_held(struct rig *rig, uint64_t worker, uint8_t session_id, uint64_t epoch, uint64_t seq, uint32_t attempt)
{
    uint8_t session[NP_SESSION_SIZE] = {session_id};
    Np__Held held = NP__HELD__INIT;
    held.session.data = session;
    held.session.len = NP_SESSION_SIZE;
    held.epoch = epoch;
    held.n_seqs = held.n_attempts = 1;
    held.seqs = &seq;
    held.attempts = &attempt;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELD;
    envelope.held = &held;
    rig_give(rig, worker, &envelope, NULL, 0);
}

void rig_prepare(struct rig *rig, uint64_t client, const char *initializer, const char *input, uint32_t max_tasks)
{
    Np__Prepare prepare = NP__PREPARE__INIT;
    prepare.initializer = (char *)initializer;
    prepare.max_tasks_per_executor = max_tasks;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PREPARE;
    envelope.prepare = &prepare;
    rig_give(rig, client, &envelope, input, strlen(input));
}

void rig_progress(struct rig *rig, uint64_t worker, uint8_t session_id, uint64_t epoch, uint64_t seq, uint64_t done,
                  uint64_t total)
{
    uint8_t session[NP_SESSION_SIZE] = {session_id};
    Np__Progress progress = NP__PROGRESS__INIT;
    progress.session.data = session;
    progress.session.len = NP_SESSION_SIZE;
    progress.epoch = epoch == 0 ? rig->core->config.epoch : epoch;
    progress.n_seqs = progress.n_done = progress.n_total = 1;
    progress.seqs = &seq;
    progress.done = &done;
    progress.total = &total;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
    envelope.progress = &progress;
    rig_give(rig, worker, &envelope, NULL, 0);
}

void rig_say(struct rig *rig, uint64_t peer, Np__Envelope__KindCase kind)
{
    Np__Ready ready = NP__READY__INIT;
    Np__Drain drain = NP__DRAIN__INIT;
    Np__StatusRequest request = NP__STATUS_REQUEST__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = kind;
    if (kind == NP__ENVELOPE__KIND_READY) {
        envelope.ready = &ready;
    } else if (kind == NP__ENVELOPE__KIND_DRAIN) {
        envelope.drain = &drain;
    } else {
        envelope.status_request = &request;
    }
    rig_give(rig, peer, &envelope, NULL, 0);
}

const struct rig_message *rig_take(struct rig *rig, uint64_t peer, Np__Envelope__KindCase kind)
{
    for (size_t i = 0; i < rig->count; i++) {
        struct rig_message *message = &rig->messages[i];
        if (!message->taken && message->peer == peer && message->envelope->kind_case == kind) {
            message->taken = true;
            return message;
        }
    }
    return NULL;
}

size_t rig_take_assigned(struct rig *rig, uint64_t worker)
{
    size_t count = 0;
    const struct rig_message *message;
    while ((message = rig_take(rig, worker, NP__ENVELOPE__KIND_ASSIGN)) != NULL) {
        count += message->envelope->assign->n_seqs;
    }
    return count;
}

bool rig_take_result(struct rig *rig, uint64_t client, uint64_t seq, netpool_status *status, uint32_t *attempt)
{
    const struct rig_message *message;
    while ((message = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS)) != NULL) {
        const Np__Results *results = message->envelope->results;
        for (size_t i = 0; i < results->n_seqs; i++) {
            if (results->seqs[i] != seq) {
                continue;
            }
            *status = results->n_statuses > 0 ? (netpool_status)results->statuses[i] : NETPOOL_OK;
            if (attempt != NULL) {
                *attempt = results->n_attempts > 0 ? results->attempts[i] : 1;
            }
            return true;
        }
    }
    return false;
}

const Np__Failure *rig_take_failure(struct rig *rig, uint64_t client, uint64_t seq)
{
    const struct rig_message *message;
    while ((message = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS)) != NULL) {
        const Np__Results *results = message->envelope->results;
        for (size_t i = 0; i < results->n_failures; i++) {
            if (results->seqs[results->failures[i]->index] == seq) {
                return results->failures[i];
            }
        }
    }
    return NULL;
}

struct core_stats rig_stats(const struct rig *rig)
{
    struct core_stats stats;
    core_get_stats(rig->core, &stats);
    return stats;
}

struct task *rig_task_of(const struct rig *rig, uint8_t session_id, uint64_t seq)
{
    uint8_t id[NP_SESSION_SIZE] = {session_id};
    const struct session *session = session_find(rig->core, id);
    return session != NULL ? np_table_find(&session->tasks, seq) : NULL;
}

size_t rig_answer(struct rig *rig, uint64_t worker, uint8_t session, uint64_t compute_ns)
{
    size_t count = 0;
    const struct rig_message *message;
    while ((message = rig_take(rig, worker, NP__ENVELOPE__KIND_ASSIGN)) != NULL) {
        const Np__Assign *assign = message->envelope->assign;
        for (size_t i = 0; i < assign->n_seqs; i++) {
            rig_result(rig, worker,
                       (struct rig_result){.session = session == 0 ? assign->session.data[0] : session,
                                           .seq = assign->seqs[i],
                                           .compute_ns = compute_ns});
            count++;
        }
    }
    rig_flush(rig);
    return count;
}

uint64_t rig_tried_worker(struct rig *rig, uint64_t client, uint8_t session, struct rig_trial trial)
{
    uint64_t worker = rig_worker(rig, trial.id, trial.slots, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    rig_answer(rig, worker, session, trial.compute_ns);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = trial.count});
    rig_flush(rig);
    return worker;
}
