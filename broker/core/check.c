#include <assert.h>

#include "broker/core/record.h"
#include "broker/core/state.h"

/* What the walk has found, to be compared with what the core believes. */
struct sums {
    uint64_t tasks;
    uint64_t queued;
    uint64_t running;
    uint64_t finished;
    uint64_t payload_bytes;
    uint64_t result_bytes;
    uint64_t record_bytes;
    uint64_t kind_bytes;
    uint64_t prepared_bytes;
    uint64_t sent_bytes;
    uint64_t promised_tasks;
    uint64_t promised_bytes;
    uint64_t deadlines;
};

static void check_task(const struct core *core, const struct session *session, const struct task *task,
                       struct sums *sums)
{
    assert(task->session == session);
    assert(np_table_find(&session->tasks, task->seq) == task);
    assert(task->node.next->previous == &task->node && task->node.previous->next == &task->node);
    assert((task->data == NULL) == (task->size == 0));
    assert(task->kind != NULL || task->state != TASK_QUEUED);
    assert(task->kind == NULL || task->kind->queue->session == session);
    assert(task->kind == NULL || task->seq <= session->received_seq);
    assert(!task->is_unwanted || task->state != TASK_QUEUED);
    assert(!session->is_broken || (task->state != TASK_QUEUED && task->state != TASK_RECOVERING));
    assert(task->is_sent == false || task->state == TASK_FINISHED);
    sums->tasks++;
    sums->queued += task->state == TASK_QUEUED || task->state == TASK_RECOVERING;
    sums->running += task->state == TASK_LEASED || task->state == TASK_CANCELLING;
    sums->finished += task->state == TASK_FINISHED;
    if (task->state == TASK_FINISHED) {
        sums->result_bytes += task->size;
    } else {
        sums->payload_bytes += task->size;
    }
    if (task->is_sent) {
        sums->sent_bytes += session_cost_of(task);
    }
    sums->record_bytes += task->extra != NULL ? task->extra->record_size : 0;
    if (task->extra != NULL && task->extra->deadline_index != TASK_NO_DEADLINE) {
        assert(core->deadlines.heap[task->extra->deadline_index] == task);
        assert(task->state != TASK_FINISHED && task->state != TASK_CANCELLING);
        sums->deadlines++;
    }
}

static void check_queue(const struct session *session, const struct queue *queue)
{
    uint64_t count = 0;
    uint64_t seq = 0;
    assert(queue->session == session && queue->count > 0);
    NP_LIST_EACH(node, &queue->tasks) {
        const struct task *task = NP_CONTAINER(node, struct task, node);
        assert(task->state == TASK_QUEUED && !task->is_waiting && task->kind->queue == queue && task->seq > seq);
        assert(lane_admits(task) && (task->extra == NULL || task->extra->retry_ns == NP_NEVER));
        seq = task->seq;
        count++;
    }
    assert(count == queue->count);
    const struct demand *demand = queue->demand;
    assert((queue->demand_index == QUEUE_NOT_WANTED) == session->is_paused);
    assert(session->is_paused || demand->heap[queue->demand_index] == queue);
    assert(queue->node.next == &session->queues ||
           NP_CONTAINER(queue->node.next, struct queue, node)->priority <= queue->priority);
}

/* Queued tasks that no queue has: each for a reason that will pass. */
static uint64_t check_waiting(const struct session *session)
{
    uint64_t count = 0;
    NP_LIST_EACH(node, &session->waiting) {
        const struct task *task = NP_CONTAINER(node, struct task, node);
        assert(task->state == TASK_QUEUED && task->is_waiting && task->kind->queue->waiting > 0);
        assert(!lane_admits(task) || task->extra->deadline_index != TASK_NO_DEADLINE);
        count++;
    }
    return count;
}

/* One lease at most, whoever holds it; and the order of the seqs. */
static void check_lanes(const struct session *session)
{
    size_t cursor = 0;
    for (const struct lane *lane; (lane = np_table_next(&session->lanes, &cursor)) != NULL;) {
        uint64_t seq = 0;
        assert(lane->session == session && !np_list_is_empty(&lane->members));
        assert(np_table_find(&session->lanes, lane->number) == lane);
        NP_LIST_EACH(node, &lane->members) {
            const struct task *task = NP_CONTAINER(node, struct task_extra, lane_node)->task;
            bool is_leased = task->state == TASK_LEASED || task->state == TASK_CANCELLING;
            assert(task->extra->lane == lane && task->seq > seq && task->state != TASK_FINISHED);
            assert(is_leased == (lane->leased == task));
            seq = task->seq;
        }
    }
}

/* What is kept of kinds that tasks alone refer to, and of lanes. */
static uint64_t check_kinds(const struct session *session)
{
    uint64_t bytes = session->lanes.count * LANE_BYTES;
    uint64_t kinds = 0;
    NP_LIST_EACH(node, &session->forgotten_kinds) {
        const struct kind *kind = NP_CONTAINER(node, struct kind, node);
        assert(kind->references > 0 && kind->queue->session == session && kind->queue->counted_kinds > 0);
        for (size_t i = 0; i < SESSION_KINDS; i++) {
            assert(session->kinds[i] != kind);
        }
        bytes += KIND_BYTES;
        kinds++;
    }
    assert(kinds == session->forgotten_count);
    size_t cursor = 0;
    for (const struct queue *queue; (queue = np_table_next(&session->queue_table, &cursor)) != NULL;) {
        assert(queue->counted_kinds <= queue->references && queue->counted_kinds <= kinds);
        kinds -= queue->counted_kinds;
        bytes += queue->counted_kinds > 0 ? queue->counted_bytes : 0;
    }
    assert(kinds == 0);
    return bytes;
}

static uint64_t list_length(const struct np_list *list)
{
    uint64_t length = 0;
    NP_LIST_EACH(node, list) {
        assert(node->next->previous == node);
        length++;
    }
    return length;
}

static void check_session(const struct core *core, const struct session *session, struct sums *all)
{
    struct sums sums = {0};
    size_t cursor = 0;
    for (const struct task *task; (task = np_table_next(&session->tasks, &cursor)) != NULL;) {
        check_task(core, session, task, &sums);
    }
    uint64_t in_queues = 0;
    NP_LIST_EACH(node, &session->queues) {
        const struct queue *queue = NP_CONTAINER(node, struct queue, node);
        check_queue(session, queue);
        in_queues += queue->count;
    }
    in_queues += check_waiting(session);
    check_lanes(session);
    assert(session_find(core, session->id) == session);
    assert(sums.tasks == session->held && sums.tasks == session->tasks.count);
    assert(sums.queued == session->queued && sums.queued == in_queues + list_length(&session->recovering));
    assert(sums.running == session->running && sums.finished == session->finished);
    assert(sums.finished ==
           list_length(&session->undelivered) + list_length(&session->sent) + list_length(&session->unclaimed));
    assert(sums.payload_bytes == session->payload_bytes && sums.result_bytes == session->result_bytes);
    assert(sums.record_bytes == session->record_bytes);
    sums.kind_bytes = check_kinds(session);
    assert(sums.kind_bytes == session->kind_bytes);
    assert(sums.sent_bytes == session->sent_bytes);
    uint64_t largest = core->config.max_payload + RECORD_MAX + SESSION_RESULT_OVERHEAD;
    uint64_t bound = core->config.delivery_bytes > largest ? core->config.delivery_bytes : largest;
    assert(session->sent_bytes <= bound);
    assert(session->submitted_tasks <= session->granted_tasks && session->submitted_bytes <= session->granted_bytes);
    assert(session->peer == NULL || session->peer->session == session);
    assert(!np_list_is_empty(&session->detached_node) ==
           (session->peer == NULL && !session->is_ending && !session->is_awaited));
    assert(session->peer != NULL || session->progress == NULL);
    sums.prepared_bytes = prepare_bytes(session);
    sums.promised_tasks = session->granted_tasks - session->submitted_tasks;
    sums.promised_bytes = session->granted_bytes - session->submitted_bytes;
    uint64_t *to = (uint64_t *)all;
    const uint64_t *from = (const uint64_t *)&sums;
    for (size_t i = 0; i < sizeof sums / sizeof *to; i++) {
        to[i] += from[i];
    }
}

static uint64_t check_worker(const struct worker *worker)
{
    uint64_t held = 0;
    uint64_t units = 0;
    uint64_t bytes = 0;
    uint64_t taken = 0;
    uint64_t wide = 0;
    NP_LIST_EACH(node, &worker->leases) {
        const struct task *task = NP_CONTAINER(node, struct task, node);
        assert(task->worker == worker && (task->state == TASK_LEASED || task->state == TASK_CANCELLING));
        assert(task->attempt >= 1);
        uint64_t slots = task->kind != NULL ? task->kind->demand->slots : 1;
        held++;
        taken += slots;
        wide += slots > 1;
        units += task->units * slots;
        bytes += task->size;
    }
    assert(taken == worker->held_slots && wide == worker->held_wide && worker->slots == worker->fleet->slots);
    assert(worker->peer->worker == worker && worker->state != WORKER_GONE);
    assert(held == worker->held && units == worker->held_units && bytes == worker->held_bytes);
    assert(worker->reserved_for == NULL ||
           (worker->reserved_for->reserved == worker && worker->state == WORKER_READY));
    bool is_in_heap = worker->heap_index != WORKER_NOT_IN_HEAP;
    assert(!is_in_heap || worker->fleet->heap[worker->heap_index].worker == worker);
    if (np_list_is_empty(&worker->changed_node)) {
        assert(worker_has_room(worker) == is_in_heap);
        assert(!is_in_heap || worker->fleet->heap[worker->heap_index].units == worker->held_units);
        assert(worker_is_hungry(worker) == !np_list_is_empty(&worker->hungry_node));
    }
    return held;
}

static void check_demand(const struct demand *demand)
{
    assert(demand->references == demand->queue_count + (demand->reserved != NULL));
    assert((demand->heap_count > 0 && demand->fleets.count > 0) == !np_list_is_empty(&demand->wanted_node));
    assert((demand->reserved != NULL) == !np_list_is_empty(&demand->reserved_node));
    assert(demand->reserved == NULL || demand->reserved->reserved_for == demand);
    size_t fleets = 0;
    for (size_t i = 0; i < demand->function->fleets.count; i++) {
        fleets += demand_is_met_by(demand, demand->function->fleets.items[i]);
    }
    assert(fleets == demand->fleets.count);
    for (size_t i = 0; i < demand->heap_count; i++) {
        const struct queue *queue = demand->heap[i];
        assert(queue->demand == demand && queue->demand_index == i && queue->service <= queue->session->service);
        assert(i == 0 || demand->heap[(i - 1) / 2]->service <= queue->service);
    }
}

static void check_functions(const struct core *core)
{
    size_t cursor = 0;
    for (const struct function *function; (function = np_table_next(&core->functions.by_hash, &cursor)) != NULL;) {
        for (; function != NULL; function = function->next) {
            assert(function->references == list_length(&function->demands) + function->fleets.count);
            NP_LIST_EACH(node, &function->demands) {
                check_demand(NP_CONTAINER(node, struct demand, function_node));
            }
        }
    }
    NP_LIST_EACH(node, &core->fleets) {
        const struct fleet *fleet = NP_CONTAINER(node, struct fleet, node);
        for (size_t i = 1; i < fleet->heap_count; i++) {
            assert(fleet->heap[(i - 1) / 2].units <= fleet->heap[i].units);
        }
    }
}

void core_check(const struct core *core)
{
    struct sums sums = {0};
    NP_LIST_EACH(node, &core->all_sessions) {
        check_session(core, NP_CONTAINER(node, struct session, node), &sums);
    }
    uint64_t held = 0;
    uint64_t workers = 0;
    uint64_t slots = 0;
    NP_LIST_EACH(node, &core->workers) {
        const struct worker *worker = NP_CONTAINER(node, struct worker, node);
        held += check_worker(worker);
        slots += worker->slots;
        workers++;
    }
    const struct core_stats *stats = &core->stats;
    assert(held == sums.running && workers == stats->workers && slots == stats->slots);
    assert(sums.tasks == core->held && sums.queued == stats->queued && sums.running == stats->running);
    assert(sums.finished == stats->undelivered);
    assert(sums.payload_bytes + sums.result_bytes + sums.record_bytes + sums.kind_bytes + sums.prepared_bytes ==
           stats->memory_bytes);
    assert(sums.promised_tasks == core->promised_tasks && sums.promised_bytes == core->promised_bytes);
    assert(sums.deadlines == core->deadlines.count);
    for (size_t i = 1; i < core->deadlines.count; i++) {
        assert(deadline_of(core->deadlines.heap[(i - 1) / 2]) <= deadline_of(core->deadlines.heap[i]));
    }
    /* The bounds of the broker as a whole: each client may go beyond them by its floor alone. */
    uint64_t sessions = list_length(&core->all_sessions);
    assert(core->held + core->promised_tasks <= core->config.max_tasks + sessions * SESSION_FLOOR_TASKS);
    assert(sums.payload_bytes + core->promised_bytes <=
           core->config.max_memory + sessions * core->config.max_payload);
    check_functions(core);
}
