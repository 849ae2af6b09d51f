/* Threads of the program: an embedded core, and a worker made of a crew that speaks the protocol with it by structs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/backend.h"
#include "client/crew.h"
#include "client/embedded.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/random.h"
#include "worker/modules.h"

#define CANCEL_GRACE_NS NP_NS_PER_S /* as in a worker: then the answer does not wait for the function any more */
#define END_GRACE_NS (2 * NP_NS_PER_S)
#define WINDOW_BYTES (UINT64_C(1) << 30) /* in the program's own memory it is the core's limit that counts */

struct backend_threads {
    struct backend backend;
    const struct settings *settings;
    struct engine *engine;
    struct embedded embedded;
    struct crew *crew;
    uint32_t pid; /* of this process */
    uint64_t peer;
    uint64_t epoch;        /* of the leases */
    uint64_t credit_bytes; /* cumulative */
    uint64_t used_bytes;
    bool is_ready_due;
    struct np_list finished; /* crew_job.node: taken from the crew, not yet told */
    struct np_list returned; /* crew_job.node: given back unstarted, not yet told */
    unsigned returns_due;    /* Withdraws with a count that wait for their answer */

    /* one batch being made */
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    uint32_t sizes[NP_BATCH_TASKS_MAX];
    uint32_t statuses[NP_BATCH_TASKS_MAX];
    uint32_t attempts[NP_BATCH_TASKS_MAX];
    uint64_t compute_ns[NP_BATCH_TASKS_MAX];
    uint32_t pids[NP_BATCH_TASKS_MAX]; /* this process, each */
    Np__Failure failures[NP_BATCH_FAILURES_MAX];
    Np__Failure *failure_pointers[NP_BATCH_FAILURES_MAX];
    uint8_t body[NP_FRAME_BODY_MAX];
};

static struct backend_threads *threads_of(struct backend *backend)
{
    return (struct backend_threads *)(void *)backend;
}

static struct crew_job *front_job(struct np_list *list)
{
    struct np_list *node = np_list_front(list);
    return node != NULL ? NP_CONTAINER(node, struct crew_job, node) : NULL;
}

static void crew_wakes(void *context)
{
    engine_wake(context);
}

static void say(struct backend_threads *threads, Np__Envelope *envelope, struct np_message *message)
{
    message->envelope = envelope;
    core_receive(threads->embedded.core, threads->peer, message, np_clock_now());
}

static void say_hello(struct backend_threads *threads)
{
    uint8_t id[NP_SESSION_SIZE];
    char *names[NP_FUNCTIONS_MAX];
    size_t count = modules_count() < NP_FUNCTIONS_MAX ? modules_count() : NP_FUNCTIONS_MAX;
    np_random_system(id, sizeof id);
    for (size_t i = 0; i < count; i++) {
        names[i] = (char *)(uintptr_t)modules_at(i)->name; /* nobody writes to it */
    }
    char name[] = "threads";
    Np__Hello hello = NP__HELLO__INIT;
    hello.version_min = NP_PROTOCOL_VERSION_MIN;
    hello.version_max = NP_PROTOCOL_VERSION_MAX;
    hello.role = NP__ROLE__WORKER;
    hello.name = name;
    hello.host = (char *)(uintptr_t)threads->settings->host;
    hello.session = (ProtobufCBinaryData){.len = sizeof id, .data = id};
    hello.max_payload = threads->settings->max_payload;
    hello.slots = threads->settings->slots;
    hello.window_bytes = WINDOW_BYTES;
    hello.functions = names;
    hello.n_functions = count;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    say(threads, &envelope, &(struct np_message){0});
}

static void say_ready(struct backend_threads *threads)
{
    Np__Ready ready = NP__READY__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_READY;
    envelope.ready = &ready;
    say(threads, &envelope, &(struct np_message){0});
    threads->is_ready_due = false;
    engine_opened(threads->engine);
}

static void add_failure(struct backend_threads *threads, size_t slot, size_t index, const struct crew_job *job)
{
    Np__Failure *failure = &threads->failures[slot];
    np__failure__init(failure);
    failure->index = (uint32_t)index;
    failure->item = job->failed_item;
    if (job->message != NULL) {
        failure->message = job->message;
    } else if (job->status == NETPOOL_DEADLINE) {
        static char text[] = "the function did not return before its deadline; its thread goes on until it does";
        failure->message = text;
    }
    threads->failure_pointers[slot] = failure;
}

/* Fills the columns from the front of `finished`, as far as one batch and the credit go. Returns the number of jobs.
 */
static size_t gather(struct backend_threads *threads, size_t *body_size, size_t *failure_count)
{
    size_t count = 0;
    size_t bytes = 0;
    size_t failures = 0;
    NP_LIST_EACH(node, &threads->finished) {
        struct crew_job *job = NP_CONTAINER(node, struct crew_job, node);
        size_t size = job->status == NETPOOL_OK ? np_buffer_size(&job->result) : 0;
        bool failed = job->status != NETPOOL_OK;
        if (count == NP_BATCH_TASKS_MAX || (failed && failures == NP_BATCH_FAILURES_MAX) ||
            (count > 0 && bytes + size > sizeof threads->body) ||
            threads->used_bytes + bytes + size > threads->credit_bytes) {
            break;
        }
        if (failed) {
            add_failure(threads, failures++, count, job);
        }
        if (size > 0 && bytes + size <= sizeof threads->body) {
            memcpy(threads->body + bytes, np_buffer_data(&job->result), size);
        }
        threads->seqs[count] = job->seq;
        threads->sizes[count] = (uint32_t)size;
        threads->statuses[count] = (uint32_t)job->status;
        threads->attempts[count] = job->attempt;
        threads->compute_ns[count] = job->compute_ns;
        threads->pids[count] = threads->pid;
        bytes += size;
        count++;
    }
    *body_size = bytes;
    *failure_count = failures;
    return count;
}

/* One Results; false when there is nothing to say or no credit to say it. */
static bool say_results(struct backend_threads *threads)
{
    size_t body_size;
    size_t failure_count;
    size_t count = gather(threads, &body_size, &failure_count);
    if (count == 0) {
        return false;
    }
    struct crew_job *first = front_job(&threads->finished);
    Np__Results results = NP__RESULTS__INIT;
    results.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = first->session};
    results.epoch = threads->epoch;
    results.seqs = threads->seqs;
    results.sizes = threads->sizes;
    results.statuses = threads->statuses;
    results.attempts = threads->attempts;
    results.compute_ns = threads->compute_ns;
    results.pids = threads->pids;
    results.n_seqs = results.n_sizes = results.n_statuses = results.n_attempts = results.n_compute_ns = count;
    results.n_pids = count;
    results.failures = threads->failure_pointers;
    results.n_failures = failure_count;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    struct np_message message = {.body = threads->body, .body_size = body_size};
    bool gives_body = body_size > sizeof threads->body; /* one large result: the core may take it over */
    if (gives_body) {
        message.body = np_buffer_data(&first->result);
        message.owned_body = first->result.start == 0 ? first->result.memory : NULL;
    }
    bool is_owned = message.owned_body != NULL;
    say(threads, &envelope, &message);
    if (is_owned && message.owned_body == NULL) {
        first->result = (struct np_buffer){0};
    }
    threads->used_bytes += body_size;
    for (size_t i = 0; i < count; i++) {
        crew_job_free(NP_CONTAINER(np_list_pop_front(&threads->finished), struct crew_job, node));
    }
    return true;
}

static void say_returned(struct backend_threads *threads)
{
    size_t count = 0;
    uint8_t session[NP_SESSION_SIZE] = {0};
    struct crew_job *job;
    while (count < NP_BATCH_TASKS_MAX && (job = front_job(&threads->returned)) != NULL) {
        memcpy(session, job->session, sizeof session); /* the program has one */
        threads->seqs[count] = job->seq;
        threads->attempts[count] = job->attempt;
        count++;
        np_list_remove(&job->node);
        crew_job_free(job);
    }
    Np__Returned returned = NP__RETURNED__INIT;
    returned.session = (ProtobufCBinaryData){.len = sizeof session, .data = session};
    returned.seqs = threads->seqs;
    returned.attempts = threads->attempts;
    returned.n_seqs = returned.n_attempts = count;
    returned.end = np_list_is_empty(&threads->returned);
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RETURNED;
    envelope.returned = &returned;
    say(threads, &envelope, &(struct np_message){0});
    if (returned.end) {
        threads->returns_due--;
    }
}

static void take_assign(struct backend_threads *threads, const Np__Assign *assign, const uint8_t *body)
{
    netpool_function *function = modules_find(assign->function);
    for (size_t i = 0; i < assign->n_seqs; i++) {
        struct crew_job *job = crew_job_new(body, assign->sizes[i]);
        if (job == NULL) {
            engine_fail(threads->engine, NETPOOL_NO_MEMORY, "out of memory in a pool of threads");
            return;
        }
        body += assign->sizes[i];
        memcpy(job->session, assign->session.data, sizeof job->session);
        job->seq = assign->seqs[i];
        job->attempt = assign->n_attempts > 0 ? assign->attempts[i] : 1;
        job->timeout_ms = assign->timeout_ms;
        job->request.function = function;
        job->request.item_in_size = assign->item_in_size;
        job->request.item_out_size = assign->item_out_size;
        job->request.attempt = job->attempt;
        job->request.first_item = assign->n_first_items > 0 ? assign->first_items[i] : 0;
        job->request.max_result = threads->settings->max_payload;
        if (function != NULL) {
            crew_add(threads->crew, job);
        } else {
            job->status = NETPOOL_NO_SUCH_FUNCTION;
            np_list_push_back(&threads->finished, &job->node);
        }
    }
}

static void take_withdraw(struct backend_threads *threads, const Np__Withdraw *withdraw)
{
    int64_t now = np_clock_now();
    for (size_t i = 0; i < withdraw->n_seqs; i++) {
        (void)crew_cancel(threads->crew, withdraw->session.data, withdraw->seqs[i], now, CANCEL_GRACE_NS);
    }
    if (withdraw->n_seqs > 0) {
        return;
    }
    threads->returns_due++;
    for (uint32_t i = 0; i < withdraw->count; i++) {
        struct crew_job *job = crew_withdraw(threads->crew);
        if (job == NULL) {
            break;
        }
        np_list_push_back(&threads->returned, &job->node);
    }
}

static void core_sends(void *owner, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                       bool urgent)
{
    (void)peer;
    (void)body_size;
    (void)urgent;
    struct backend_threads *threads = owner;
    switch (envelope->kind_case) {
    case NP__ENVELOPE__KIND_WELCOME:
        threads->epoch = envelope->welcome->epoch;
        threads->credit_bytes = envelope->welcome->credit_bytes;
        threads->is_ready_due = true;
        break;
    case NP__ENVELOPE__KIND_CREDIT:
        threads->credit_bytes = envelope->credit->bytes;
        break;
    case NP__ENVELOPE__KIND_ASSIGN:
        take_assign(threads, envelope->assign, body);
        break;
    case NP__ENVELOPE__KIND_WITHDRAW:
        take_withdraw(threads, envelope->withdraw);
        break;
    default:
        break; /* heartbeats: there is no link to keep alive */
    }
}

static void core_closes(void *owner, uint64_t peer, netpool_status status, const char *reason)
{
    (void)peer;
    struct backend_threads *threads = owner;
    engine_fail(threads->engine, status, reason);
}

static const struct embedded_worker worker_output = {.send = core_sends, .close = core_closes};

static netpool_status start(struct backend *backend, struct engine *engine, netpool_error *error)
{
    struct backend_threads *threads = threads_of(backend);
    threads->engine = engine;
    netpool_status status = modules_check(error);
    for (char **module = threads->settings->modules; status == NETPOOL_OK && *module != NULL; module++) {
        status = modules_load(*module, error);
    }
    if (status == NETPOOL_OK) {
        status = embedded_init(&threads->embedded, threads->settings, engine, &worker_output, threads, error);
    }
    if (status == NETPOOL_OK) {
        status = crew_new(&threads->crew, threads->settings->slots, crew_wakes, engine, error);
    }
    if (status == NETPOOL_OK) {
        threads->peer = embedded_connect_worker(&threads->embedded, "", "threads", np_clock_now());
        say_hello(threads);
    }
    return status;
}

/* Says all that is to be said; false: there was nothing. */
static bool speak(struct backend_threads *threads)
{
    struct crew_job *job;
    while ((job = crew_take(threads->crew)) != NULL) {
        np_list_push_back(&threads->finished, &job->node);
    }
    bool said = false;
    if (threads->is_ready_due) {
        say_ready(threads);
        said = true;
    }
    while (threads->returns_due > 0) {
        say_returned(threads);
        said = true;
    }
    while (say_results(threads)) {
        said = true;
    }
    return said;
}

static void flush(struct backend *backend, int64_t now)
{
    struct backend_threads *threads = threads_of(backend);
    do {
        embedded_flush(&threads->embedded, now);
    } while (speak(threads));
}

static void tick(struct backend *backend, int64_t now, bool may_block)
{
    (void)may_block;
    struct backend_threads *threads = threads_of(backend);
    core_tick(threads->embedded.core, now);
    crew_tick(threads->crew, now);
}

static int64_t deadline(const struct backend *backend)
{
    const struct backend_threads *threads = (const struct backend_threads *)(const void *)backend;
    return np_earlier(core_deadline(threads->embedded.core), crew_deadline(threads->crew));
}

static void drop_link(struct backend *backend, netpool_status status, const char *reason, int64_t now)
{
    (void)now;
    engine_fail(threads_of(backend)->engine, status, reason); /* there is no link to lose */
}

static void shutdown_threads(struct backend *backend)
{
    crew_destroy(&threads_of(backend)->crew, END_GRACE_NS);
}

static void free_jobs(struct np_list *list)
{
    for (struct crew_job *job = front_job(list); job != NULL; job = front_job(list)) {
        np_list_remove(&job->node);
        crew_job_free(job);
    }
}

static void destroy(struct backend *backend)
{
    struct backend_threads *threads = threads_of(backend);
    crew_destroy(&threads->crew, 0);
    free_jobs(&threads->finished);
    free_jobs(&threads->returned);
    embedded_fini(&threads->embedded);
    free(threads);
}

static const struct backend_operations operations = {.start = start,
                                                     .flush = flush,
                                                     .tick = tick,
                                                     .deadline = deadline,
                                                     .drop_link = drop_link,
                                                     .shutdown = shutdown_threads,
                                                     .destroy = destroy};

netpool_status backend_threads_new(struct backend **out, const struct settings *settings, netpool_error *error)
{
    struct backend_threads *threads = calloc(1, sizeof *threads);
    if (threads == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    threads->backend = (struct backend){.operations = &operations, .slots = settings->slots};
    threads->settings = settings;
    threads->pid = (uint32_t)getpid();
    np_list_init(&threads->finished);
    np_list_init(&threads->returned);
    *out = &threads->backend;
    return NETPOOL_OK;
}
