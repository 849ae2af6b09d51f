#include "broker/core/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/lease.h"
#include "broker/core/state.h"

/* A client that was waiting for something else may catch up on so much service, not on more. */
#define LAG_MAX_NS (100 * (uint64_t)NP_NS_PER_MS)

static uint64_t key_of(const uint8_t *id)
{
    uint64_t key;
    memcpy(&key, id, sizeof key);
    return key;
}

struct session *session_find(const struct core *core, const uint8_t *id)
{
    struct session *session = np_table_find(&core->sessions, key_of(id));
    while (session != NULL && memcmp(session->id, id, NP_SESSION_SIZE) != 0) {
        session = session->next;
    }
    return session;
}

struct session *session_new(struct core *core, const uint8_t *id)
{
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        return NULL;
    }
    memcpy(session->id, id, NP_SESSION_SIZE);
    session->memory = &core->task_memory;
    session->tasks.seed = core->config.hash_seed;
    session->queue_table.seed = core->config.hash_seed;
    session->lanes.seed = core->config.hash_seed;
    session->briefed.seed = core->config.hash_seed;
    session->next = np_table_find(&core->sessions, key_of(id));
    if (np_table_put(&core->sessions, key_of(id), session) != NETPOOL_OK) {
        free(session);
        return NULL;
    }
    np_list_push_back(&core->all_sessions, &session->node);
    np_list_init(&session->detached_node);
    np_list_init(&session->paused_node);
    np_list_init(&session->review_node);
    np_list_init(&session->queues);
    np_list_init(&session->express_queues);
    np_list_init(&session->forgotten_kinds);
    np_list_init(&session->recovering);
    np_list_init(&session->waiting);
    np_list_init(&session->undelivered);
    np_list_init(&session->sent);
    np_list_init(&session->unclaimed);
    session->service = core->service;
    return session;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void session_prefetch(const struct session *session, const uint64_t *seqs, size_t count, size_t from)
{
    const size_t ahead = SESSION_ROWS_AHEAD;
    for (size_t i = from == 0 ? 0 : from + 2 * ahead; i < least(from + 3 * ahead, count); i += NP_TABLE_RUN) {
        np_table_prefetch(&session->tasks, seqs[i]);
    }
    for (size_t i = from == 0 ? 0 : from + ahead; i < least(from + 2 * ahead, count); i++) {
        const char *task = np_table_find(&session->tasks, seqs[i]);
        if (task != NULL) {
            __builtin_prefetch(task, 1);
            __builtin_prefetch(task + TASK_STEP, 1);
        }
    }
}

static void forget(struct core *core, struct session *session)
{
    struct session *first = np_table_find(&core->sessions, key_of(session->id));
    if (first != session) {
        while (first->next != session) {
            first = first->next;
        }
        first->next = session->next;
    } else if (session->next != NULL) {
        /* Replacing the value of a key that is there takes no memory. */
        netpool_status status = np_table_put(&core->sessions, key_of(session->id), session->next);
        assert(status == NETPOOL_OK);
        (void)status;
    } else {
        np_table_take(&core->sessions, key_of(session->id));
    }
}

void session_destroy(struct core *core, struct session *session)
{
    assert(session->held == 0 && session->tasks.count == 0 && session->peer == NULL);
    assert(session->payload_bytes == 0 && session->result_bytes + session->record_bytes == 0 &&
           session->sent_bytes == 0);
    core->promised_tasks -= session->granted_tasks - session->submitted_tasks;
    core->promised_bytes -= session->granted_bytes - session->submitted_bytes;
    for (size_t i = 0; i < SESSION_KINDS; i++) {
        if (session->kinds[i] != NULL) {
            kind_release(core, session->kinds[i]);
        }
    }
    assert(session->queue_table.count == 0 && session->lanes.count == 0);
    assert(session->kind_bytes == 0 && np_list_is_empty(&session->forgotten_kinds));
    prepare_session_over(core, session);
    progress_drop(session);
    forget(core, session);
    np_list_remove(&session->node);
    np_list_remove(&session->detached_node);
    np_list_remove(&session->paused_node);
    np_list_remove(&session->review_node);
    np_table_fini(&session->queue_table);
    np_table_fini(&session->lanes);
    np_table_fini(&session->tasks);
    free(session);
}

void session_detach(struct core *core, struct session *session, int64_t now)
{
    session->peer = NULL;
    progress_drop(session);
    session->grace_end_ns = now + core->config.session_grace_ns;
    np_list_push_back(&core->detached, &session->detached_node);
}

void session_end(struct core *core, struct session *session)
{
    session->is_ending = true;
    session->peer = NULL;
    progress_drop(session);
    np_list_remove(&session->detached_node);
    /* What was promised to it goes to others at once. */
    core->promised_tasks -= session->granted_tasks - session->submitted_tasks;
    core->promised_bytes -= session->granted_bytes - session->submitted_bytes;
    session->granted_tasks = session->submitted_tasks;
    session->granted_bytes = session->submitted_bytes;

    /* Taking from the table may shrink it, so a walk starts anew with every task that goes; tasks that stay are
     * leased and few. */
    struct np_list *lists[] = {&session->recovering, &session->undelivered, &session->sent, &session->unclaimed};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        NP_LIST_EACH(node, lists[i]) {
            task_destroy(core, NP_CONTAINER(node, struct task, node));
        }
    }
    /* Before the others, which would let them through to be scheduled. */
    for (struct np_list *node; (node = np_list_front(&session->waiting)) != NULL;) {
        core->stats.cancelled++;
        task_destroy(core, NP_CONTAINER(node, struct task, node));
    }
    NP_LIST_EACH(queue_node, &session->queues) {
        struct queue *queue = NP_CONTAINER(queue_node, struct queue, node);
        queue->references++; /* its last task would take it along */
        while (queue->count > 0) {
            core->stats.cancelled++;
            task_destroy(core, queue_front(queue));
        }
        queue_release(&core->functions, queue);
    }
    size_t cursor = 0;
    for (struct task *task; (task = np_table_next(&session->tasks, &cursor)) != NULL;) {
        lease_cancel(core, task, TASK_CANCEL);
    }
    session_lease_ended(core, session);
}

void session_lease_ended(struct core *core, struct session *session)
{
    if (!session->is_ending) {
        return;
    }
    NP_LIST_EACH(node, &session->undelivered) {
        task_destroy(core, NP_CONTAINER(node, struct task, node));
    }
    NP_LIST_EACH(node, &session->unclaimed) {
        task_destroy(core, NP_CONTAINER(node, struct task, node));
    }
    if (session->held == 0) {
        session_destroy(core, session);
    }
}

void session_add_kind_bytes(struct core *core, struct session *session, int64_t delta)
{
    session->kind_bytes += (uint64_t)delta;
    core->stats.memory_bytes += (uint64_t)delta;
}

void session_add_record_bytes(struct core *core, struct session *session, int64_t delta)
{
    session->record_bytes += (uint64_t)delta;
    core->stats.memory_bytes += (uint64_t)delta;
    session_review_later(core, session);
}

void session_wake(struct core *core, struct session *session)
{
    if (np_list_is_empty(&session->queues) && session->service < core->service) {
        session->service = core->service;
    }
}

void session_charge(struct core *core, struct session *session, uint64_t service_ns)
{
    if (session->service + LAG_MAX_NS < core->service) {
        session->service = core->service - LAG_MAX_NS;
    }
    if (session->service > core->service) {
        core->service = session->service;
    }
    session->service += service_ns;
}

void session_review_pause(struct core *core, struct session *session)
{
    /* When the broker as a whole is past its bound, each client is held to one payload. */
    uint64_t bound =
        core->stats.memory_bytes > core->config.max_memory ? core->config.max_payload : core->config.client_bytes;
    bool is_paused = session->result_bytes + session->record_bytes > bound;
    if (is_paused == session->is_paused) {
        return;
    }
    if (is_paused) {
        queues_pause(&core->functions, session);
        np_list_push_back(&core->paused, &session->paused_node);
    } else {
        queues_resume(&core->functions, session);
        np_list_remove(&session->paused_node);
    }
    session->is_paused = is_paused;
}

void sessions_review(struct core *core)
{
    for (struct np_list *node; (node = np_list_pop_front(&core->to_review)) != NULL;) {
        session_review_pause(core, NP_CONTAINER(node, struct session, review_node));
    }
}

/* How much may be granted and unused: what the client's window and the pool have left, but always the floor. */
static uint64_t allowance(uint64_t window, uint64_t held, uint64_t ahead, uint64_t pool_left, uint64_t floor)
{
    uint64_t left = window > held ? window - held : 0;
    if (left > ahead) {
        left = ahead;
    }
    if (left > pool_left) {
        left = pool_left;
    }
    uint64_t least = floor > held ? floor - held : 0;
    return left > least ? left : least;
}

/* Is it worth a message? Always when the client has nothing left to use, or holds nothing: it may be waiting for room
 * for one large payload. */
static bool is_worth(const struct session *session, uint64_t target, uint64_t unused)
{
    return target > unused && (session->held == 0 || (target - unused) * 4 >= target);
}

/* Each task granted may bring a kind or a lane of its own, whose memory no credit of bytes covers. */
static uint64_t ahead_tasks(const struct core *core, const struct session *session)
{
    const struct core_config *config = &core->config;
    uint64_t made = session->forgotten_count + session->lanes.count;
    uint64_t each =
        made > 0 && session->kind_bytes / made > SESSION_TASK_BYTES ? session->kind_bytes / made : SESSION_TASK_BYTES;
    uint64_t unused = session->granted_tasks - session->submitted_tasks;
    uint64_t promised = (core->promised_tasks - unused) * SESSION_TASK_BYTES;
    uint64_t bytes = core->stats.memory_bytes + promised;
    uint64_t pool_left = config->max_memory > bytes ? (config->max_memory - bytes) / 4 : 0;
    uint64_t own_left = config->client_bytes > session->kind_bytes ? config->client_bytes - session->kind_bytes : 0;
    uint64_t tasks = (pool_left < own_left ? pool_left : own_left) / each;
    return tasks < SESSION_AHEAD_TASKS ? tasks : SESSION_AHEAD_TASKS;
}

void session_grant(struct core *core, struct session *session)
{
    const struct core_config *config = &core->config;
    uint64_t unused_tasks = session->granted_tasks - session->submitted_tasks;
    uint64_t unused_bytes = session->granted_bytes - session->submitted_bytes;
    uint64_t tasks = core->held + core->promised_tasks - unused_tasks;
    uint64_t bytes = core->stats.memory_bytes + core->promised_bytes - unused_bytes;
    /* A quarter of what is left, so that a newcomer always finds something. */
    uint64_t tasks_left = config->max_tasks > tasks ? (config->max_tasks - tasks + 3) / 4 : 0;
    uint64_t bytes_left = config->max_memory > bytes ? (config->max_memory - bytes + 3) / 4 : 0;
    uint64_t ahead_bytes = config->max_payload > SESSION_AHEAD_BYTES ? config->max_payload : SESSION_AHEAD_BYTES;

    uint64_t target_tasks =
        allowance(config->client_tasks, session->held, ahead_tasks(core, session), tasks_left, SESSION_FLOOR_TASKS);
    uint64_t held_bytes =
        session->payload_bytes + session->result_bytes + session->record_bytes + session->kind_bytes;
    uint64_t target_bytes = allowance(config->client_bytes, held_bytes, ahead_bytes, bytes_left, config->max_payload);
    if (is_worth(session, target_tasks, unused_tasks)) {
        core->promised_tasks += target_tasks - unused_tasks;
        session->granted_tasks += target_tasks - unused_tasks;
        session->credit_due = true;
    }
    if (is_worth(session, target_bytes, unused_bytes)) {
        core->promised_bytes += target_bytes - unused_bytes;
        session->granted_bytes += target_bytes - unused_bytes;
        session->credit_due = true;
    }
}

void session_resend(struct core *core, struct session *session)
{
    NP_LIST_EACH(node, &session->sent) {
        NP_CONTAINER(node, struct task, node)->is_sent = false;
    }
    np_list_splice_back(&session->sent, &session->undelivered);
    np_list_splice_back(&session->undelivered, &session->sent);
    session->sent_bytes = 0;
    core_touch_session(core, session);
}
