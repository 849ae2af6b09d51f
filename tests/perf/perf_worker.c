/*
 * What a worker does about every task, in one process and without waiting, to be counted by valgrind.
 *
 *     perf_worker PATH COUNT
 *
 *     supervisor  batches of 256 tasks of 16 bytes come in, are fed to one executor, and their results are sent; the
 *                 executor is played, at some 40 instructions a task
 *     block       items of 8 bytes in blocks of 4096, squared
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/block.h"
#include "common/clock.h"
#include "tests/support/memory_link.h"
#include "transport/channel.h"
#include "worker/executor/call.h"
#include "worker/slots/executors.h"

enum { BATCH = 256, PAYLOAD = 16, BLOCK_ITEMS = 4096 };

static void require(bool is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "perf_worker: %s\n", what);
        exit(1);
    }
}

static netpool_status square(netpool_call *call, netpool_bytes input)
{
    uint64_t number;
    memcpy(&number, input.data, sizeof number);
    number *= number;
    return netpool_return(call, &number, sizeof number);
}

static void run_block(size_t count)
{
    static uint64_t items[BLOCK_ITEMS];
    static struct call_state state;
    struct np_buffer result = {0};
    char message[NP_MESSAGE_MAX + 1];
    uint64_t failed_item;
    for (size_t i = 0; i < BLOCK_ITEMS; i++) {
        items[i] = i;
    }
    struct call_request request = {.function = square,
                                   .input = {.data = items, .size = sizeof items},
                                   .item_in_size = sizeof items[0],
                                   .item_out_size = sizeof items[0],
                                   .attempt = 1,
                                   .max_result = sizeof items};
    for (size_t done = 0; done < count; done += BLOCK_ITEMS) {
        require(call_run(&request, &state, &result, message, &failed_item) == NETPOOL_OK, "a block failed");
    }
    require(np_buffer_size(&result) == sizeof items, "a block without its results");
    np_buffer_fini(&result);
}

struct stage {
    struct reactor *reactor;
    struct zygote zygote; /* nobody: the executor is played, and "starts" for ever */
    int nobody;
    struct outbox outbox;
    struct executors executors;
    struct memory_wire wire;
    struct channel *channel;
    struct ring tasks; /* the executor's sides */
    struct ring results;
    uint64_t last_seq;
    size_t answered;
};

static void received(void *owner, struct channel *channel, struct np_message *message)
{
    (void)owner;
    (void)channel;
    (void)message;
}

static void closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    (void)owner;
    (void)channel;
    (void)status;
    require(false, reason);
}

static void open_stage(struct stage *stage)
{
    static const struct channel_handler handler = {.received = received, .closed = closed};
    const struct channel_options options = {.local_role = NP__ROLE__WORKER,
                                            .max_payload = 1 << 20,
                                            .heartbeat_ns = NP_NS_PER_S * 1000,
                                            .timeout_ns = NP_NS_PER_S * 1000};
    int ends[2];
    require(reactor_new(&stage->reactor, NULL) == NETPOOL_OK, "no event loop");
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "no socket pair");
    stage->zygote.fd = ends[0];
    stage->nobody = ends[1];
    outbox_init(&stage->outbox);
    const struct executors_options executors = {.reactor = stage->reactor,
                                                .zygote = &stage->zygote,
                                                .outbox = &stage->outbox,
                                                .slots = 1,
                                                .functions = 1,
                                                .max_payload = 1 << 20,
                                                .forward_fd = -1};
    require(executors_init(&stage->executors, &executors, NULL) == NETPOOL_OK, "no executors");
    executors_turn(&stage->executors, 1);
    struct share *share = stage->executors.slots[0].share;
    require(share != NULL, "no executor was started");
    ring_init(&stage->tasks, &share->tasks, share_task_bytes(share), SHARE_RING_SIZE);
    ring_init(&stage->results, &share->results, share_result_bytes(share), SHARE_RING_SIZE);
    memory_wire_init(&stage->wire);
    require(channel_new(&stage->channel, stage->reactor, memory_link_new(&stage->wire.back, &stage->wire.forth),
                        &options, &handler, NULL, NULL) == NETPOOL_OK,
            "no channel");
    (void)reactor_turn(stage->reactor, 0);
}

static void close_stage(struct stage *stage)
{
    executors_fini(&stage->executors);
    outbox_fini(&stage->outbox);
    channel_destroy(&stage->channel);
    memory_wire_fini(&stage->wire);
    reactor_destroy(&stage->reactor);
    close(stage->zygote.fd);
    close(stage->nobody);
}

static void assign(struct stage *stage)
{
    static uint8_t session[NP_SESSION_SIZE] = "client session.";
    static uint8_t body[BATCH * PAYLOAD];
    static uint64_t seqs[BATCH];
    static uint32_t sizes[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        seqs[i] = ++stage->last_seq;
        sizes[i] = PAYLOAD;
    }
    Np__Assign message = NP__ASSIGN__INIT;
    message.session = (ProtobufCBinaryData){.len = sizeof session, .data = session};
    message.function = (char *)(uintptr_t) "echo";
    message.seqs = seqs;
    message.sizes = sizes;
    message.n_seqs = message.n_sizes = BATCH;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_ASSIGN;
    envelope.assign = &message;
    struct np_message whole = {.envelope = &envelope, .body = body, .body_size = sizeof body};
    executors_assign(&stage->executors, batch_new(&whole, 1, 0, 1));
}

/* Answers what was fed; no bell is rung. */
static void play_executor(struct stage *stage)
{
    static uint8_t payload[PAYLOAD];
    struct share *share = stage->executors.slots[0].share;
    struct task_record task;
    uint32_t number = share_claim_started(atomic_load_explicit(&share->claim, memory_order_relaxed));
    for (; ring_available(&stage->tasks) >= sizeof task + PAYLOAD; number++) {
        ring_skip(&stage->tasks, sizeof task + PAYLOAD);
        const struct result_record result = {.number = number, .size = PAYLOAD, .compute_ns = 100, .started_ns = 1};
        ring_write(&stage->results, &result, sizeof result);
        ring_write(&stage->results, payload, sizeof payload);
        stage->answered++;
    }
    atomic_store_explicit(&share->claim, share_claim_word(0, number), memory_order_relaxed);
    ring_publish_read(&stage->tasks);
    ring_publish_written(&stage->results);
}

static void run_supervisor(size_t count)
{
    static struct stage stage;
    uint64_t sent_bytes = 0;
    open_stage(&stage);
    while (stage.answered < count) {
        const size_t until = stage.answered + BATCH;
        assign(&stage);
        while (stage.answered < until || !outbox_is_empty(&stage.outbox)) {
            executors_turn(&stage.executors, 1);
            outbox_send(&stage.outbox, stage.channel, UINT64_MAX, &sent_bytes);
            np_buffer_clear(&stage.wire.forth.bytes);
            play_executor(&stage);
            executors_mark_ready(&stage.executors, &stage.executors.slots[0]);
        }
    }
    require(sent_bytes > 0, "no results");
    close_stage(&stage);
}

int main(int argc, char **argv)
{
    size_t count = argc == 3 ? (size_t)strtoul(argv[2], NULL, 10) : 0;
    if (count > 0 && strcmp(argv[1], "supervisor") == 0) {
        run_supervisor(count);
        return 0;
    }
    if (count > 0 && strcmp(argv[1], "block") == 0) {
        run_block(count);
        return 0;
    }
    fprintf(stderr, "usage: perf_worker supervisor|block COUNT\n");
    return 2;
}
