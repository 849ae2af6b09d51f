/*
 * A client as the protocol describes it: submits within its credit, in ascending seqs; takes results, checks them and
 * acknowledges; resumes after a broken link; submits again what has no result when the broker does not know it any
 * more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/task_model.h"
#include "tests/sim/world.h"

enum { OUTSTANDING_MAX = 300, BATCH_MAX = 40, TASKS_MAX = 1 << 17 };

struct model_task {
    bool is_done;
    bool was_sent;
    bool may_be_had;   /* by an earlier broker */
    bool is_cancelled; /* asked for */
    uint64_t prepared; /* version of the preparation that it was submitted under */
    uint8_t status;
    uint16_t executions;
    uint64_t overtaken;  /* epoch of the broker that started a later task of its lane; 0: none */
    uint32_t done_link;  /* generation of the link that brought the result first */
    uint64_t sent_tasks; /* cumulative in the session, with this one */
    uint64_t sent_bytes;
};

struct client_model {
    struct sim_link link;
    unsigned index;
    uint64_t incarnation;
    uint8_t session[NP_SESSION_SIZE];
    bool was_welcomed;
    bool is_welcomed;         /* on this link */
    struct model_task *tasks; /* by seq */
    uint64_t last_seq;        /* the newest task */
    uint64_t cursor;          /* submitted in this session up to here */
    uint64_t first_open;      /* all before are done */
    uint64_t open_count;
    uint64_t sent_tasks, sent_bytes;
    uint64_t credit_tasks, credit_bytes;
    uint64_t acks[OUTSTANDING_MAX * 2];
    size_t ack_count;
    uint64_t preparation; /* its version; 0: none */
    bool is_ill;
    uint64_t wake; /* generation of the next act */
};

static uint64_t key_of(const struct client_model *client)
{
    return client->incarnation << 8 | client->index;
}

static void act(struct world *world, void *who);

static void wake(struct world *world, struct client_model *client, int64_t after_ns)
{
    client->wake++;
    world_at(world, world->now + after_ns, act, client, &client->wake);
}

static void send_acks(struct world *world, struct client_model *client)
{
    if (client->ack_count == 0) {
        return;
    }
    Np__Acknowledge acknowledge = NP__ACKNOWLEDGE__INIT;
    acknowledge.n_seqs = client->ack_count;
    acknowledge.seqs = client->acks;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_ACKNOWLEDGE;
    envelope.acknowledge = &acknowledge;
    link_send(world, &client->link, &envelope, NULL, 0);
    client->ack_count = 0;
}

static void send_preparation(struct world *world, struct client_model *client)
{
    if (client->preparation == 0) {
        return;
    }
    uint8_t input[PREPARATION_SIZE];
    memcpy(input, client->session, NP_SESSION_SIZE);
    memcpy(input + NP_SESSION_SIZE, &client->preparation, sizeof client->preparation);
    Np__Prepare prepare = NP__PREPARE__INIT;
    prepare.initializer = (char *)"prepare";
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PREPARE;
    envelope.prepare = &prepare;
    link_send(world, &client->link, &envelope, input, sizeof input);
}

static void send_cancel(struct world *world, struct client_model *client, uint64_t seq)
{
    client->tasks[seq].is_cancelled = true;
    Np__Cancel cancel = NP__CANCEL__INIT;
    cancel.unstarted_only = world_chance(world, 2);
    cancel.n_seqs = 1;
    cancel.seqs = &seq;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CANCEL;
    envelope.cancel = &cancel;
    link_send(world, &client->link, &envelope, NULL, 0);
}

static bool same_batch(const struct client_model *client, uint64_t a, uint64_t b)
{
    return a / 16 == b / 16 && client->tasks[a].may_be_had == client->tasks[b].may_be_had;
}

/* The next batch within the credit. False when there is none. */
static bool send_batch(struct world *world, struct client_model *client)
{
    uint64_t seqs[BATCH_MAX];
    uint32_t sizes[BATCH_MAX];
    uint64_t lanes[BATCH_MAX];
    static uint8_t body[BATCH_MAX * 300 + 70000];
    size_t count = 0;
    size_t body_size = 0;
    size_t most = 1 + world_below(world, BATCH_MAX);
    while (count < most && client->cursor < client->last_seq) {
        uint64_t seq = client->cursor + 1;
        struct model_task *task = &client->tasks[seq];
        uint32_t size = payload_size(key_of(client), seq);
        if (task->is_done) {
            client->cursor++;
            continue;
        }
        if ((count > 0 && (!same_batch(client, seqs[0], seq) || body_size + size > NP_FRAME_BODY_MAX)) ||
            client->sent_tasks + 1 > client->credit_tasks || client->sent_bytes + size > client->credit_bytes) {
            break;
        }
        uint64_t id = task_id(key_of(client), seq);
        memset(body + body_size, 0, size);
        memcpy(body + body_size, &id, sizeof id);
        body_size += size;
        seqs[count] = seq;
        lanes[count] = lane_of(key_of(client), seq);
        sizes[count++] = size;
        task->sent_tasks = ++client->sent_tasks;
        task->sent_bytes = client->sent_bytes += size;
        client->cursor++;
    }
    if (count == 0) {
        return false;
    }
    struct task_options options = options_of(key_of(client), seqs[0]);
    Np__Submit submit = NP__SUBMIT__INIT;
    submit.function = (char *)function_names[options.function];
    submit.n_seqs = submit.n_sizes = submit.n_lanes = count;
    submit.seqs = seqs;
    submit.sizes = sizes;
    submit.lanes = lanes;
    submit.n_labels = options.label != NULL;
    submit.labels = (char **)&options.label;
    submit.slots = options.slots;
    submit.retry_delay_ms = options.retry_delay_ms;
    submit.retry_failures = options.retry_failures;
    submit.priority = options.priority;
    submit.max_attempts = options.max_attempts;
    submit.expiry_ms = options.expiry_ms;
    submit.at_most_once = options.at_most_once;
    submit.resumed = client->tasks[seqs[0]].may_be_had;
    for (size_t i = 0; i < count; i++) {
        client->tasks[seqs[i]].was_sent = true;
        client->tasks[seqs[i]].prepared = client->preparation;
    }
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    link_send(world, &client->link, &envelope, body, body_size);
    return true;
}

static void act(struct world *world, void *who)
{
    struct client_model *client = who;
    if (!client->is_welcomed) {
        return;
    }
    if (!world->is_calm && client->last_seq + 64 < TASKS_MAX) {
        while (client->open_count < OUTSTANDING_MAX && !world_chance(world, 40)) {
            client->last_seq++;
            client->open_count++;
        }
    }
    if (client->preparation > 0 && world_chance(world, 500)) {
        client->preparation++;
        send_preparation(world, client);
    }
    if (world_chance(world, 3) || world->is_calm) {
        send_acks(world, client);
    }
    for (unsigned i = 0; i < 6 && send_batch(world, client); i++) {
    }
    if (!world->is_calm && world_chance(world, 12) && client->cursor > client->first_open) {
        uint64_t seq = client->first_open + world_below(world, client->cursor - client->first_open) + 1;
        if (seq <= client->cursor && !client->tasks[seq].is_done) {
            send_cancel(world, client, seq);
        }
    }
    wake(world, client, (int64_t)world_below(world, 2 * NP_NS_PER_MS) + 1000);
}

static void on_welcome(struct world *world, struct client_model *client, const Np__Welcome *welcome)
{
    WORLD_EXPECT(world, client->was_welcomed || !welcome->resumed);
    client->was_welcomed = true;
    client->is_welcomed = true;
    client->credit_tasks = welcome->credit_tasks;
    client->credit_bytes = welcome->credit_bytes;
    client->ack_count = 0; /* results come again */
    if (welcome->resumed) {
        WORLD_EXPECT(world, welcome->received_seq <= client->last_seq);
        client->cursor = welcome->received_seq;
        client->sent_tasks = client->tasks[client->cursor].sent_tasks;
        client->sent_bytes = client->tasks[client->cursor].sent_bytes;
    } else {
        client->cursor = 0;
        while (client->cursor < client->last_seq && client->tasks[client->cursor + 1].is_done) {
            client->cursor++;
        }
        client->sent_tasks = client->sent_bytes = 0;
        for (uint64_t seq = client->cursor + 1; seq <= client->last_seq; seq++) {
            client->tasks[seq].may_be_had |= client->tasks[seq].was_sent;
            client->tasks[seq].overtaken = 0; /* what has ended without our knowing runs again */
        }
    }
    send_preparation(world, client);
    wake(world, client, 0);
}

static void check_failure(struct world *world, struct client_model *client, uint64_t seq, netpool_status status,
                          uint32_t attempt, const Np__Failure *failure)
{
    struct task_options options = options_of(key_of(client), seq);
    enum task_nature nature = nature_of(task_id(key_of(client), seq));
    unsigned max_attempts = options.max_attempts == 0 ? 3 : options.max_attempts;
    bool crashes = nature == NATURE_CRASHES || nature == NATURE_CRASHES_ONCE;
    bool fails = nature == NATURE_FAILS || nature == NATURE_FAILS_ONCE;
    bool is_stopped = client->tasks[seq].is_cancelled || options.expiry_ms > 0;
    bool is_retried = options.retry_failures && !options.at_most_once && max_attempts > 1;
    WORLD_EXPECT(world, failure != NULL && failure->message[0] != '\0');
    switch (status) {
    case NETPOOL_FAILED:
        WORLD_EXPECT(world, fails && (!is_retried || is_stopped || attempt >= max_attempts));
        WORLD_EXPECT(world, !is_retried || is_stopped || failure->n_attempts >= 1);
        break;
    case NETPOOL_CRASHED:
        WORLD_EXPECT(world, crashes && (options.at_most_once || max_attempts == 1 || is_stopped));
        break;
    case NETPOOL_POISON:
        WORLD_EXPECT(world, crashes && max_attempts > 1 && !options.at_most_once && attempt >= max_attempts);
        WORLD_EXPECT(world, failure->n_attempts >= 1 && failure->n_attempts <= max_attempts);
        WORLD_EXPECT(world, failure->attempts[failure->n_attempts - 1]->status == NETPOOL_CRASHED);
        world->poisoned++;
        break;
    case NETPOOL_LOST:
        WORLD_EXPECT(world, options.at_most_once || attempt >= max_attempts);
        world->lost++;
        break;
    case NETPOOL_CANCELLED:
        WORLD_EXPECT(world, client->tasks[seq].is_cancelled);
        WORLD_EXPECT(world, attempt > 0 || client->tasks[seq].may_be_had || client->tasks[seq].executions == 0);
        WORLD_EXPECT(world, attempt > 0 || !failure->started);
        break;
    case NETPOOL_NOT_INITIALIZED:
        WORLD_EXPECT(world, client->is_ill && strcmp(failure->message, ILL_MESSAGE) == 0);
        break;
    case NETPOOL_DEADLINE:
        WORLD_EXPECT(world,
                     options.expiry_ms > 0 || (fails && (!is_retried || is_stopped || attempt >= max_attempts)));
        break;
    case NETPOOL_NO_SUCH_FUNCTION:
        WORLD_EXPECT(world, options.function >= 3); /* `rare` has one worker, and that may be away */
        break;
    default:
        world_fail(world, "task %llu ended as %s", (unsigned long long)seq, netpool_status_name(status));
    }
}

static void take_result(struct world *world, struct client_model *client, uint64_t seq, netpool_status status,
                        uint32_t attempt, const uint8_t *data, uint32_t size, const Np__Failure *failure)
{
    WORLD_EXPECT(world, seq >= 1 && seq <= client->cursor);
    struct model_task *task = &client->tasks[seq];
    if (task->is_done) {
        /* Allowed only when the acknowledgement may have been lost with an earlier link. */
        WORLD_EXPECT(world, task->done_link != (uint32_t)client->link.generation);
        WORLD_EXPECT(world, task->status == status);
        world->retransmitted++;
        return;
    }
    static uint8_t right[RESULT_MAX];
    if (status == NETPOOL_OK) {
        uint32_t right_size = result_of(task_id(key_of(client), seq), right, sizeof right);
        WORLD_EXPECT(world, size == right_size && memcmp(right, data, size) == 0);
        enum task_nature nature = nature_of(task_id(key_of(client), seq));
        WORLD_EXPECT(world,
                     !client->is_ill && nature != NATURE_FAILS && (nature != NATURE_FAILS_ONCE || attempt > 1));
    } else {
        check_failure(world, client, seq, status, attempt, failure);
    }
    task->is_done = true;
    task->status = (uint8_t)status;
    task->done_link = (uint32_t)client->link.generation;
    client->open_count--;
    while (client->first_open < client->last_seq && client->tasks[client->first_open + 1].is_done) {
        client->first_open++;
    }
    world->completed++;
}

static void on_results(struct world *world, struct client_model *client, const Np__Results *results,
                       const uint8_t *body)
{
    for (size_t i = 0; i < results->n_seqs; i++) {
        const Np__Failure *failure = NULL;
        for (size_t k = 0; k < results->n_failures; k++) {
            if (results->failures[k]->index == i) {
                failure = results->failures[k];
            }
        }
        take_result(world, client, results->seqs[i],
                    results->n_statuses > 0 ? (netpool_status)results->statuses[i] : NETPOOL_OK,
                    results->n_attempts > 0 ? results->attempts[i] : 1, body, results->sizes[i], failure);
        body += results->sizes[i];
        if (client->ack_count == sizeof client->acks / sizeof *client->acks) {
            send_acks(world, client);
        }
        client->acks[client->ack_count++] = results->seqs[i];
    }
}

static void on_progress(struct world *world, struct client_model *client, const Np__Progress *progress)
{
    for (size_t i = 0; i < progress->n_seqs; i++) {
        uint64_t seq = progress->seqs[i];
        WORLD_EXPECT(world, seq >= 1 && seq <= client->last_seq && progress->done[i] == seq);
        WORLD_EXPECT(world, progress->total[i] == progress_of(client->session, seq));
        world->progressed++;
    }
}

static void received(struct world *world, void *model, const Np__Envelope *envelope, const uint8_t *body,
                     size_t body_size)
{
    struct client_model *client = model;
    (void)body_size;
    switch ((int)envelope->kind_case) {
    case NP__ENVELOPE__KIND_WELCOME:
        on_welcome(world, client, envelope->welcome);
        break;
    case NP__ENVELOPE__KIND_CREDIT:
        WORLD_EXPECT(world, envelope->credit->tasks >= client->credit_tasks);
        WORLD_EXPECT(world, envelope->credit->bytes >= client->credit_bytes);
        client->credit_tasks = envelope->credit->tasks;
        client->credit_bytes = envelope->credit->bytes;
        break;
    case NP__ENVELOPE__KIND_RESULTS:
        WORLD_EXPECT(world, client->is_welcomed);
        on_results(world, client, envelope->results, body);
        break;
    case NP__ENVELOPE__KIND_PROGRESS:
        WORLD_EXPECT(world, client->is_welcomed);
        on_progress(world, client, envelope->progress);
        break;
    default:
        world_fail(world, "a client was sent %s", np_message_kind_name(envelope->kind_case));
    }
}

static void opened(struct world *world, void *model)
{
    struct client_model *client = model;
    Np__Hello hello = NP__HELLO__INIT;
    hello.version_min = hello.version_max = 1;
    hello.role = NP__ROLE__CLIENT;
    hello.name = (char *)"client";
    hello.session.data = client->session;
    hello.session.len = NP_SESSION_SIZE;
    hello.resume = client->was_welcomed;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    link_send(world, &client->link, &envelope, NULL, 0);
}

static void reconnect(struct world *world, void *who)
{
    struct client_model *client = who;
    link_connect(world, &client->link);
}

static void lost(struct world *world, void *model)
{
    struct client_model *client = model;
    client->is_welcomed = false;
    /* Most come back at once, some after their session's grace. */
    int64_t away = !world->is_calm && world_chance(world, 8) ? 3 * NP_NS_PER_S : 100 * NP_NS_PER_MS;
    world_at(world, world->now + 1 + (int64_t)world_below(world, (uint64_t)away), reconnect, client,
             &client->link.generation);
}

static void begin(struct world *world, struct client_model *client)
{
    client->incarnation++;
    uint64_t id[2] = {world_hash(world->seed ^ client->index << 20, client->incarnation), client->index};
    memcpy(client->session, id, NP_SESSION_SIZE);
    memset(client->tasks, 0, TASKS_MAX * sizeof *client->tasks);
    client->was_welcomed = client->is_welcomed = false;
    client->last_seq = client->cursor = client->first_open = client->open_count = 0;
    client->ack_count = 0;
    uint64_t bits = task_id(key_of(client), UINT64_C(1) << 43);
    client->preparation = bits % 2 == 0 ? 1 : 0;
    client->is_ill = bits % 16 == 0;
}

struct client_model *client_model_new(struct world *world, unsigned index)
{
    struct client_model *client = calloc(1, sizeof *client);
    if (client == NULL || (client->tasks = calloc(TASKS_MAX, sizeof *client->tasks)) == NULL) {
        abort();
    }
    client->index = index;
    link_init(&client->link, client);
    client->link.received = received;
    client->link.lost = lost;
    client->link.opened = opened;
    begin(world, client);
    world_at(world, world->now + index, reconnect, client, &client->link.generation);
    return client;
}

void client_model_destroy(struct client_model **client)
{
    free((*client)->tasks);
    free(*client);
    *client = NULL;
}

void client_model_kill(struct world *world, struct client_model *client)
{
    if (world_chance(world, 2)) {
        link_goodbye(world, &client->link);
    } else {
        link_break(world, &client->link);
    }
    begin(world, client);
    client->wake++;
    client->link.is_up = false;
    world_at(world, world->now + NP_NS_PER_MS * 5, reconnect, client, &client->link.generation);
}

bool client_model_is_done(const struct client_model *client)
{
    return client->open_count == 0 && client->ack_count == 0 && client->is_welcomed;
}

void client_model_describe(const struct client_model *client, char *out, size_t size)
{
    snprintf(out, size, "client %u: %llu open, first %llu, cursor %llu, last %llu, credit %llu/%llu of %llu/%llu, %s",
             client->index, (unsigned long long)client->open_count, (unsigned long long)client->first_open + 1,
             (unsigned long long)client->cursor, (unsigned long long)client->last_seq,
             (unsigned long long)client->sent_tasks, (unsigned long long)client->sent_bytes,
             (unsigned long long)client->credit_tasks, (unsigned long long)client->credit_bytes,
             client->is_welcomed ? "welcomed" : "not welcomed");
}

struct sim_link *client_model_link(struct client_model *client)
{
    return &client->link;
}

static struct client_model *find_client(const struct world *world, const uint8_t *session)
{
    for (size_t i = 0; i < WORLD_CLIENTS; i++) {
        if (memcmp(world->clients[i]->session, session, NP_SESSION_SIZE) == 0) {
            return world->clients[i];
        }
    }
    return NULL;
}

/* The tasks of a lane start in the order of their seqs: under one broker, none that has been overtaken without a
 * start ever starts. */
static void check_lane_order(struct world *world, struct client_model *client, uint64_t seq, uint64_t epoch)
{
    uint64_t lane = lane_of(key_of(client), seq);
    if (lane == 0 || epoch == 0) {
        return;
    }
    WORLD_EXPECT(world, client->tasks[seq].overtaken != epoch);
    for (uint64_t earlier = client->first_open + 1; earlier < seq; earlier++) {
        struct model_task *task = &client->tasks[earlier];
        if (!task->is_done && task->executions == 0 && lane_of(key_of(client), earlier) == lane) {
            task->overtaken = epoch;
        }
    }
    world->in_lanes++;
}

void client_model_executed(struct world *world, const uint8_t *session, uint64_t seq, uint64_t epoch)
{
    struct client_model *client = find_client(world, session);
    if (client != NULL) {
        struct model_task *task = &client->tasks[seq];
        check_lane_order(world, client, seq, epoch);
        task->executions++;
        WORLD_EXPECT(world, task->executions <= 1 || !options_of(key_of(client), seq).at_most_once);
    }
}

bool client_model_wish(const struct world *world, const uint8_t *session, uint64_t seq, struct wish *out)
{
    const struct client_model *client = find_client(world, session);
    if (client == NULL) {
        return false;
    }
    struct task_options options = options_of(key_of(client), seq);
    *out = (struct wish){.client = client->index,
                         .lane = lane_of(key_of(client), seq),
                         .label = options.label,
                         .slots = options.slots};
    return true;
}

bool client_model_preparation(const struct world *world, const uint8_t *session, uint64_t seq,
                              struct wish_to_prepare *out)
{
    const struct client_model *client = find_client(world, session);
    if (client == NULL) {
        return false;
    }
    *out = (struct wish_to_prepare){.version = client->tasks[seq].prepared, .is_ill = client->is_ill};
    return true;
}

uint64_t progress_of(const uint8_t *session, uint64_t seq)
{
    uint64_t key;
    memcpy(&key, session, sizeof key);
    return world_hash(key, seq);
}
