/*
 * A worker as the protocol describes it: holds what it is assigned, runs as many as it has slots for random times,
 * sends results within its credit, gives back, cancels, drains, and reports what it holds after a broken link.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/task_model.h"
#include "tests/sim/world.h"

enum { SLOTS_MAX = 4, SENT_KEPT = 64, PREPARED_MAX = 64 };
#define WINDOW_BYTES (1 << 18)

struct job {
    struct np_list node;
    struct worker_model *worker;
    uint8_t session[NP_SESSION_SIZE];
    uint64_t epoch;
    uint64_t seq;
    uint32_t attempt;
    uint64_t task; /* first 8 bytes of the payload */
    uint32_t size; /* of the payload */
    unsigned function;
    bool is_cancelled;
    netpool_status status; /* once done */
    uint64_t compute_ns;
    uint64_t generation; /* of the happening that ends it */
    uint64_t link;       /* generation of the link that it came by */
};

/* What was sent before, to be said again. */
struct sent_row {
    uint8_t session[NP_SESSION_SIZE];
    uint64_t epoch, seq;
    uint32_t attempt;
};

/* A session that it was told to prepare for on this link. */
struct prepared {
    uint8_t session[NP_SESSION_SIZE];
    uint64_t version;
};

struct worker_model {
    struct sim_link link;
    unsigned index;
    unsigned slots;
    uint64_t incarnation;
    uint8_t session[NP_SESSION_SIZE];
    uint64_t epoch;
    bool is_welcomed;
    bool is_draining;
    struct np_list waiting; /* jobs */
    struct np_list running;
    struct np_list done; /* results not sent */
    unsigned running_count;
    unsigned held_count;
    uint64_t held_bytes;
    uint64_t sent_bytes, credit_bytes;
    uint64_t wake;
    bool wake_due;
    struct sent_row sent[SENT_KEPT];
    size_t sent_count;
    struct prepared prepared[PREPARED_MAX];
    size_t prepared_count;
};

static const uint64_t longest_ns[WORLD_FUNCTIONS] = {20000, 3000000, 200000000, 1000000, 1};

/* "w" asks for the key of the second. */
static char *const *labels_of(const struct worker_model *worker)
{
    static char *const even[] = {"even", "w=0"};
    static char *const odd[] = {"w=1"};
    return worker->index % 2 == 0 ? even : odd;
}

static struct job *job_of(struct np_list *node)
{
    return NP_CONTAINER(node, struct job, node);
}

static void job_free(struct job *job)
{
    job->worker->held_count--;
    job->worker->held_bytes -= job->size;
    np_list_remove(&job->node);
    free(job);
}

static void free_all(struct np_list *list)
{
    while (!np_list_is_empty(list)) {
        struct job *job = job_of(list->next);
        job_free(job);
    }
}

static void act(struct world *world, void *who);

static void wake(struct world *world, struct worker_model *worker)
{
    if (!worker->wake_due) {
        worker->wake_due = true;
        world_at(world, world->now + (int64_t)world_below(world, 50000), act, worker, &worker->wake);
    }
}

static void start_more(struct world *world, struct worker_model *worker);

/* The job ends at its time. Freed jobs leave their happening behind, so it looks the job up by its number. */
struct ending {
    struct worker_model *worker;
    struct job *job;
    uint64_t generation;
};

static uint64_t job_generation; /* numbers jobs' endings; the simulation is one thread */

static bool is_ill(const struct world *world, const struct job *job);

static void end_job(struct world *world, void *who)
{
    struct ending ending = *(struct ending *)who;
    free(who);
    struct worker_model *worker = ending.worker;
    struct job *job = NULL;
    NP_LIST_EACH(node, &worker->running) {
        if (job_of(node) == ending.job && job_of(node)->generation == ending.generation) {
            job = job_of(node);
        }
    }
    if (job == NULL) {
        return;
    }
    enum task_nature nature = nature_of(job->task);
    if (job->is_cancelled) {
        job->status = NETPOOL_CANCELLED;
    } else if (is_ill(world, job)) {
        job->status = NETPOOL_NOT_INITIALIZED;
    } else if (nature == NATURE_CRASHES || (nature == NATURE_CRASHES_ONCE && job->attempt == 1)) {
        job->status = NETPOOL_CRASHED;
    } else if (nature == NATURE_FAILS || (nature == NATURE_FAILS_ONCE && job->attempt == 1)) {
        job->status = failure_status_of(job->task);
    } else {
        job->status = NETPOOL_OK;
    }
    np_list_remove(&job->node);
    np_list_push_back(&worker->done, &job->node);
    worker->running_count--;
    start_more(world, worker);
    wake(world, worker);
}

static void end_at(struct world *world, struct job *job, int64_t time)
{
    struct ending *ending = malloc(sizeof *ending);
    if (ending == NULL) {
        abort();
    }
    job->generation = ++job_generation;
    *ending = (struct ending){.worker = job->worker, .job = job, .generation = job->generation};
    world_give(world, time, end_job, ending);
}

/* Does this worker have the lease of that job for sure? Its link has not broken since it came. */
static bool is_leased(const struct worker_model *worker, const struct job *job)
{
    return worker->is_welcomed && worker->link.carries && worker->link.is_vouched &&
           worker->link.generation == job->link && !job->is_cancelled;
}

static bool is_ill(const struct world *world, const struct job *job)
{
    struct wish_to_prepare wish;
    return client_model_preparation(world, job->session, job->seq, &wish) && wish.is_ill;
}

static void start_more(struct world *world, struct worker_model *worker)
{
    while (worker->running_count < worker->slots && !np_list_is_empty(&worker->waiting)) {
        struct job *job = job_of(worker->waiting.next);
        np_list_remove(&job->node);
        np_list_push_back(&worker->running, &job->node);
        worker->running_count++;
        if (!is_ill(world, job)) {
            client_model_executed(world, job->session, job->seq, is_leased(worker, job) ? job->epoch : 0);
        }
        job->compute_ns = 500 + world_below(world, longest_ns[job->function]);
        end_at(world, job, world->now + (int64_t)job->compute_ns);
    }
}

static void send_rows(struct world *world, struct worker_model *worker)
{
    static uint8_t body[RESULT_MAX + NP_FRAME_BODY_MAX];
    uint64_t seqs[32], compute[32];
    uint32_t sizes[32], attempts[32], statuses[32];
    Np__Failure failures[32];
    Np__Failure *pointers[32];
    size_t count = 0, body_size = 0, failure_count = 0;
    struct job *first = job_of(worker->done.next);
    uint8_t session[NP_SESSION_SIZE];
    memcpy(session, first->session, NP_SESSION_SIZE);
    uint64_t epoch = first->epoch;
    while (count < 32 && !np_list_is_empty(&worker->done)) {
        struct job *job = job_of(worker->done.next);
        static uint8_t result[RESULT_MAX];
        uint32_t size = job->status == NETPOOL_OK ? result_of(job->task, result, sizeof result) : 0;
        if (memcmp(session, job->session, NP_SESSION_SIZE) != 0 || epoch != job->epoch ||
            (count > 0 && body_size + size > NP_FRAME_BODY_MAX) || worker->sent_bytes + size > worker->credit_bytes) {
            break;
        }
        memcpy(body + body_size, result, size);
        body_size += size;
        worker->sent_bytes += size;
        seqs[count] = job->seq;
        sizes[count] = size;
        attempts[count] = job->attempt;
        statuses[count] = (uint32_t)job->status;
        compute[count] = job->compute_ns;
        if (job->status != NETPOOL_OK) {
            np__failure__init(&failures[failure_count]);
            failures[failure_count].index = (uint32_t)count;
            failures[failure_count].message =
                (char *)(job->status == NETPOOL_NOT_INITIALIZED ? ILL_MESSAGE : "it went wrong");
            pointers[failure_count] = &failures[failure_count];
            failure_count++;
        }
        struct sent_row *row = &worker->sent[worker->sent_count++ % SENT_KEPT];
        memcpy(row->session, job->session, NP_SESSION_SIZE);
        row->epoch = job->epoch;
        row->seq = job->seq;
        row->attempt = job->attempt;
        count++;
        job_free(job);
    }
    WORLD_EXPECT(world, count > 0); /* the credit always allows one result of the largest size */
    Np__Results results = NP__RESULTS__INIT;
    results.session.data = session;
    results.session.len = NP_SESSION_SIZE;
    results.epoch = epoch;
    results.n_seqs = results.n_sizes = results.n_attempts = results.n_statuses = results.n_compute_ns = count;
    results.seqs = seqs;
    results.sizes = sizes;
    results.attempts = attempts;
    results.statuses = statuses;
    results.compute_ns = compute;
    results.n_failures = failure_count;
    results.failures = pointers;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    link_send(world, &worker->link, &envelope, body, body_size);
}

/* How far the first running job is; now and then as if it were another broker's. */
static void send_progress(struct world *world, struct worker_model *worker)
{
    struct job *job = job_of(worker->running.next);
    bool is_forged = world_chance(world, 4);
    uint64_t total = is_forged ? 1 : progress_of(job->session, job->seq);
    Np__Progress progress = NP__PROGRESS__INIT;
    progress.session.data = job->session;
    progress.session.len = NP_SESSION_SIZE;
    progress.epoch = job->epoch + (is_forged ? 1000 : 0);
    progress.n_seqs = progress.n_done = progress.n_total = 1;
    progress.seqs = progress.done = &job->seq;
    progress.total = &total;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
    envelope.progress = &progress;
    link_send(world, &worker->link, &envelope, NULL, 0);
}

static void restart(struct world *world, void *who);

static void act(struct world *world, void *who)
{
    struct worker_model *worker = who;
    worker->wake_due = false;
    if (!worker->is_welcomed) {
        return;
    }
    if (!np_list_is_empty(&worker->running) && world_chance(world, 8)) {
        send_progress(world, worker);
    }
    while (!np_list_is_empty(&worker->done)) {
        uint32_t next =
            job_of(worker->done.next)->status == NETPOOL_OK ? result_of(job_of(worker->done.next)->task, NULL, 0) : 0;
        if (worker->sent_bytes + next > worker->credit_bytes) {
            return; /* Credit wakes it */
        }
        send_rows(world, worker);
    }
    if (worker->is_draining && worker->held_count == 0) {
        link_goodbye(world, &worker->link);
        worker->is_welcomed = false;
        world_at(world, world->now + 10 * NP_NS_PER_MS, restart, worker, &worker->link.generation);
    }
}

static void send_returned(struct world *world, struct worker_model *worker, uint64_t count, bool end)
{
    while (count > 0 && !np_list_is_empty(&worker->waiting)) {
        uint64_t seqs[64];
        uint32_t attempts[64];
        size_t taken = 0;
        uint8_t session[NP_SESSION_SIZE];
        memcpy(session, job_of(worker->waiting.previous)->session, NP_SESSION_SIZE);
        while (count > 0 && taken < 64 && !np_list_is_empty(&worker->waiting) &&
               memcmp(session, job_of(worker->waiting.previous)->session, NP_SESSION_SIZE) == 0) {
            struct job *job = job_of(worker->waiting.previous);
            seqs[taken] = job->seq;
            attempts[taken++] = job->attempt;
            count--;
            job_free(job);
        }
        Np__Returned returned = NP__RETURNED__INIT;
        returned.session.data = session;
        returned.session.len = NP_SESSION_SIZE;
        returned.n_seqs = returned.n_attempts = taken;
        returned.seqs = seqs;
        returned.attempts = attempts;
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_RETURNED;
        envelope.returned = &returned;
        link_send(world, &worker->link, &envelope, NULL, 0);
        world->returned += taken;
    }
    if (end) {
        Np__Returned returned = NP__RETURNED__INIT;
        returned.end = true;
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_RETURNED;
        envelope.returned = &returned;
        link_send(world, &worker->link, &envelope, NULL, 0);
    }
}

static void cancel_job(struct world *world, struct worker_model *worker, struct job *job, bool is_running)
{
    job->is_cancelled = true;
    if (is_running) {
        /* Told, then killed; or it ends on its own before. */
        end_at(world, job, world->now + (int64_t)world_below(world, 20 * NP_NS_PER_MS));
    } else {
        job->status = NETPOOL_CANCELLED;
        np_list_remove(&job->node);
        np_list_push_back(&worker->done, &job->node);
    }
}

static void on_withdraw(struct world *world, struct worker_model *worker, const Np__Withdraw *withdraw)
{
    if (withdraw->n_seqs == 0) {
        send_returned(world, worker, withdraw->count, true);
        return;
    }
    struct np_list *lists[] = {&worker->waiting, &worker->running};
    /* What has started goes on where that is wanted. */
    size_t lists_searched = withdraw->unstarted_only ? 1 : 2;
    for (size_t i = 0; i < withdraw->n_seqs; i++) {
        for (size_t k = 0; k < lists_searched; k++) {
            NP_LIST_EACH(node, lists[k]) {
                struct job *job = job_of(node);
                if (job->seq == withdraw->seqs[i] && !job->is_cancelled &&
                    memcmp(job->session, withdraw->session.data, NP_SESSION_SIZE) == 0) {
                    cancel_job(world, worker, job, k == 1);
                }
            }
        }
    }
    wake(world, worker);
}

static void check_lane(struct world *world, const struct job *job, const struct wish *wish)
{
    for (size_t i = 0; i < WORLD_WORKERS; i++) {
        struct worker_model *other = world->workers[i];
        struct np_list *lists[] = {&other->waiting, &other->running, &other->done};
        for (size_t k = 0; k < 3; k++) {
            NP_LIST_EACH(node, lists[k]) {
                struct wish its;
                if (job_of(node) != job && is_leased(other, job_of(node)) &&
                    client_model_wish(world, job_of(node)->session, job_of(node)->seq, &its)) {
                    WORLD_EXPECT(world, its.client != wish->client || its.lane != wish->lane);
                }
            }
        }
    }
}

/* While something wide is here, everything here runs at once. */
static void check_slots(struct world *world, const struct worker_model *worker)
{
    struct np_list *lists[] = {(struct np_list *)&worker->waiting, (struct np_list *)&worker->running,
                               (struct np_list *)&worker->done};
    unsigned slots = 0;
    bool is_wide = false;
    for (size_t k = 0; k < 3; k++) {
        NP_LIST_EACH(node, lists[k]) {
            struct wish wish;
            if (!is_leased(worker, job_of(node)) ||
                !client_model_wish(world, job_of(node)->session, job_of(node)->seq, &wish)) {
                return; /* the broker need not know all about it */
            }
            slots += wish.slots;
            is_wide |= wish.slots > 1;
        }
    }
    WORLD_EXPECT(world, !is_wide || slots <= worker->slots);
    world->wide += is_wide;
}

static struct prepared *find_prepared(struct worker_model *worker, const uint8_t *session)
{
    for (size_t i = 0; i < worker->prepared_count; i++) {
        if (memcmp(worker->prepared[i].session, session, NP_SESSION_SIZE) == 0) {
            return &worker->prepared[i];
        }
    }
    return NULL;
}

static void on_prepare(struct world *world, struct worker_model *worker, const Np__Prepare *prepare,
                       const uint8_t *body, size_t body_size)
{
    struct prepared *known = find_prepared(worker, prepare->session.data);
    if (prepare->initializer[0] == '\0') {
        WORLD_EXPECT(world, known != NULL && body_size == 0); /* nothing else can be forgotten */
        *known = worker->prepared[--worker->prepared_count];
        return;
    }
    WORLD_EXPECT(world, body_size == PREPARATION_SIZE);
    WORLD_EXPECT(world, memcmp(body, prepare->session.data, NP_SESSION_SIZE) == 0);
    uint64_t version;
    memcpy(&version, body + NP_SESSION_SIZE, sizeof version);
    if (known == NULL) {
        WORLD_EXPECT(world, worker->prepared_count < PREPARED_MAX);
        known = &worker->prepared[worker->prepared_count++];
        memcpy(known->session, prepare->session.data, NP_SESSION_SIZE);
    } else {
        WORLD_EXPECT(world, known->version < version); /* the same is not said twice */
    }
    known->version = version;
}

/* It has been told what the task was submitted under, or something newer. */
static void check_prepared(struct world *world, struct worker_model *worker, const struct job *job)
{
    struct wish_to_prepare wish;
    if (!client_model_preparation(world, job->session, job->seq, &wish)) {
        return;
    }
    const struct prepared *known = find_prepared(worker, job->session);
    WORLD_EXPECT(world, (known != NULL) == (wish.version > 0));
    WORLD_EXPECT(world, known == NULL || known->version >= wish.version);
    world->prepared += known != NULL;
}

static void check_assignment(struct world *world, struct worker_model *worker, const struct job *job)
{
    struct wish wish;
    if (!client_model_wish(world, job->session, job->seq, &wish)) {
        return;
    }
    if (wish.label != NULL) {
        WORLD_EXPECT(world, strcmp(wish.label, "w") == 0 || strcmp(wish.label, labels_of(worker)[0]) == 0);
        world->labelled++;
    }
    if (wish.lane != 0) {
        check_lane(world, job, &wish);
    }
    check_prepared(world, worker, job);
    check_slots(world, worker);
}

static void on_assign(struct world *world, struct worker_model *worker, const Np__Assign *assign, const uint8_t *body)
{
    if (!worker->is_welcomed) {
        return; /* it has said GOODBYE, and starts nothing */
    }
    for (size_t i = 0; i < assign->n_seqs; i++) {
        struct job *job = calloc(1, sizeof *job);
        if (job == NULL) {
            abort();
        }
        job->worker = worker;
        memcpy(job->session, assign->session.data, NP_SESSION_SIZE);
        job->epoch = worker->epoch;
        job->link = worker->link.generation;
        job->seq = assign->seqs[i];
        job->attempt = assign->n_attempts > 0 ? assign->attempts[i] : 1;
        job->size = assign->sizes[i];
        memcpy(&job->task, body, sizeof job->task);
        body += job->size;
        while (strcmp(function_names[job->function], assign->function) != 0) {
            job->function++;
            WORLD_EXPECT(world, job->function < WORLD_FUNCTIONS - 1);
        }
        WORLD_EXPECT(world, job->function != 3 || worker->index == 0);
        np_list_push_back(&worker->waiting, &job->node);
        worker->held_count++;
        worker->held_bytes += job->size;
        check_assignment(world, worker, job);
        WORLD_EXPECT(world, worker->held_count == 1 || worker->held_bytes <= WINDOW_BYTES);
        WORLD_EXPECT(world, worker->held_count <= worker->slots * 1024 + 1);
    }
    if (worker->is_draining) {
        send_returned(world, worker, UINT64_MAX, false); /* it was on its way when the draining began */
    }
    start_more(world, worker);
    wake(world, worker);
}

static void send_held(struct world *world, struct worker_model *worker)
{
    struct np_list *lists[] = {&worker->waiting, &worker->running, &worker->done};
    for (size_t k = 0; k < 3; k++) {
        NP_LIST_EACH(node, lists[k]) {
            struct job *job = job_of(node);
            Np__Held held = NP__HELD__INIT;
            held.session.data = job->session;
            held.session.len = NP_SESSION_SIZE;
            held.epoch = job->epoch;
            held.n_seqs = held.n_attempts = 1;
            held.seqs = &job->seq;
            held.attempts = &job->attempt;
            Np__Envelope envelope = NP__ENVELOPE__INIT;
            envelope.kind_case = NP__ENVELOPE__KIND_HELD;
            envelope.held = &held;
            link_send(world, &worker->link, &envelope, NULL, 0);
        }
    }
}

static void send_empty(struct world *world, struct worker_model *worker, Np__Envelope__KindCase kind)
{
    Np__Ready ready = NP__READY__INIT;
    Np__Drain drain = NP__DRAIN__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = kind;
    if (kind == NP__ENVELOPE__KIND_READY) {
        envelope.ready = &ready;
    } else {
        envelope.drain = &drain;
    }
    link_send(world, &worker->link, &envelope, NULL, 0);
}

static void received(struct world *world, void *model, const Np__Envelope *envelope, const uint8_t *body,
                     size_t body_size)
{
    struct worker_model *worker = model;
    switch ((int)envelope->kind_case) {
    case NP__ENVELOPE__KIND_WELCOME:
        worker->is_welcomed = true;
        worker->epoch = envelope->welcome->epoch;
        worker->credit_bytes = envelope->welcome->credit_bytes;
        worker->sent_bytes = 0;
        worker->prepared_count = 0;
        send_held(world, worker);
        send_empty(world, worker, NP__ENVELOPE__KIND_READY);
        if (worker->is_draining) {
            send_empty(world, worker, NP__ENVELOPE__KIND_DRAIN);
            send_returned(world, worker, UINT64_MAX, false);
        }
        wake(world, worker);
        break;
    case NP__ENVELOPE__KIND_CREDIT:
        WORLD_EXPECT(world, envelope->credit->bytes >= worker->credit_bytes);
        worker->credit_bytes = envelope->credit->bytes;
        wake(world, worker);
        break;
    case NP__ENVELOPE__KIND_ASSIGN:
        on_assign(world, worker, envelope->assign, body);
        break;
    case NP__ENVELOPE__KIND_WITHDRAW:
        on_withdraw(world, worker, envelope->withdraw);
        break;
    case NP__ENVELOPE__KIND_PREPARE:
        on_prepare(world, worker, envelope->prepare, body, body_size);
        break;
    default:
        world_fail(world, "a worker was sent %s", np_message_kind_name(envelope->kind_case));
    }
}

static void opened(struct world *world, void *model)
{
    struct worker_model *worker = model;
    char name[16];
    snprintf(name, sizeof name, "worker-%u", worker->index);
    Np__Hello hello = NP__HELLO__INIT;
    hello.version_min = hello.version_max = 1;
    hello.role = NP__ROLE__WORKER;
    hello.name = name;
    hello.session.data = worker->session;
    hello.session.len = NP_SESSION_SIZE;
    hello.slots = worker->slots;
    hello.window_bytes = WINDOW_BYTES;
    hello.functions = (char **)function_names;
    hello.n_functions = worker->index == 0 ? 4 : 3;
    char *labels[2]; /* the core may put them in another order */
    hello.n_labels = worker->index % 2 == 0 ? 2 : 1;
    memcpy(labels, labels_of(worker), hello.n_labels * sizeof *labels);
    hello.labels = labels;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    link_send(world, &worker->link, &envelope, NULL, 0);
}

static void reconnect(struct world *world, void *who)
{
    struct worker_model *worker = who;
    link_connect(world, &worker->link);
}

static void lost(struct world *world, void *model)
{
    struct worker_model *worker = model;
    worker->is_welcomed = false;
    world_at(world, world->now + 1 + (int64_t)world_below(world, 200 * NP_NS_PER_MS), reconnect, worker,
             &worker->link.generation);
}

/* A new process. */
static void begin(struct world *world, struct worker_model *worker)
{
    free_all(&worker->waiting);
    free_all(&worker->running);
    free_all(&worker->done);
    worker->incarnation++;
    uint64_t id[2] = {world_hash(world->seed + 1 + worker->index, worker->incarnation), 1000};
    memcpy(worker->session, id, NP_SESSION_SIZE);
    worker->running_count = 0;
    worker->is_welcomed = worker->is_draining = false;
}

static void restart(struct world *world, void *who)
{
    struct worker_model *worker = who;
    begin(world, worker);
    link_connect(world, &worker->link);
}

struct worker_model *worker_model_new(struct world *world, unsigned index)
{
    struct worker_model *worker = calloc(1, sizeof *worker);
    if (worker == NULL) {
        abort();
    }
    worker->index = index;
    worker->slots = 1 + index % SLOTS_MAX;
    np_list_init(&worker->waiting);
    np_list_init(&worker->running);
    np_list_init(&worker->done);
    link_init(&worker->link, worker);
    worker->link.received = received;
    worker->link.lost = lost;
    worker->link.opened = opened;
    begin(world, worker);
    world_at(world, world->now + index, reconnect, worker, &worker->link.generation);
    return worker;
}

void worker_model_destroy(struct worker_model **worker)
{
    free_all(&(*worker)->waiting);
    free_all(&(*worker)->running);
    free_all(&(*worker)->done);
    free(*worker);
    *worker = NULL;
}

void worker_model_crash(struct world *world, struct worker_model *worker)
{
    link_break(world, &worker->link);
    begin(world, worker);
    worker->link.is_up = false;
    world_at(world, world->now + (int64_t)world_below(world, NP_NS_PER_S), reconnect, worker,
             &worker->link.generation);
}

void worker_model_drain(struct world *world, struct worker_model *worker)
{
    if (!worker->is_welcomed || worker->is_draining) {
        return;
    }
    worker->is_draining = true;
    send_empty(world, worker, NP__ENVELOPE__KIND_DRAIN);
    send_returned(world, worker, UINT64_MAX, false);
    wake(world, worker);
}

static void send_row(struct world *world, struct worker_model *worker, const struct sent_row *row)
{
    static uint8_t wrong[8] = "forged!";
    uint64_t seq = row->seq;
    uint32_t size = sizeof wrong;
    uint32_t attempt = row->attempt;
    if (worker->sent_bytes + size > worker->credit_bytes) {
        return;
    }
    worker->sent_bytes += size;
    Np__Results results = NP__RESULTS__INIT;
    results.session.data = (uint8_t *)row->session;
    results.session.len = NP_SESSION_SIZE;
    results.epoch = row->epoch;
    results.n_seqs = results.n_sizes = results.n_attempts = 1;
    results.seqs = &seq;
    results.sizes = &size;
    results.attempts = &attempt;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    link_send(world, &worker->link, &envelope, wrong, size);
    world->forgeries++;
}

void worker_model_forge(struct world *world, struct worker_model *worker, struct worker_model *victim)
{
    if (!worker->is_welcomed) {
        return;
    }
    /* Something it has answered before, said again with other words ... */
    if (worker->sent_count > 0) {
        size_t kept = worker->sent_count < SENT_KEPT ? worker->sent_count : SENT_KEPT;
        const struct sent_row *row = &worker->sent[world_below(world, kept)];
        bool is_again_its_own = false;
        struct np_list *lists[] = {&worker->waiting, &worker->running, &worker->done};
        for (size_t k = 0; k < 3; k++) {
            NP_LIST_EACH(node, lists[k]) {
                is_again_its_own |= job_of(node)->seq == row->seq;
            }
        }
        if (!is_again_its_own) {
            send_row(world, worker, row);
        }
    }
    /* ... and something that another one is running. */
    if (victim != worker && !np_list_is_empty(&victim->running)) {
        const struct job *job = job_of(victim->running.next);
        struct sent_row row = {.epoch = job->epoch, .seq = job->seq, .attempt = job->attempt};
        memcpy(row.session, job->session, NP_SESSION_SIZE);
        send_row(world, worker, &row);
    }
}

struct sim_link *worker_model_link(struct worker_model *worker)
{
    return &worker->link;
}
