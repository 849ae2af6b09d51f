#include "broker/core/task.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/deadline.h"
#include "broker/core/record.h"
#include "broker/core/state.h"
#include "common/block.h"
#include "common/copy.h"

#define RETRY_DELAY_MAX_MS 60000
#define ALWAYS_INLINE static inline __attribute__((always_inline))

static bool leads_to(enum task_rule rule, enum task_state next)
{
    switch (rule) {
    case TASK_TO_LEASED:
        return next == TASK_LEASED;
    case TASK_TO_QUEUED:
        return next == TASK_QUEUED;
    case TASK_TO_CANCELLING:
        return next == TASK_CANCELLING;
    case TASK_TO_FINISHED:
    case TASK_TO_FINISHED_CANCELLED:
    case TASK_TO_FINISHED_DEADLINE:
        return next == TASK_FINISHED;
    case TASK_TO_QUEUED_OR_FINISHED:
        return next == TASK_QUEUED || next == TASK_FINISHED;
    case TASK_NEVER:
    case TASK_IGNORED:
    case TASK_DROPPED:
    case TASK_MARKED:
        break;
    }
    return false;
}

static bool must_wait(const struct task *task)
{
    return task->extra != NULL && (task->extra->retry_ns != NP_NEVER || !lane_admits(task));
}

static void enter_queue(struct core *core, struct task *task)
{
    struct queue *queue = task->kind->queue;
    if (queue->count == 0) { /* else the session has its place already */
        session_wake(core, task->session);
    }
    queue_insert(&core->functions, queue, task);
}

/* A queued task for which something has changed. */
static void review(struct core *core, struct task *task)
{
    if (task->is_waiting == must_wait(task)) {
        return;
    }
    task->is_waiting = !task->is_waiting;
    if (task->is_waiting) {
        queue_remove(&core->functions, task->kind->queue, task);
        queue_wait(task->kind->queue, task);
    } else {
        queue_wait_over(task->kind->queue, task);
        enter_queue(core, task);
    }
}

void task_review_lane(struct core *core, struct lane *lane)
{
    struct task *first = lane_first(lane);
    if (first->state == TASK_QUEUED) {
        review(core, first);
    }
}

static void leave_lane(struct core *core, struct task *task)
{
    struct lane *lane = lane_leave(core, task);
    if (lane != NULL) {
        task_review_lane(core, lane);
    }
}

/* Inlined with constant states, each transition is no more than what it changes. */
ALWAYS_INLINE void enter(struct core *core, struct task *task, enum task_state state, struct worker *worker)
{
    struct session *session = task->session;
    task->state = (uint8_t)state;
    switch (state) {
    case TASK_RECOVERING:
        np_list_push_back(&session->recovering, &task->node);
        session->queued++;
        core->stats.queued++;
        break;
    case TASK_QUEUED:
        if (must_wait(task)) {
            task->is_waiting = true;
            queue_wait(task->kind->queue, task);
        } else {
            enter_queue(core, task);
        }
        session->queued++;
        core->stats.queued++;
        break;
    case TASK_LEASED:
        worker_hold(core, worker, task);
        session->running++;
        core->stats.running++;
        break;
    case TASK_CANCELLING:
        break;
    case TASK_FINISHED:
        if (task->extra != NULL) {
            deadline_remove(&core->deadlines, task);
        }
        session->finished++;
        session->done++;
        core->stats.undelivered++;
        np_list_push_back(task->kind == NULL ? &session->unclaimed : &session->undelivered, &task->node);
        core_touch_session(core, session);
        break;
    }
    struct lane *lane = lane_of(task);
    if (lane != NULL && state == TASK_FINISHED) {
        leave_lane(core, task);
    } else if (lane != NULL) {
        lane->leased = state == TASK_LEASED ? task : lane->leased;
        task_review_lane(core, lane);
    }
}

ALWAYS_INLINE void leave(struct core *core, struct task *task, enum task_state state, enum task_state next)
{
    struct session *session = task->session;
    switch (state) {
    case TASK_RECOVERING:
        np_list_remove(&task->node);
        session->queued--;
        core->stats.queued--;
        break;
    case TASK_QUEUED:
        if (task->is_waiting) {
            task->is_waiting = false;
            queue_wait_over(task->kind->queue, task);
        } else {
            queue_remove(&core->functions, task->kind->queue, task);
        }
        if (task->extra != NULL) {
            deadline_undelay(&core->deadlines, task);
        }
        session->queued--;
        core->stats.queued--;
        break;
    case TASK_LEASED:
        if (next == TASK_CANCELLING) {
            deadline_remove(&core->deadlines, task);
            break;
        }
        /* fall through */
    case TASK_CANCELLING:
        if (next == TASK_QUEUED) {
            task->worker->held_bytes -= task->size; /* otherwise task_drop_data has done it */
        }
        if (lane_of(task) != NULL && lane_of(task)->leased == task) {
            lane_of(task)->leased = NULL;
        }
        worker_let_go(core, task->worker, task);
        session->running--;
        core->stats.running--;
        break;
    case TASK_FINISHED:
        np_list_remove(&task->node);
        session->finished--;
        core->stats.undelivered--;
        break;
    }
}

void task_begin(struct core *core, struct task *task, enum task_state state, struct worker *worker)
{
    assert(state == TASK_RECOVERING || state == TASK_QUEUED || state == TASK_LEASED);
    if (state == TASK_QUEUED) {
        enter(core, task, TASK_QUEUED, NULL);
    } else {
        enter(core, task, state, worker);
    }
}

void task_move(struct core *core, struct task *task, enum task_event event, enum task_state next,
               struct worker *worker)
{
    enum task_state state = (enum task_state)task->state;
    /* The two that every task makes, as the table has them. */
    if (state == TASK_QUEUED && event == TASK_ASSIGN && next == TASK_LEASED) {
        leave(core, task, TASK_QUEUED, TASK_LEASED);
        enter(core, task, TASK_LEASED, worker);
        return;
    }
    if (state == TASK_LEASED && event == TASK_RESULT && next == TASK_FINISHED) {
        leave(core, task, TASK_LEASED, TASK_FINISHED);
        enter(core, task, TASK_FINISHED, NULL);
        return;
    }
    assert(leads_to(task_rule(state, event), next));
    leave(core, task, state, next);
    if (next == TASK_FINISHED && event != TASK_RESULT) {
        task->origin = NULL;
    }
    enter(core, task, next, worker);
}

unsigned task_assign_run(struct core *core, struct queue *queue, struct worker *worker, unsigned most, int64_t now)
{
    struct session *session = queue->session;
    uint16_t units = queue->demand->function->units;
    uint64_t held_bytes = worker->held_bytes;
    unsigned count = 0;
    struct np_list *node = queue->tasks.next;
    for (; count < most && node != &queue->tasks; node = node->next) {
        struct task *task = NP_CONTAINER(node, struct task, node);
        bool fits = worker->held + count == 0 || held_bytes + task->size <= worker->window_bytes;
        if (!fits || !task_is_plain(task)) {
            break;
        }
        core->stats.retried += ++task->attempt > 1;
        task->queue_ns = (uint64_t)(now - task->submitted_ns);
        task->state = TASK_LEASED;
        task->worker = worker;
        task->units = units;
        task->is_adopted = false;
        held_bytes += task->size;
        count++;
    }
    if (count == 0) {
        return 0;
    }
    queue_move_front(&core->functions, queue, node, count, &worker->leases);
    worker_hold_run(core, worker, queue->demand, count, held_bytes - worker->held_bytes);
    session->queued -= count;
    session->running += count;
    core->stats.queued -= count;
    core->stats.running += count;
    return count;
}

static int64_t retry_delay_ns(const struct task *task)
{
    uint64_t delay_ms = task->kind->retry_delay_ms;
    for (unsigned attempt = 1; attempt < task->attempt && delay_ms < RETRY_DELAY_MAX_MS; attempt++) {
        delay_ms *= 2;
    }
    return (int64_t)(delay_ms < RETRY_DELAY_MAX_MS ? delay_ms : RETRY_DELAY_MAX_MS) * NP_NS_PER_MS;
}

void task_retry(struct core *core, struct task *task, enum task_event event)
{
    if (task->kind->retry_delay_ms > 0) {
        /* Without memory for the timer it runs again at once. */
        netpool_status status = deadline_delay(&core->deadlines, task, core->now + retry_delay_ns(task));
        (void)status;
    }
    task_move(core, task, event, TASK_QUEUED, NULL);
}

void task_retry_due(struct core *core, struct task *task)
{
    assert(task->state == TASK_QUEUED && task->is_waiting);
    deadline_undelay(&core->deadlines, task);
    review(core, task);
}

void task_finish(struct core *core, struct task *task, enum task_event event, netpool_status status)
{
    task_drop_data(core, task);
    task_move(core, task, event, TASK_FINISHED, NULL);
    task->status = (uint8_t)status;
    task->compute_ns = 0;
    task->pid = 0;
    if (status == NETPOOL_CANCELLED) {
        core->stats.cancelled++;
    } else {
        core->stats.failed++;
    }
}

void task_memory_init(struct task_memory *memory)
{
    for (size_t i = 0; i < TASK_SIZES; i++) {
        np_slab_init(&memory->slabs[i], (i + 1) * TASK_STEP);
    }
}

void task_memory_fini(struct task_memory *memory)
{
    for (size_t i = 0; i < TASK_SIZES; i++) {
        np_slab_fini(&memory->slabs[i]);
    }
}

/* A block with the bytes, of which the caller has a reference; NULL when out of memory. */
static uint8_t *keep(const uint8_t *data, uint32_t size, bool is_block)
{
    if (is_block) {
        return np_block_share(data);
    }
    uint8_t *block = np_block_new(size);
    if (block != NULL) {
        memcpy(block, data, size);
    }
    return block;
}

struct task *task_new(struct session *session, struct kind *kind, uint64_t seq, const uint8_t *payload, uint32_t size,
                      bool is_block)
{
    uint32_t inlined = size > TASK_INLINE_MAX ? 0 : size;
    size_t index = (offsetof(struct task, inlined) + inlined - 1) / TASK_STEP;
    struct task *task = np_slab_take(&session->memory->slabs[index]);
    if (task == NULL) {
        return NULL;
    }
    /* In two parts, each of which is a few stores; as one it would be a loop that is slow to start. */
    memset(task, 0, TASK_STEP);
    memset((uint8_t *)task + TASK_STEP, 0, sizeof *task - TASK_STEP);
    np_list_init(&task->node);
    uint8_t *block = NULL;
    if (size > TASK_INLINE_MAX) {
        block = keep(payload, size, is_block);
        if (block == NULL) {
            np_slab_give(task);
            return NULL;
        }
    } else {
        np_copy(task->inlined, payload, size);
    }
    task->data = block != NULL ? block : size > 0 ? task->inlined : NULL;
    task->seq = seq;
    task->session = session;
    task->kind = kind;
    task->size = size;
    task->inline_capacity = (uint16_t)((index + 1) * TASK_STEP - offsetof(struct task, inlined));
    return task;
}

ALWAYS_INLINE void drop_data(struct core *core, struct task *task, bool is_finished)
{
    if (task->data != NULL && task->data != task->inlined) {
        np_block_free(task->data);
    }
    task->data = NULL;
    session_add_bytes(core, task->session, -(int64_t)task->size, is_finished);
    if (!is_finished && (task->state == TASK_LEASED || task->state == TASK_CANCELLING)) {
        task->worker->held_bytes -= task->size;
    }
    task->size = 0;
}

void task_drop_data(struct core *core, struct task *task)
{
    drop_data(core, task, task->state == TASK_FINISHED);
}

bool task_store_result(struct core *core, struct task *task, const uint8_t *data, uint32_t size, bool is_block)
{
    uint8_t *block = NULL;
    if (size > task->inline_capacity) {
        block = keep(data, size, is_block);
        if (block == NULL) {
            return false;
        }
    }
    drop_data(core, task, false);
    if (block == NULL) {
        np_copy(task->inlined, data, size);
    }
    task->data = block != NULL ? block : size > 0 ? task->inlined : NULL;
    task->size = size;
    session_add_bytes(core, task->session, size, true);
    return true;
}

struct task_extra *task_need_extra(struct task *task)
{
    if (task->extra == NULL) {
        task->extra = calloc(1, sizeof *task->extra);
        if (task->extra != NULL) {
            task->extra->task = task;
            task->extra->deadline_index = TASK_NO_DEADLINE;
            task->extra->expiry_ns = NP_NEVER;
            task->extra->retry_ns = NP_NEVER;
            task->extra->last_loss = UINT32_MAX;
        }
    }
    return task->extra;
}

void task_destroy(struct core *core, struct task *task)
{
    assert(task->state != TASK_LEASED && task->state != TASK_CANCELLING);
    if (task->is_sent) {
        task->session->sent_bytes -= session_cost_of(task);
    }
    if (task->extra != NULL) {
        deadline_remove(&core->deadlines, task);
        record_drop(core, task);
    }
    if (task->state == TASK_FINISHED) {
        drop_data(core, task, true);
        leave(core, task, TASK_FINISHED, TASK_FINISHED);
    } else {
        drop_data(core, task, false);
        leave(core, task, (enum task_state)task->state, TASK_FINISHED);
    }
    if (lane_of(task) != NULL) {
        leave_lane(core, task);
    }
    if (task->state == TASK_FINISHED && task->origin != NULL) {
        origin_release(task->origin);
    }
    if (task->extra != NULL) {
        free(task->extra);
    }
    if (task->kind != NULL) {
        kind_release(core, task->kind);
    } else {
        task->session->unclaimed_tasks--;
    }
    void *found = np_table_take(&task->session->tasks, task->seq);
    assert(found == task);
    (void)found;
    task->session->held--;
    core->held--;
    np_slab_give(task);
}
