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

enum { CLIENT = 1, FIRST_WORKER = 2, BATCH = 256, PAYLOAD = 16 };

struct seqs {
    uint64_t *items;
    size_t count;
    size_t capacity;
};

/* Messages that the core has sent and that are to be answered. */
struct answers {
    struct seqs *assigned; /* by worker */
    struct seqs finished;
};

static void append(struct seqs *seqs, const uint64_t *items, size_t count)
{
    if (seqs->count + count > seqs->capacity) {
        seqs->capacity = 2 * (seqs->count + count);
        seqs->items = realloc(seqs->items, seqs->capacity * sizeof *seqs->items);
        if (seqs->items == NULL) {
            abort();
        }
    }
    memcpy(seqs->items + seqs->count, items, count * sizeof *items);
    seqs->count += count;
}

static void on_send(void *context, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                    bool urgent)
{
    struct answers *answers = context;
    (void)body;
    (void)body_size;
    (void)urgent;
    if (envelope->kind_case == NP__ENVELOPE__KIND_ASSIGN) {
        append(&answers->assigned[peer - FIRST_WORKER], envelope->assign->seqs, envelope->assign->n_seqs);
    } else if (envelope->kind_case == NP__ENVELOPE__KIND_RESULTS) {
        append(&answers->finished, envelope->results->seqs, envelope->results->n_seqs);
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
    uint8_t id[NP_SESSION_SIZE] = {0};
    memcpy(id, &peer, sizeof peer);
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

static void answer_worker(struct core *core, struct seqs *assigned, uint64_t peer)
{
    static uint32_t sizes[BATCH];
    static uint64_t compute_ns[BATCH];
    size_t total = assigned->count;
    assigned->count = 0;
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
        results.seqs = assigned->items + from;
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
    size_t count = answers->finished.count;
    answers->finished.count = 0;
    for (size_t from = 0; from < count; from += BATCH) {
        Np__Acknowledge message = NP__ACKNOWLEDGE__INIT;
        message.n_seqs = count - from < BATCH ? count - from : BATCH;
        message.seqs = answers->finished.items + from;
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

static void submit_all(struct core *core, uint64_t *next, size_t count)
{
    while (count > 0) {
        size_t most = count < BATCH ? count : BATCH;
        submit(core, *next, most);
        core_flush(core, 0); /* grants new credit */
        *next += most;
        count -= most;
    }
}

/* One worker after the other answers what it has, and the client acknowledges that and submits as much again. Returns
 * how many tasks that were. */
static size_t turn(struct core *core, struct answers *answers, const struct throughput_load *load, uint64_t *next)
{
    size_t done = 0;
    for (size_t i = 0; i < load->workers; i++) {
        answer_worker(core, &answers->assigned[i], FIRST_WORKER + i);
        core_flush(core, 0);
        size_t acknowledged = acknowledge(core, answers);
        submit_all(core, next, acknowledged);
        done += acknowledged;
    }
    return done;
}

static void answers_free(struct answers *answers, size_t workers)
{
    for (size_t i = 0; i < workers; i++) {
        free(answers->assigned[i].items);
    }
    free(answers->assigned);
    free(answers->finished.items);
}

struct throughput_cost throughput_measure(const struct throughput_load *load)
{
    struct throughput_cost cost;
    struct answers answers = {.assigned = calloc(load->workers, sizeof *answers.assigned)};
    struct core_config config = {.epoch = 1, .recovery_ns = -1};
    struct core_output output = {.context = &answers, .send = on_send, .close = on_close};
    struct core *core = NULL;
    if (answers.assigned == NULL || core_new(&core, &config, &output, 0) != NETPOOL_OK) {
        abort();
    }
    join(core, CLIENT, NP__ROLE__CLIENT);
    core_flush(core, 0);
    uint64_t next = 1;
    size_t before = heap_bytes();
    submit_all(core, &next, load->queued);
    cost.bytes = (double)(heap_bytes() - before) / (double)load->queued;
    for (size_t i = 0; i < load->workers; i++) {
        join(core, FIRST_WORKER + i, NP__ROLE__WORKER);
    }
    core_flush(core, 0);

    int64_t start = cpu_ns();
    size_t done = 0;
    while (done < load->count) {
        done += turn(core, &answers, load, &next);
    }
    cost.ns = (double)(cpu_ns() - start) / (double)done;
    core_destroy(&core);
    answers_free(&answers, load->workers);
    return cost;
}

static double print_cost(size_t queued, size_t count)
{
    struct throughput_cost cost =
        throughput_measure(&(struct throughput_load){.queued = queued, .workers = 2, .count = count});
    printf("%8zu queued: %6.1f bytes a queued task, %6.1f ns a task, %5.2f M tasks/s\n", queued, cost.bytes, cost.ns,
           1e3 / cost.ns);
    return cost.ns;
}

int throughput(size_t count)
{
    double few = print_cost(1000, count);
    double many = print_cost(1000000, count);
    printf("rate with 1,000,000 queued is %.0f %% of the rate with 1,000\n", 100 * few / many);
    return 0;
}
