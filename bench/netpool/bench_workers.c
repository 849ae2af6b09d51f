/*
 * Simulated workers, all in this one process: each has a connection of its own to a broker over TLS and answers its
 * tasks, "echo" only, with their own bytes and at once. Their credentials are those of the environment.
 *
 *     bench_workers PORT COUNT --ready-fd N
 *
 * Connects to 127.0.0.1, a few at a time, writes a line to N once all are there, and goes on until it is ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/figures.h"
#include "common/clock.h"
#include "common/random.h"
#include "proto/limits.h"
#include "transport/channel.h"
#include "transport/tls.h"

enum { AT_ONCE = 16, BATCH_MAX = 4096 };
#define TICK_NS (100 * NP_NS_PER_MS)

struct worker {
    struct channel *channel;
    uint64_t epoch;
};

static struct fleet {
    struct reactor *reactor;
    struct tls_context *credentials;
    const char *port;
    struct worker *workers;
    size_t count;
    size_t started;
    size_t ready;
    int ready_fd;
} fleet;

static void require(netpool_status status, const char *what)
{
    if (status != NETPOOL_OK) {
        figures_die("%s: %s", what, netpool_status_text(status));
    }
}

static void send_to(struct channel *channel, Np__Envelope *envelope, const void *body, size_t body_size)
{
    require(channel_send(channel, envelope, body, body_size, CHANNEL_IN_ORDER), "send");
    channel_flush(channel);
}

static void say_hello(void *owner, struct channel *channel)
{
    (void)owner;
    static char *functions[] = {(char *)(uintptr_t) "echo"};
    uint8_t session[NP_SESSION_SIZE];
    np_random_system(session, sizeof session);
    Np__Hello hello = NP__HELLO__INIT;
    hello.version_min = NP_PROTOCOL_VERSION_MIN;
    hello.version_max = NP_PROTOCOL_VERSION_MAX;
    hello.role = NP__ROLE__WORKER;
    hello.name = hello.host = (char *)(uintptr_t) "simulated";
    hello.session = (ProtobufCBinaryData){.len = sizeof session, .data = session};
    hello.max_payload = NP_PAYLOAD_DEFAULT;
    hello.slots = 1;
    hello.window_bytes = UINT64_C(1) << 28;
    hello.functions = functions;
    hello.n_functions = 1;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    send_to(channel, &envelope, NULL, 0);
}

static void on_welcome(struct worker *worker, const Np__Welcome *welcome)
{
    Np__Ready ready = NP__READY__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_READY;
    envelope.ready = &ready;
    worker->epoch = welcome->epoch;
    channel_set_limits(worker->channel, NP_PAYLOAD_DEFAULT, (int64_t)welcome->heartbeat_ms * NP_NS_PER_MS,
                       (int64_t)welcome->timeout_ms * NP_NS_PER_MS);
    channel_set_remote_role(worker->channel, NP__ROLE__BROKER);
    send_to(worker->channel, &envelope, NULL, 0);
    fleet.ready++;
}

static void answer(struct worker *worker, const Np__Assign *assign, const struct np_message *message)
{
    static uint64_t compute_ns[BATCH_MAX];
    Np__Results results = NP__RESULTS__INIT;
    results.session = assign->session;
    results.epoch = worker->epoch;
    results.seqs = assign->seqs;
    results.n_seqs = results.n_compute_ns = assign->n_seqs;
    results.sizes = assign->sizes;
    results.n_sizes = assign->n_sizes;
    results.attempts = assign->attempts;
    results.n_attempts = assign->n_attempts;
    results.compute_ns = compute_ns;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    send_to(worker->channel, &envelope, message->body, message->body_size);
}

static void on_received(void *owner, struct channel *channel, struct np_message *message)
{
    (void)channel;
    if (message->envelope->kind_case == NP__ENVELOPE__KIND_WELCOME) {
        on_welcome(owner, message->envelope->welcome);
    } else if (message->envelope->kind_case == NP__ENVELOPE__KIND_ASSIGN) {
        answer(owner, message->envelope->assign, message);
    }
}

static void on_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    (void)owner;
    (void)channel;
    figures_die("the broker is gone: %s: %s", netpool_status_text(status), reason);
}

static void start_one(void)
{
    static const struct channel_handler handler = {.opened = say_hello, .received = on_received, .closed = on_closed};
    static const struct channel_options options = {.local_role = NP__ROLE__WORKER, .max_payload = NP_PAYLOAD_DEFAULT};
    struct worker *worker = &fleet.workers[fleet.started++];
    struct link *link = NULL;
    netpool_error error = {0};
    require(tls_link_connect(&link, fleet.credentials, "127.0.0.1", fleet.port, &error), "connect");
    require(channel_new(&worker->channel, fleet.reactor, link, &options, &handler, worker, &error), "channel");
}

/* Heartbeats need no more than a coarse clock. */
static void tick_all(int64_t now)
{
    for (size_t i = 0; i < fleet.started; i++) {
        if (now >= channel_deadline(fleet.workers[i].channel)) {
            channel_tick(fleet.workers[i].channel, now);
            channel_flush(fleet.workers[i].channel);
        }
    }
}

static void run(void)
{
    for (int64_t tick_at = np_clock_now() + TICK_NS;;) {
        while (fleet.started < fleet.count && fleet.started - fleet.ready < AT_ONCE) {
            start_one();
        }
        (void)reactor_turn(fleet.reactor, tick_at);
        if (fleet.ready == fleet.count && fleet.ready_fd >= 0) {
            require(write(fleet.ready_fd, "\n", 1) == 1 ? NETPOOL_OK : NETPOOL_CLOSED, "ready-fd");
            close(fleet.ready_fd);
            fleet.ready_fd = -1;
        }
        int64_t now = np_clock_now();
        if (now >= tick_at) {
            tick_all(now);
            tick_at = now + TICK_NS;
        }
    }
}

int main(int argc, char **argv)
{
    const struct tls_files files = {
        .ca = getenv("NETPOOL_CA"), .cert = getenv("NETPOOL_CERT"), .key = getenv("NETPOOL_KEY")};
    netpool_error error = {0};
    if (argc != 5 || strcmp(argv[3], "--ready-fd") != 0) {
        fprintf(stderr, "usage: bench_workers PORT COUNT --ready-fd N\n");
        return 2;
    }
    fleet.port = argv[1];
    fleet.count = (size_t)figures_positive(argv[2], "workers");
    fleet.ready_fd = (int)figures_positive(argv[4], "ready-fd");
    fleet.workers = calloc(fleet.count, sizeof *fleet.workers);
    if (fleet.workers == NULL ||
        tls_context_new(&fleet.credentials, &files, NP__ROLE__WORKER, &error) != NETPOOL_OK) {
        figures_die("%s", error.message);
    }
    require(reactor_new(&fleet.reactor, &error), "reactor");
    run();
}
