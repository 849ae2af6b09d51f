/*
 * A broker against two peers that may say anything: the input is a sequence of segments (u8 peer, u16 size, bytes)
 * that are fed to the channel of a client (even) or a worker (odd); half the first byte is how many milliseconds
 * later. What stands between socket and core in the real broker is OpenSSL alone.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/core.h"
#include "common/clock.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/memory_link.h"
#include "transport/channel.h"

enum { PEERS = 2, SEGMENT_PREFIX = 3, MAX_PAYLOAD = 1024 * 1024 };

struct peer {
    struct broker *broker;
    struct memory_wire wire;
    struct channel *channel;
    bool connected; /* the core knows it */
};

struct broker {
    struct reactor *reactor;
    struct core *core;
    struct peer peers[PEERS];
    int64_t now; /* virtual: the core never sees the real clock */
};

static void on_opened(void *owner, struct channel *channel)
{
    struct peer *peer = owner;
    struct core_peer who = {.role = NP__ROLE__NONE, .name = "", .address = "fuzz"};
    core_connect(peer->broker->core, channel_id(channel), &who, peer->broker->now);
    peer->connected = true;
}

static void on_received(void *owner, struct channel *channel, struct np_message *message)
{
    struct peer *peer = owner;
    if (!peer->connected) {
        return;
    }
    if (message->envelope->kind_case == NP__ENVELOPE__KIND_HELLO) {
        channel_set_remote_role(channel, message->envelope->hello->role);
    }
    core_receive(peer->broker->core, channel_id(channel), message, peer->broker->now);
}

static void on_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    (void)reason;
    struct peer *peer = owner;
    if (peer->connected) {
        peer->connected = false;
        core_disconnect(peer->broker->core, channel_id(channel), status == NETPOOL_CLOSED, peer->broker->now);
    }
}

static const struct channel_handler handler = {on_opened, on_received, on_closed};

static struct peer *find_peer(struct broker *broker, uint64_t id)
{
    for (size_t i = 0; i < PEERS; i++) {
        if (channel_id(broker->peers[i].channel) == id) {
            return &broker->peers[i];
        }
    }
    abort();
}

static void send_effect(void *context, uint64_t id, Np__Envelope *envelope, const void *body, size_t body_size,
                        bool urgent)
{
    struct peer *peer = find_peer(context, id);
    netpool_error error;
    if (np_message_check(envelope, body_size, &error) != NETPOOL_OK) {
        abort(); /* whatever a peer says, the core's own messages are well-formed */
    }
    if (channel_send(peer->channel, envelope, body, body_size, urgent ? CHANNEL_URGENT : CHANNEL_IN_ORDER) !=
        NETPOOL_OK) {
        abort();
    }
}

static void close_effect(void *context, uint64_t id, netpool_status status, const char *reason)
{
    struct peer *peer = find_peer(context, id);
    peer->connected = false;
    channel_close(peer->channel, status, reason);
}

static void open_broker(struct broker *broker)
{
    struct core_config config = {.epoch = 7, .max_payload = MAX_PAYLOAD, .recovery_ns = -1};
    struct core_output output = {.context = broker, .send = send_effect, .close = close_effect};
    broker->now = NP_NS_PER_S;
    broker->reactor = fuzz_reactor();
    if (core_new(&broker->core, &config, &output, broker->now) != NETPOOL_OK) {
        abort();
    }
    struct channel_options options = {.local_role = NP__ROLE__BROKER, .max_payload = MAX_PAYLOAD};
    for (size_t i = 0; i < PEERS; i++) {
        struct peer *peer = &broker->peers[i];
        peer->broker = broker;
        memory_wire_init(&peer->wire);
        struct link *link = memory_link_new(&peer->wire.forth, &peer->wire.back);
        if (link == NULL ||
            channel_new(&peer->channel, broker->reactor, link, &options, &handler, peer, NULL) != NETPOOL_OK) {
            abort();
        }
    }
}

static void turn(struct broker *broker, unsigned later_ms)
{
    (void)reactor_turn(broker->reactor, 0);
    broker->now += (1 + later_ms) * NP_NS_PER_MS;
    core_tick(broker->core, broker->now);
    core_flush(broker->core, broker->now);
    for (size_t i = 0; i < PEERS; i++) {
        channel_flush(broker->peers[i].channel);
        np_buffer_clear(&broker->peers[i].wire.back.bytes);
    }
}

static void close_broker(struct broker *broker)
{
    core_check(broker->core);
    for (size_t i = 0; i < PEERS; i++) {
        struct peer *peer = &broker->peers[i];
        uint64_t id = channel_id(peer->channel);
        channel_destroy(&peer->channel);
        if (peer->connected) {
            core_disconnect(broker->core, id, true, broker->now);
        }
        memory_wire_fini(&peer->wire);
    }
    core_check(broker->core);
    core_destroy(&broker->core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct broker broker = {0};
    open_broker(&broker);
    turn(&broker, 0);
    while (size >= SEGMENT_PREFIX) {
        struct peer *peer = &broker.peers[data[0] % PEERS];
        unsigned later_ms = data[0] / PEERS;
        size_t length = (size_t)(data[1] | data[2] << 8);
        data += SEGMENT_PREFIX;
        size -= SEGMENT_PREFIX;
        length = length < size ? length : size;
        if (np_buffer_append(&peer->wire.forth.bytes, data, length) != NETPOOL_OK) {
            abort();
        }
        data += length;
        size -= length;
        channel_ready(peer->channel);
        turn(&broker, later_ms);
    }
    close_broker(&broker);
    return 0;
}

static uint8_t sessions[PEERS][16] = {"client session.", "worker session."};

static void append_segments(struct np_buffer *out, uint8_t peer, Np__Envelope *envelope, const void *body,
                            size_t size)
{
    struct np_buffer frames = {0};
    fuzz_append_message(&frames, envelope, body, size);
    while (np_buffer_size(&frames) > 0) {
        size_t length = np_buffer_size(&frames) < 60000 ? np_buffer_size(&frames) : 60000;
        uint8_t prefix[SEGMENT_PREFIX] = {peer, (uint8_t)length, (uint8_t)(length >> 8)};
        if (np_buffer_append(out, prefix, sizeof prefix) != NETPOOL_OK ||
            np_buffer_append(out, np_buffer_data(&frames), length) != NETPOOL_OK) {
            abort();
        }
        np_buffer_consume(&frames, length);
    }
    np_buffer_fini(&frames);
}

/* Nothing is said for so long. */
static void append_pause(struct np_buffer *out, unsigned ms)
{
    uint8_t prefix[SEGMENT_PREFIX] = {(uint8_t)(ms * PEERS)};
    if (np_buffer_append(out, prefix, sizeof prefix) != NETPOOL_OK) {
        abort();
    }
}

static void append_hello(struct np_buffer *out, uint8_t peer)
{
    char *functions[] = {(char *)(uintptr_t) "echo", (char *)(uintptr_t) "noop"};
    char *labels[] = {(char *)(uintptr_t) "gpu=1"};
    Np__Hello hello = NP__HELLO__INIT;
    hello.version_min = hello.version_max = NP_PROTOCOL_VERSION_MAX;
    hello.role = peer == 0 ? NP__ROLE__CLIENT : NP__ROLE__WORKER;
    hello.name = (char *)(uintptr_t)(peer == 0 ? "program" : "worker-1");
    hello.host = (char *)(uintptr_t) "host";
    hello.session = (ProtobufCBinaryData){sizeof sessions[peer], sessions[peer]};
    hello.max_payload = MAX_PAYLOAD;
    if (peer == 1) {
        hello.slots = 2;
        hello.window_bytes = 10 * MAX_PAYLOAD;
        hello.functions = functions;
        hello.n_functions = 2;
        hello.labels = labels;
        hello.n_labels = 1;
    }
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    append_segments(out, peer, &envelope, NULL, 0);
}

static void append_ready(struct np_buffer *out)
{
    Np__Ready ready = NP__READY__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_READY;
    envelope.ready = &ready;
    append_segments(out, 1, &envelope, NULL, 0);
}

static void append_submit(struct np_buffer *out, uint64_t *seqs, uint32_t *sizes, size_t count, const void *body)
{
    Np__Submit submit = NP__SUBMIT__INIT;
    submit.function = (char *)(uintptr_t) "echo";
    submit.seqs = seqs;
    submit.sizes = sizes;
    submit.n_seqs = submit.n_sizes = count;
    submit.max_attempts = 2;
    submit.expiry_ms = 50;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += sizes[i];
    }
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    append_segments(out, 0, &envelope, body, total);
}

static void append_results(struct np_buffer *out, uint64_t *seqs, uint32_t *statuses, uint32_t *sizes, size_t count,
                           const void *body)
{
    Np__Failure failure = NP__FAILURE__INIT;
    failure.index = 1;
    failure.message = (char *)(uintptr_t) "segmentation fault";
    failure.signal = 11;
    failure.stack = (char *)(uintptr_t) "inner at a.c:3\nouter at a.c:9";
    failure.started = true;
    Np__Failure *failures[] = {&failure};
    Np__Results results = NP__RESULTS__INIT;
    results.session = (ProtobufCBinaryData){sizeof sessions[0], sessions[0]};
    results.epoch = 7;
    results.seqs = seqs;
    results.sizes = sizes;
    results.statuses = statuses;
    results.n_seqs = results.n_sizes = results.n_statuses = count;
    results.failures = failures;
    results.n_failures = count > 1 ? 1 : 0;
    results.wait_ns = seqs; /* some times */
    results.n_wait_ns = count;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += sizes[i];
    }
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    append_segments(out, 1, &envelope, body, total);
}

static void append_acknowledge_and_cancel(struct np_buffer *out, uint64_t *seqs)
{
    Np__Acknowledge acknowledge = NP__ACKNOWLEDGE__INIT;
    acknowledge.seqs = seqs;
    acknowledge.n_seqs = 1;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_ACKNOWLEDGE;
    envelope.acknowledge = &acknowledge;
    append_segments(out, 0, &envelope, NULL, 0);
    Np__Cancel cancel = NP__CANCEL__INIT;
    cancel.seqs = seqs;
    cancel.n_seqs = 3;
    envelope.kind_case = NP__ENVELOPE__KIND_CANCEL;
    envelope.cancel = &cancel;
    append_segments(out, 0, &envelope, NULL, 0);
}

static void append_prepare(struct np_buffer *out, const char *initializer)
{
    Np__Prepare prepare = NP__PREPARE__INIT;
    prepare.initializer = (char *)(uintptr_t)initializer;
    prepare.max_tasks_per_executor = initializer[0] != '\0' ? 3 : 0;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PREPARE;
    envelope.prepare = &prepare;
    append_segments(out, 0, &envelope, "input", initializer[0] != '\0' ? 5 : 0);
}

static void append_progress(struct np_buffer *out, uint64_t *seqs)
{
    Np__Progress progress = NP__PROGRESS__INIT;
    progress.session = (ProtobufCBinaryData){sizeof sessions[0], sessions[0]};
    progress.epoch = 7;
    progress.seqs = progress.done = progress.total = seqs;
    progress.n_seqs = progress.n_done = progress.n_total = 3;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
    envelope.progress = &progress;
    append_segments(out, 1, &envelope, NULL, 0);
}

static void append_unstarted_cancel(struct np_buffer *out, uint64_t *seqs)
{
    Np__Cancel cancel = NP__CANCEL__INIT;
    cancel.seqs = seqs;
    cancel.n_seqs = 3;
    cancel.unstarted_only = true;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CANCEL;
    envelope.cancel = &cancel;
    append_segments(out, 0, &envelope, NULL, 0);
}

/* Tasks that ask for more than a function. */
static void append_choosy_submit(struct np_buffer *out, uint64_t *seqs)
{
    char *labels[] = {(char *)(uintptr_t) "gpu=1"};
    uint32_t sizes[] = {0, 0, 0};
    uint64_t lanes[] = {9, 9, 0};
    Np__Submit submit = NP__SUBMIT__INIT;
    submit.function = (char *)(uintptr_t) "noop";
    submit.seqs = seqs;
    submit.sizes = sizes;
    submit.lanes = lanes;
    submit.n_seqs = submit.n_sizes = submit.n_lanes = 3;
    submit.labels = labels;
    submit.n_labels = 1;
    submit.slots = 2;
    submit.retry_delay_ms = 10;
    submit.retry_failures = true;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    append_segments(out, 0, &envelope, NULL, 0);
}

static void append_returned_and_drain(struct np_buffer *out, uint64_t *seqs)
{
    Np__Returned returned = NP__RETURNED__INIT;
    returned.session = (ProtobufCBinaryData){sizeof sessions[0], sessions[0]};
    returned.seqs = seqs;
    returned.n_seqs = 1;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RETURNED;
    envelope.returned = &returned;
    append_segments(out, 1, &envelope, NULL, 0);
    Np__Drain drain = NP__DRAIN__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_DRAIN;
    envelope.drain = &drain;
    append_segments(out, 1, &envelope, NULL, 0);
}

static void append_held(struct np_buffer *out, uint64_t *seqs)
{
    Np__Held held = NP__HELD__INIT;
    held.session = (ProtobufCBinaryData){sizeof sessions[0], sessions[0]};
    held.epoch = 6;
    held.seqs = seqs;
    held.n_seqs = 3;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELD;
    envelope.held = &held;
    append_segments(out, 1, &envelope, NULL, 0);
}

_Bool fuzz_seed(unsigned index, struct np_buffer *out)
{
    static uint8_t body[70000];
    uint64_t seqs[] = {1, 2, 3};
    uint32_t sizes[] = {5, 0, 9};
    uint32_t statuses[] = {NETPOOL_OK, NETPOOL_CRASHED, NETPOOL_OK};
    uint32_t failing[] = {NETPOOL_FAILED, NETPOOL_CRASHED, NETPOOL_NOT_INITIALIZED};
    uint32_t nothing[] = {0, 0, 0};
    uint32_t large = sizeof body;
    uint64_t fourth = 4;
    switch (index) {
    case 0: /* tasks through a worker, one crashing, then cancel, return and drain */
        append_hello(out, 0);
        append_submit(out, seqs, sizes, 3, body);
        append_hello(out, 1);
        append_ready(out);
        append_results(out, seqs, statuses, sizes, 3, body);
        append_acknowledge_and_cancel(out, seqs);
        append_returned_and_drain(out, seqs);
        return 1;
    case 1: /* a worker that holds tasks of another epoch, and a large body each way */
        append_hello(out, 1);
        append_held(out, seqs);
        append_ready(out);
        append_hello(out, 0);
        append_submit(out, seqs, sizes, 3, body);
        append_submit(out, &fourth, &large, 1, body);
        append_results(out, &fourth, statuses, &large, 1, body);
        return 1;
    case 2: /* a prepared session with progress and gentle cancels, until its initializer fails */
        append_hello(out, 0);
        append_prepare(out, "echo");
        append_submit(out, seqs, sizes, 3, body);
        append_hello(out, 1);
        append_ready(out);
        append_progress(out, seqs);
        append_pause(out, 40);
        append_unstarted_cancel(out, seqs);
        append_pause(out, 100);
        append_prepare(out, "noop");
        append_results(out, seqs, failing, nothing, 3, NULL);
        append_prepare(out, "");
        return 1;
    case 3: /* lanes, labels, wide tasks, delays and retried failures */
        append_hello(out, 1);
        append_ready(out);
        append_hello(out, 0);
        append_choosy_submit(out, seqs);
        append_results(out, seqs, failing, nothing, 3, NULL);
        append_pause(out, 20);
        append_unstarted_cancel(out, seqs);
        append_results(out, seqs, nothing, nothing, 3, NULL);
        return 1;
    default:
        return 0;
    }
}
