/*
 * A client against a broker that lies (B42): the input is fed to the client's channel while tasks of several kinds
 * are outstanding. Whatever it says, each task ends exactly once and the client's memory is safe.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/dialogue/dialogue.h"
#include "common/block.h"
#include "common/clock.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/memory_link.h"
#include "transport/channel.h"

enum { TASKS = 6, INPUT_SIZE = 70000, MAX_PAYLOAD = 1024 * 1024 };

struct fuzz_task {
    struct np_task task;
    int ended;
};

struct client {
    struct reactor *reactor;
    struct memory_wire wire;
    struct channel *channel;
    struct dialogue *dialogue;
    struct fuzz_task tasks[TASKS];
    int64_t now;
    bool closed;
};

static void on_finished(struct np_task *task, const struct np_outcome *outcome)
{
    struct fuzz_task *fuzz_task = NP_CONTAINER(task, struct fuzz_task, task);
    fuzz_task->ended++;
    assert(fuzz_task->ended == 1);
    /* The bytes are really there. */
    uint8_t sum = 0;
    for (size_t i = 0; i < outcome->size; i++) {
        sum ^= outcome->data[i];
    }
    if (outcome->is_block && sum % 2 == 0) {
        np_block_free(np_block_share(outcome->data));
    }
}

static void on_received(void *owner, struct channel *channel, struct np_message *message)
{
    struct client *client = owner;
    netpool_error error = {0};
    netpool_status status = dialogue_receive(client->dialogue, message, client->now, &error);
    if (status != NETPOOL_OK) {
        channel_close(channel, status, error.message);
    }
}

static void on_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    (void)channel;
    (void)status;
    (void)reason;
    ((struct client *)owner)->closed = true;
}

static const struct channel_handler handler = {NULL, on_received, on_closed};

static netpool_status send_message(void *context, Np__Envelope *envelope, const void *body, size_t body_size,
                                   bool urgent)
{
    netpool_error error;
    if (np_message_check(envelope, body_size, &error) != NETPOOL_OK) {
        abort(); /* whatever a broker says, our own messages are well-formed */
    }
    return channel_send(((struct client *)context)->channel, envelope, body, body_size,
                        urgent ? CHANNEL_URGENT : CHANNEL_IN_ORDER);
}

static void turn(struct client *client)
{
    struct dialogue_output output = {.context = client, .send = send_message};
    (void)reactor_turn(client->reactor, 0);
    client->now += NP_NS_PER_MS;
    if (!client->closed) {
        if (dialogue_flush(client->dialogue, &output, SIZE_MAX, client->now) != NETPOOL_OK) {
            abort();
        }
        channel_flush(client->channel);
    }
    np_buffer_clear(&client->wire.forth.bytes);
}

static void on_progressed(struct np_task *task, uint64_t done, uint64_t total)
{
    uint64_t seen_done;
    uint64_t seen_total;
    np_task_progress(task, &seen_done, &seen_total);
    assert(NP_CONTAINER(task, struct fuzz_task, task)->ended == 0 && seen_done == done && seen_total == total);
}

static void open_client(struct client *client)
{
    static const char *const labels[] = {"gpu=1", "fast"};
    static const struct np_task_kind kinds[] = {{.function = "echo", .labels = labels, .label_count = 2, .slots = 2},
                                                {.function = "square", .item_in_size = 8, .item_out_size = 8},
                                                {.function = "noop", .retry_failures = true, .retry_delay_ms = 5}};
    static const uint8_t input[INPUT_SIZE];
    static const size_t sizes[TASKS] = {5, 64, 0, 9, 8, INPUT_SIZE};
    struct dialogue_config config = {
        .name = "fuzz",
        .host = "host",
        .pid = 1,
        .role = NP__ROLE__CLIENT,
        .max_payload = MAX_PAYLOAD,
        .preparation = {.initializer = "warm_up", .input = "x", .input_size = 1, .max_tasks_per_executor = 3}};
    memory_wire_init(&client->wire);
    client->now = NP_NS_PER_S;
    struct link *link = memory_link_new(&client->wire.back, &client->wire.forth);
    struct channel_options options = {.local_role = NP__ROLE__CLIENT, .max_payload = MAX_PAYLOAD};
    client->reactor = fuzz_reactor();
    if (dialogue_new(&client->dialogue, &config) != NETPOOL_OK || link == NULL ||
        channel_new(&client->channel, client->reactor, link, &options, &handler, client, NULL) != NETPOOL_OK) {
        abort();
    }
    channel_set_remote_role(client->channel, NP__ROLE__BROKER);
    (void)reactor_turn(client->reactor, 0);
    dialogue_connect(client->dialogue, client->now);
    for (size_t i = 0; i < TASKS; i++) {
        struct np_task *task = &client->tasks[i].task;
        task->kind = &kinds[i % 3];
        task->input = input;
        task->input_size = sizes[i];
        task->lane = i % 2;
        task->finished = on_finished;
        task->progressed = on_progressed;
        dialogue_submit(client->dialogue, task, client->now);
    }
    turn(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client client = {0};
    open_client(&client);
    while (size > 0) {
        /* In pieces, so that what the client answers falls between. */
        size_t length = size < 1500 ? size : 1500;
        if (np_buffer_append(&client.wire.back.bytes, data, length) != NETPOOL_OK) {
            abort();
        }
        data += length;
        size -= length;
        if (!client.closed) {
            channel_ready(client.channel);
            dialogue_cancel(client.dialogue, &client.tasks[2].task, NP_CANCEL_UNSTARTED, client.now);
            turn(&client);
        }
    }
    dialogue_fail(client.dialogue, NETPOOL_UNREACHABLE, "the broker is gone", client.now);
    for (size_t i = 0; i < TASKS; i++) {
        assert(client.tasks[i].ended == 1);
    }
    dialogue_destroy(&client.dialogue);
    channel_destroy(&client.channel);
    memory_wire_fini(&client.wire);
    return 0;
}

static void append_welcome(struct np_buffer *out)
{
    uint8_t broker[16] = "the broker's id";
    Np__Welcome welcome = NP__WELCOME__INIT;
    welcome.version = 1;
    welcome.broker = (ProtobufCBinaryData){sizeof broker, broker};
    welcome.epoch = 3;
    welcome.max_payload = MAX_PAYLOAD;
    welcome.credit_tasks = 100;
    welcome.credit_bytes = MAX_PAYLOAD;
    welcome.heartbeat_ms = 2000;
    welcome.timeout_ms = 8000;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_WELCOME;
    envelope.welcome = &welcome;
    fuzz_append_message(out, &envelope, NULL, 0);
}

static void append_results(struct np_buffer *out, uint64_t *seqs, uint32_t *sizes, size_t count, bool failing)
{
    static uint8_t body[INPUT_SIZE];
    Np__Attempt attempt = NP__ATTEMPT__INIT;
    attempt.attempt = 1;
    attempt.status = NETPOOL_CRASHED;
    Np__Attempt *attempts[] = {&attempt};
    Np__Failure failure = NP__FAILURE__INIT;
    failure.message = (char *)(uintptr_t) "crashed";
    failure.stack = (char *)(uintptr_t) "main\nf";
    failure.attempts = attempts;
    failure.n_attempts = 1;
    Np__Failure *failures[] = {&failure};
    uint32_t statuses[TASKS] = {NETPOOL_POISON};
    Np__Results results = NP__RESULTS__INIT;
    results.seqs = seqs;
    results.sizes = sizes;
    results.n_seqs = results.n_sizes = count;
    results.worker = (char *)(uintptr_t) "w1";
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += sizes[i];
    }
    if (failing) {
        results.statuses = statuses;
        results.n_statuses = count;
        results.failures = failures;
        results.n_failures = 1;
    }
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    fuzz_append_message(out, &envelope, body, total);
}

static void append_progress(struct np_buffer *out)
{
    uint64_t seqs[] = {1, 99, 5};
    uint64_t done[] = {3, 4, UINT64_MAX};
    uint64_t total[] = {30, 4, 1};
    Np__Progress progress = NP__PROGRESS__INIT;
    progress.seqs = seqs;
    progress.done = done;
    progress.total = total;
    progress.n_seqs = progress.n_done = progress.n_total = 3;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
    envelope.progress = &progress;
    fuzz_append_message(out, &envelope, NULL, 0);
}

static void append_goodbye(struct np_buffer *out)
{
    Np__Goodbye goodbye = NP__GOODBYE__INIT;
    goodbye.status = NETPOOL_CLOSED;
    goodbye.reason = (char *)(uintptr_t) "the broker ends";
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_GOODBYE;
    envelope.goodbye = &goodbye;
    fuzz_append_message(out, &envelope, NULL, 0);
}

_Bool fuzz_seed(unsigned index, struct np_buffer *out)
{
    uint64_t seqs[] = {1, 2, 3, 4, 5, 6};
    uint32_t sizes[] = {7, 64, 0, 3};
    uint32_t large = INPUT_SIZE;
    if (index > 0) {
        return 0;
    }
    append_welcome(out);
    append_progress(out);
    append_results(out, seqs, sizes, 3, true);
    append_results(out, seqs + 5, &large, 1, false);
    append_results(out, seqs + 1, sizes + 1, 3, false);
    append_goodbye(out);
    return 1;
}
