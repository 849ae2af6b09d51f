/*
 * The parts that every task passes, in one process and without waiting, to be counted by valgrind.
 *
 *     perf_paths PATH COUNT
 *
 *     core        the broker's core: submit, assign, result, acknowledge; 1,000 tasks queued, two workers
 *     dialogue    the client's: submit, result, acknowledge
 *     stream      all of the client library around it: put, and next
 *     submit      the same with a future a task: submit, wait, free
 *     channel     Submit messages through two channels over a wire in memory: encode, frame, check, decode
 *
 * Batches have 256 tasks of 16 bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/dialogue/dialogue.h"
#include "client/netpool.h"
#include "common/clock.h"
#include "tests/perf/instant_pool.h"
#include "tests/sim/throughput.h"
#include "tests/support/memory_link.h"
#include "transport/channel.h"

enum { BATCH = INSTANT_BATCH, PAYLOAD = 16 };

static const char sixteen_bytes[PAYLOAD] = "sixteen bytes..";

static void require(bool is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "perf_paths: %s\n", what);
        exit(1);
    }
}

static void run_core(size_t count)
{
    (void)throughput_measure(&(struct throughput_load){.queued = 1000, .workers = 2, .count = count});
}

static void hear(struct dialogue *dialogue, struct instant_broker *broker)
{
    struct np_message message;
    require(instant_answer(broker, &message) && dialogue_receive(dialogue, &message, 0, NULL) == NETPOOL_OK,
            "the dialogue hears nothing");
}

static size_t finished_count;

static void count_finished(struct np_task *task, const struct np_outcome *outcome)
{
    (void)task;
    require(outcome->status == NETPOOL_OK && outcome->size == PAYLOAD, "a task failed");
    finished_count++;
}

static void run_dialogue(size_t count)
{
    static const struct np_task_kind kind = {.function = "echo"};
    static struct np_task tasks[BATCH];
    struct instant_broker broker = {.count = 0};
    struct dialogue_output output = {.context = &broker, .send = instant_send};
    struct dialogue_config config = {
        .id = {1}, .name = "perf", .host = "here", .role = NP__ROLE__CLIENT, .max_payload = 1 << 20};
    struct dialogue *dialogue = NULL;
    require(dialogue_new(&dialogue, &config) == NETPOOL_OK, "no dialogue");
    dialogue_connect(dialogue, 0);
    require(dialogue_flush(dialogue, &output, SIZE_MAX, 0) == NETPOOL_OK, "hello");
    hear(dialogue, &broker);
    while (finished_count < count) {
        for (size_t i = 0; i < BATCH; i++) {
            tasks[i] = (struct np_task){
                .kind = &kind, .input = sixteen_bytes, .input_size = PAYLOAD, .finished = count_finished};
            dialogue_submit(dialogue, &tasks[i], 0);
        }
        require(dialogue_flush(dialogue, &output, SIZE_MAX, 0) == NETPOOL_OK, "flush");
        hear(dialogue, &broker);
    }
    require(dialogue_unfinished(dialogue) == 0, "something is left");
    dialogue_destroy(&dialogue);
}

static void run_stream(size_t count)
{
    netpool *pool = instant_pool_new();
    netpool_stream *stream = NULL;
    netpool_result result;
    uint64_t taken = 0;
    require(netpool_stream_open(pool, "echo", NULL, &stream) == NETPOOL_OK, "no stream");
    while (taken < count) {
        for (size_t i = 0; i < BATCH; i++) {
            require(netpool_stream_put(stream, (netpool_bytes){sixteen_bytes, PAYLOAD}, 0) == NETPOOL_OK, "put");
        }
        for (size_t i = 0; i < BATCH; i++) {
            uint64_t index;
            require(netpool_stream_next(stream, 0, &index, &result) == NETPOOL_OK && index == taken++, "next");
            require(result.status == NETPOOL_OK && result.size == PAYLOAD, "an item failed");
        }
    }
    netpool_stream_close(&stream);
    netpool_close(&pool);
}

static void run_submit(size_t count)
{
    static netpool_future *futures[BATCH];
    netpool *pool = instant_pool_new();
    netpool_result result;
    for (size_t done = 0; done < count; done += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            netpool_bytes input = {sixteen_bytes, PAYLOAD};
            require(netpool_submit(pool, "echo", input, NULL, &futures[i]) == NETPOOL_OK, "submit");
        }
        for (size_t i = 0; i < BATCH; i++) {
            require(netpool_wait(futures[i], 0, &result) == NETPOOL_OK && result.size == PAYLOAD, "wait");
            netpool_future_free(&futures[i]);
        }
    }
    netpool_close(&pool);
}

static size_t received_count;

static void on_received(void *owner, struct channel *channel, struct np_message *message)
{
    (void)owner;
    (void)channel;
    received_count += message->envelope->submit->n_seqs;
}

static void on_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    (void)owner;
    (void)channel;
    (void)status;
    require(false, reason);
}

static struct channel *open_channel(struct reactor *reactor, struct link *link, Np__Role role)
{
    static const struct channel_handler handler = {.received = on_received, .closed = on_closed};
    struct channel_options options = {.local_role = role,
                                      .max_payload = 1 << 20,
                                      .heartbeat_ns = NP_NS_PER_S * 1000,
                                      .timeout_ns = NP_NS_PER_S * 1000};
    struct channel *channel = NULL;
    require(channel_new(&channel, reactor, link, &options, &handler, NULL, NULL) == NETPOOL_OK, "no channel");
    return channel;
}

static void send_batch(struct channel *channel, uint64_t first)
{
    static const uint8_t body[BATCH * PAYLOAD];
    static uint64_t seqs[BATCH];
    static uint32_t sizes[BATCH];
    Np__Submit submit = NP__SUBMIT__INIT;
    for (size_t i = 0; i < BATCH; i++) {
        seqs[i] = first + i;
        sizes[i] = PAYLOAD;
    }
    submit.function = (char *)(uintptr_t) "echo";
    submit.seqs = seqs;
    submit.sizes = sizes;
    submit.n_seqs = submit.n_sizes = BATCH;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    require(channel_send(channel, &envelope, body, sizeof body, CHANNEL_IN_ORDER) == NETPOOL_OK, "send");
    channel_flush(channel);
}

static void run_channel(size_t count)
{
    struct reactor *reactor = NULL;
    struct memory_wire wire;
    require(reactor_new(&reactor, NULL) == NETPOOL_OK, "no event loop");
    memory_wire_init(&wire);
    struct channel *client = open_channel(reactor, memory_link_new(&wire.back, &wire.forth), NP__ROLE__CLIENT);
    struct channel *broker = open_channel(reactor, memory_link_new(&wire.forth, &wire.back), NP__ROLE__BROKER);
    (void)reactor_turn(reactor, 0);
    channel_set_remote_role(broker, NP__ROLE__CLIENT);
    for (size_t sent = 0; sent < count; sent += BATCH) {
        send_batch(client, 1 + sent);
        while (received_count < sent + BATCH) {
            channel_ready(broker);
        }
    }
    channel_destroy(&client);
    channel_destroy(&broker);
    memory_wire_fini(&wire);
    reactor_destroy(&reactor);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(size_t count);
    } paths[] = {{"core", run_core},
                 {"dialogue", run_dialogue},
                 {"stream", run_stream},
                 {"submit", run_submit},
                 {"channel", run_channel}};
    size_t count = argc == 3 ? (size_t)strtoul(argv[2], NULL, 10) : 0;
    for (size_t i = 0; count > 0 && i < sizeof paths / sizeof paths[0]; i++) {
        if (strcmp(paths[i].name, argv[1]) == 0) {
            paths[i].run(count);
            return 0;
        }
    }
    fprintf(stderr, "usage: perf_paths core|dialogue|stream|submit|channel COUNT\n");
    return 2;
}
