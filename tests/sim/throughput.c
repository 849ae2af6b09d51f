/*
 * What the core alone costs: no-op tasks of 16 bytes through submit, assign, result, acknowledge, with few and with
 * many queued, and the memory of a queued task. No protobuf coding, no links: what the shell around the core adds is
 * measured by bench/.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/core/core.h"
#include "common/clock.h"
#include "tests/sim/throughput.h"

enum { CLIENT = 1, WORKER_A = 2, WORKER_B = 3, BATCH = 256, PAYLOAD = 16 };

/* Messages that the core has sent and that are to be answered. */
struct answers {
    uint64_t assigned[2][1 << 17]; /* seqs, by worker */
    size_t assigned_count[2];
    uint64_t finished[1 << 17];
    size_t finished_count;
    uint64_t credit;
};

static void on_send(void *context, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                    bool urgent)
{
    struct answers *answers = context;
    (void)body;
    (void)body_size;
    (void)urgent;
    if (envelope->kind_case == NP__ENVELOPE__KIND_ASSIGN) {
        size_t *count = &answers->assigned_count[peer - WORKER_A];
        memcpy(answers->assigned[peer - WORKER_A] + *count, envelope->assign->seqs,
               envelope->assign->n_seqs * sizeof(uint64_t));
        *count += envelope->assign->n_seqs;
    } else if (envelope->kind_case == NP__ENVELOPE__KIND_RESULTS) {
        memcpy(answers->finished + answers->finished_count, envelope->results->seqs,
               envelope->results->n_seqs * sizeof(uint64_t));
        answers->finished_count += envelope->results->n_seqs;
    } else if (envelope->kind_case == NP__ENVELOPE__KIND_CREDIT && peer == CLIENT) {
        answers->credit = envelope->credit->tasks;
    } else if (envelope->kind_case == NP__ENVELOPE__KIND_WELCOME && peer == CLIENT) {
        answers->credit = envelope->welcome->credit_tasks;
    }
}

static void on_close(void *context, uint64_t peer, netpool_status status, const char *reason)
{
    (void)context;
    fprintf(stderr, "peer %llu closed: %s: %s\n", (unsigned long long)peer, netpool_status_name(status), reason);
    abort();
}

static uint8_t client_id[NP_SESSION_SIZE] = "client";

static void give(struct core *core, uint64_t peer, Np__Envelope *envelope, size_t body_size)
{
    static const uint8_t body[BATCH * PAYLOAD];
    struct np_message message = {.envelope = envelope, .body = body, .body_size = body_size};
    core_receive(core, peer, &message, 0);
}

static void join(struct core *core, uint64_t peer, Np__Role role)
{
    uint8_t id[NP_SESSION_SIZE] = {(uint8_t)peer};
    char *functions[] = {(char *)"noop"};
    core_connect(core, peer, &(struct core_peer){.role = role, .name = "", .address = "here"}, 0);
    Np__Hello hello = NP__HELLO__INIT;
    hello.version_min = hello.version_max = 1;
    hello.role = role;
    hello.session.data = role == NP__ROLE__CLIENT ? client_id : id;
    hello.session.len = NP_SESSION_SIZE;
    hello.slots = 2;
    hello.window_bytes = 1 << 28;
    hello.functions = functions;
    hello.n_functions = 1;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    give(core, peer, &envelope, 0);
    if (role == NP__ROLE__WORKER) {
        Np__Ready ready = NP__READY__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_READY;
        envelope.ready = &ready;
        give(core, peer, &envelope, 0);
    }
}

static void submit(struct core *core, uint64_t first, size_t count)
{
    static uint64_t seqs[BATCH];
    static uint32_t sizes[BATCH];
    for (size_t i = 0; i < count; i++) {
        seqs[i] = first + i;
        sizes[i] = PAYLOAD;
    }
    Np__Submit message = NP__SUBMIT__INIT;
    message.function = (char *)"noop";
    message.n_seqs = message.n_sizes = count;
    message.seqs = seqs;
    message.sizes = sizes;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &message;
    give(core, CLIENT, &envelope, count * PAYLOAD);
}

static void answer_worker(struct core *core, struct answers *answers, uint64_t peer)
{
    static uint32_t sizes[BATCH];
    static uint64_t compute_ns[BATCH];
    size_t total = answers->assigned_count[peer - WORKER_A];
    answers->assigned_count[peer - WORKER_A] = 0;
    for (size_t from = 0; from < total; from += BATCH) {
        size_t count = total - from < BATCH ? total - from : BATCH;
        for (size_t i = 0; i < count; i++) {
            sizes[i] = PAYLOAD;
            compute_ns[i] = 1000;
        }
        Np__Results results = NP__RESULTS__INIT;
        results.session.data = client_id;
        results.session.len = NP_SESSION_SIZE;
        results.epoch = 1;
        results.n_seqs = results.n_sizes = results.n_compute_ns = count;
        results.seqs = answers->assigned[peer - WORKER_A] + from;
        results.sizes = sizes;
        results.compute_ns = compute_ns;
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
        envelope.results = &results;
        give(core, peer, &envelope, count * PAYLOAD);
    }
}

static size_t acknowledge(struct core *core, struct answers *answers)
{
    size_t count = answers->finished_count;
    answers->finished_count = 0;
    for (size_t from = 0; from < count; from += BATCH) {
        Np__Acknowledge message = NP__ACKNOWLEDGE__INIT;
        message.n_seqs = count - from < BATCH ? count - from : BATCH;
        message.seqs = answers->finished + from;
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_ACKNOWLEDGE;
        envelope.acknowledge = &message;
        give(core, CLIENT, &envelope, 0);
    }
    return count;
}

/* Processor time: the machine may have other things to do. */
static int64_t cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * NP_NS_PER_S + time.tv_nsec;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Keeps `queued` tasks queued while `count` tasks pass through. Returns nanoseconds a task. */
static double run(size_t queued, size_t count)
{
    struct answers *answers = calloc(1, sizeof *answers);
    struct core_config config = {.epoch = 1, .recovery_ns = -1};
    struct core_output output = {.context = answers, .send = on_send, .close = on_close};
    struct core *core = NULL;
    if (answers == NULL || core_new(&core, &config, &output, 0) != NETPOOL_OK) {
        abort();
    }
    join(core, CLIENT, NP__ROLE__CLIENT);
    core_flush(core, 0);
    uint64_t next = 1;
    size_t before = heap_bytes();
    while (next <= queued) {
        size_t most = queued + 1 - next < BATCH ? queued + 1 - next : BATCH;
        submit(core, next, most);
        next += most;
        core_flush(core, 0);
    }
    printf("%8zu queued: %6.1f bytes a queued task", queued, (double)(heap_bytes() - before) / (double)queued);
    join(core, WORKER_A, NP__ROLE__WORKER);
    join(core, WORKER_B, NP__ROLE__WORKER);
    core_flush(core, 0);

    int64_t start = cpu_ns();
    size_t done = 0;
    while (done < count) {
        answer_worker(core, answers, WORKER_A);
        answer_worker(core, answers, WORKER_B);
        core_flush(core, 0);
        size_t acknowledged = acknowledge(core, answers);
        for (size_t left = acknowledged; left > 0;) {
            size_t most = left < BATCH ? left : BATCH;
            submit(core, next, most);
            next += most;
            left -= most;
        }
        core_flush(core, 0);
        done += acknowledged;
    }
    double ns = (double)(cpu_ns() - start) / (double)done;
    struct core_stats stats;
    core_get_stats(core, &stats);
    printf(", %6.1f ns a task, %5.2f M tasks/s\n", ns, 1e3 / ns);
    core_destroy(&core);
    free(answers);
    return ns;
}

int throughput(size_t count)
{
    double few = run(1000, count);
    double many = run(1000000, count);
    printf("rate with 1,000,000 queued is %.0f %% of the rate with 1,000\n", 100 * few / many);
    return 0;
}
