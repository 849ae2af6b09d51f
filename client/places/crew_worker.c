#include "client/places/crew_worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/places/crew.h"
#include "common/block.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/random.h"
#include "worker/executor/modules.h"

#define CANCEL_GRACE_NS NP_NS_PER_S      /* as in a worker: then the answer does not wait for the function any more */
#define WINDOW_BYTES (UINT64_C(1) << 30) /* in the program's own memory it is the core's limit that counts */
#define PROGRESS_NS (200 * NP_NS_PER_MS) /* between two looks at how far running tasks are */

struct crew_worker {
    const struct settings *settings;
    struct engine *engine;
    struct embedded *embedded;
    struct crew *crew;
    uint32_t pid; /* of this process */
    uint64_t peer;
    uint64_t epoch;        /* of the leases */
    uint64_t credit_bytes; /* cumulative */
    uint64_t used_bytes;
    bool is_ready_due;
    uint8_t session[NP_SESSION_SIZE]; /* of the program: the only one */
    int64_t progress_at;              /* next look */
    struct np_list finished;          /* crew_job.node: taken from the crew, not yet told */
    struct np_list returned;          /* crew_job.node: given back unstarted, not yet told */
    unsigned returns_due;             /* Withdraws with a count that wait for their answer */

    /* one batch being made */
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    uint32_t sizes[NP_BATCH_TASKS_MAX];
    uint32_t statuses[NP_BATCH_TASKS_MAX];
    uint32_t attempts[NP_BATCH_TASKS_MAX];
    uint64_t compute_ns[NP_BATCH_TASKS_MAX];
    uint64_t wait_ns[NP_BATCH_TASKS_MAX];
    uint64_t done[NP_BATCH_TASKS_MAX];
    uint64_t total[NP_BATCH_TASKS_MAX];
    uint32_t pids[NP_BATCH_TASKS_MAX]; /* this process, each */
    Np__Failure failures[NP_BATCH_FAILURES_MAX];
    Np__Failure *failure_pointers[NP_BATCH_FAILURES_MAX];
    uint8_t body[NP_FRAME_BODY_MAX];
};

static struct crew_job *front_job(struct np_list *list)
{
    struct np_list *node = np_list_front(list);
    return node != NULL ? NP_CONTAINER(node, struct crew_job, node) : NULL;
}

static void crew_wakes(void *context)
{
    engine_wake(context);
}

static void say(struct crew_worker *worker, Np__Envelope *envelope, struct np_message *message)
{
    message->envelope = envelope;
    core_receive(worker->embedded->core, worker->peer, message, np_clock_now());
}

static void say_hello(struct crew_worker *worker)
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
    hello.host = (char *)(uintptr_t)worker->settings->host;
    hello.session = (ProtobufCBinaryData){.len = sizeof id, .data = id};
    hello.max_payload = worker->settings->max_payload;
    hello.slots = worker->settings->slots;
    hello.window_bytes = WINDOW_BYTES;
    hello.functions = names;
    hello.n_functions = count;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    say(worker, &envelope, &(struct np_message){0});
}

static void say_ready(struct crew_worker *worker)
{
    Np__Ready ready = NP__READY__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_READY;
    envelope.ready = &ready;
    say(worker, &envelope, &(struct np_message){0});
    worker->is_ready_due = false;
    engine_opened(worker->engine);
}

static void add_failure(struct crew_worker *worker, size_t slot, size_t index, const struct crew_job *job)
{
    Np__Failure *failure = &worker->failures[slot];
    np__failure__init(failure);
    failure->index = (uint32_t)index;
    failure->item = job->failed_item;
    failure->started = job->has_started;
    if (job->message != NULL) {
        failure->message = job->message;
    } else if (job->status == NETPOOL_DEADLINE) {
        static char text[] = "the function did not return before its deadline; its thread goes on until it does";
        failure->message = text;
    }
    worker->failure_pointers[slot] = failure;
}

/* Fills the columns from the front of `finished`, as far as one batch and the credit go. Returns the number of jobs.
 */
static size_t gather(struct crew_worker *worker, size_t *body_size, size_t *failure_count)
{
    size_t count = 0;
    size_t bytes = 0;
    size_t failures = 0;
    NP_LIST_EACH(node, &worker->finished) {
        struct crew_job *job = NP_CONTAINER(node, struct crew_job, node);
        netpool_bytes result = crew_job_result(job);
        size_t size = job->status == NETPOOL_OK ? result.size : 0;
        bool failed = job->status != NETPOOL_OK;
        if (count == NP_BATCH_TASKS_MAX || (failed && failures == NP_BATCH_FAILURES_MAX) ||
            (count > 0 && bytes + size > sizeof worker->body) ||
            worker->used_bytes + bytes + size > worker->credit_bytes) {
            break;
        }
        if (failed) {
            add_failure(worker, failures++, count, job);
        }
        if (size > 0 && bytes + size <= sizeof worker->body) {
            memcpy(worker->body + bytes, result.data, size);
        }
        worker->seqs[count] = job->seq;
        worker->sizes[count] = (uint32_t)size;
        worker->statuses[count] = (uint32_t)job->status;
        worker->attempts[count] = job->attempt;
        worker->compute_ns[count] = job->compute_ns;
        worker->wait_ns[count] = job->wait_ns;
        worker->pids[count] = worker->pid;
        bytes += size;
        count++;
    }
    *body_size = bytes;
    *failure_count = failures;
    return count;
}

/* One Results; false when there is nothing to say or no credit to say it. */
static bool say_results(struct crew_worker *worker)
{
    size_t body_size;
    size_t failure_count;
    size_t count = gather(worker, &body_size, &failure_count);
    if (count == 0) {
        return false;
    }
    struct crew_job *first = front_job(&worker->finished);
    Np__Results results = NP__RESULTS__INIT;
    results.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = first->session};
    results.epoch = worker->epoch;
    results.seqs = worker->seqs;
    results.sizes = worker->sizes;
    results.statuses = worker->statuses;
    results.attempts = worker->attempts;
    results.compute_ns = worker->compute_ns;
    results.wait_ns = worker->wait_ns;
    results.pids = worker->pids;
    results.n_seqs = results.n_sizes = results.n_statuses = results.n_attempts = results.n_compute_ns = count;
    results.n_wait_ns = results.n_pids = count;
    results.failures = worker->failure_pointers;
    results.n_failures = failure_count;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    struct np_message message = {.body = worker->body, .body_size = body_size};
    void *block = NULL;
    if (body_size > sizeof worker->body) { /* one large result */
        block = np_buffer_take(&first->result);
        message.body = block;
    }
    say(worker, &envelope, &message);
    np_block_free(block);
    worker->used_bytes += body_size;
    for (size_t i = 0; i < count; i++) {
        crew_job_free(NP_CONTAINER(np_list_pop_front(&worker->finished), struct crew_job, node));
    }
    return true;
}

static void say_returned(struct crew_worker *worker)
{
    size_t count = 0;
    struct crew_job *job;
    while (count < NP_BATCH_TASKS_MAX && (job = front_job(&worker->returned)) != NULL) {
        worker->seqs[count] = job->seq;
        worker->attempts[count] = job->attempt;
        count++;
        np_list_remove(&job->node);
        crew_job_free(job);
    }
    Np__Returned returned = NP__RETURNED__INIT;
    returned.session = (ProtobufCBinaryData){.len = sizeof worker->session, .data = worker->session};
    returned.seqs = worker->seqs;
    returned.attempts = worker->attempts;
    returned.n_seqs = returned.n_attempts = count;
    returned.end = np_list_is_empty(&worker->returned);
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RETURNED;
    envelope.returned = &returned;
    say(worker, &envelope, &(struct np_message){0});
    if (returned.end) {
        worker->returns_due--;
    }
}

static void take_assign(struct crew_worker *worker, const Np__Assign *assign, const uint8_t *body, size_t body_size)
{
    bool is_block = assign->n_seqs == 1 && body_size > NP_FRAME_BODY_MAX;
    netpool_function *function = modules_find(assign->function);
    struct np_list jobs;
    np_list_init(&jobs);
    memcpy(worker->session, assign->session.data, sizeof worker->session);
    for (size_t i = 0; i < assign->n_seqs; i++) {
        struct crew_job *job = crew_job_new(body, assign->sizes[i], is_block);
        if (job == NULL) {
            engine_fail(worker->engine, NETPOOL_NO_MEMORY, "out of memory in a pool of threads");
            break;
        }
        body += assign->sizes[i];
        memcpy(job->session, worker->session, sizeof job->session);
        job->seq = assign->seqs[i];
        job->attempt = assign->n_attempts > 0 ? assign->attempts[i] : 1;
        job->timeout_ms = assign->timeout_ms;
        job->request.function = function;
        job->request.item_in_size = assign->item_in_size;
        job->request.item_out_size = assign->item_out_size;
        job->request.attempt = job->attempt;
        job->request.first_item = assign->n_first_items > 0 ? assign->first_items[i] : 0;
        job->request.max_result = worker->settings->max_payload;
        if (function == NULL) {
            job->status = NETPOOL_NO_SUCH_FUNCTION;
        }
        np_list_push_back(function != NULL ? &jobs : &worker->finished, &job->node);
    }
    crew_add(worker->crew, &jobs);
}

/* The program's session is prepared once; that it ends needs no forgetting, as the crew ends with it. */
static void take_prepare(struct crew_worker *worker, const Np__Prepare *prepare, const uint8_t *body,
                         size_t body_size)
{
    if (prepare->initializer[0] == '\0' && prepare->max_tasks_per_executor == 0) {
        return;
    }
    struct crew_preparation preparation = {.initializer = prepare->initializer,
                                           .function = modules_find(prepare->initializer),
                                           .input = {.data = body, .size = body_size},
                                           .max_jobs = prepare->max_tasks_per_executor};
    if (crew_prepare(worker->crew, &preparation) != NETPOOL_OK) {
        engine_fail(worker->engine, NETPOOL_NO_MEMORY, "out of memory in a pool of threads");
    }
}

static void take_withdraw(struct crew_worker *worker, const Np__Withdraw *withdraw)
{
    int64_t now = np_clock_now();
    for (size_t i = 0; i < withdraw->n_seqs; i++) {
        if (withdraw->unstarted_only) {
            (void)crew_cancel_waiting(worker->crew, withdraw->session.data, withdraw->seqs[i]);
        } else {
            (void)crew_cancel(worker->crew, withdraw->session.data, withdraw->seqs[i], now, CANCEL_GRACE_NS);
        }
    }
    if (withdraw->n_seqs > 0) {
        return;
    }
    worker->returns_due++;
    for (uint32_t i = 0; i < withdraw->count; i++) {
        struct crew_job *job = crew_withdraw(worker->crew);
        if (job == NULL) {
            break;
        }
        np_list_push_back(&worker->returned, &job->node);
    }
}

void crew_worker_receive(struct crew_worker *worker, const Np__Envelope *envelope, const void *body, size_t body_size)
{
    switch (envelope->kind_case) {
    case NP__ENVELOPE__KIND_WELCOME:
        worker->epoch = envelope->welcome->epoch;
        worker->credit_bytes = envelope->welcome->credit_bytes;
        worker->is_ready_due = true;
        break;
    case NP__ENVELOPE__KIND_CREDIT:
        worker->credit_bytes = envelope->credit->bytes;
        break;
    case NP__ENVELOPE__KIND_PREPARE:
        take_prepare(worker, envelope->prepare, body, body_size);
        break;
    case NP__ENVELOPE__KIND_ASSIGN:
        take_assign(worker, envelope->assign, body, body_size);
        break;
    case NP__ENVELOPE__KIND_WITHDRAW:
        take_withdraw(worker, envelope->withdraw);
        break;
    default:
        break; /* heartbeats: there is no link to keep alive */
    }
}

bool crew_worker_speak(struct crew_worker *worker)
{
    crew_take(worker->crew, &worker->finished);
    bool said = false;
    if (worker->is_ready_due) {
        say_ready(worker);
        said = true;
    }
    while (worker->returns_due > 0) {
        say_returned(worker);
        said = true;
    }
    while (say_results(worker)) {
        said = true;
    }
    return said;
}

static void say_progress(struct crew_worker *worker)
{
    size_t count = crew_take_progress(worker->crew, worker->seqs, worker->done, worker->total, NP_BATCH_TASKS_MAX);
    if (count == 0) {
        return;
    }
    Np__Progress message = NP__PROGRESS__INIT;
    message.session = (ProtobufCBinaryData){.len = sizeof worker->session, .data = worker->session};
    message.epoch = worker->epoch;
    message.seqs = worker->seqs;
    message.done = worker->done;
    message.total = worker->total;
    message.n_seqs = message.n_done = message.n_total = count;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
    envelope.progress = &message;
    say(worker, &envelope, &(struct np_message){0});
}

void crew_worker_tick(struct crew_worker *worker, int64_t now)
{
    crew_tick(worker->crew, now);
    if (now >= worker->progress_at) {
        worker->progress_at = now + PROGRESS_NS;
        say_progress(worker);
    }
}

int64_t crew_worker_deadline(const struct crew_worker *worker)
{
    int64_t next = crew_deadline(worker->crew);
    return crew_is_busy(worker->crew) ? np_earlier(next, worker->progress_at) : next;
}

netpool_status crew_worker_new(struct crew_worker **out, const struct settings *settings, struct engine *engine,
                               struct embedded *embedded, netpool_error *error)
{
    struct crew_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    worker->settings = settings;
    worker->engine = engine;
    worker->embedded = embedded;
    worker->pid = (uint32_t)getpid();
    np_list_init(&worker->finished);
    np_list_init(&worker->returned);
    netpool_status status = crew_new(&worker->crew, settings->slots, crew_wakes, engine, error);
    if (status != NETPOOL_OK) {
        free(worker);
        return status;
    }
    worker->peer = embedded_connect_worker(embedded, "", "threads", np_clock_now());
    if (worker->peer == 0) {
        crew_worker_destroy(&worker);
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    say_hello(worker);
    *out = worker;
    return NETPOOL_OK;
}

void crew_worker_end(struct crew_worker *worker, int64_t grace_ns)
{
    crew_destroy(&worker->crew, grace_ns);
}

static void free_jobs(struct np_list *list)
{
    for (struct crew_job *job = front_job(list); job != NULL; job = front_job(list)) {
        np_list_remove(&job->node);
        crew_job_free(job);
    }
}

void crew_worker_destroy(struct crew_worker **worker)
{
    struct crew_worker *self = *worker;
    if (self == NULL) {
        return;
    }
    crew_destroy(&self->crew, 0);
    free_jobs(&self->finished);
    free_jobs(&self->returned);
    free(self);
    *worker = NULL;
}
