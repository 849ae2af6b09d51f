#include "broker/core/schedule.h"

#include <assert.h>

#include "broker/core/lease.h"
#include "broker/core/state.h"

#define QUEUES_LOOKED_AT 32 /* of one client, for its best task */
#define RUN_TASKS 64        /* tasks of one client in a row ... */
#define RUN_UNITS 256     /* ... and their work: a quarter of a slot, so that long tasks alternate between clients */
#define SLACK_UNITS 16    /* of a slot's 1,024 */
#define TASK_COST_NS 1000 /* service charged for any task, beside its computing */
#define HUNGRY_LOOKED_AT 32     /* idle workers considered as takers of one surplus */
#define SURPLUS_LOOKED_AT 8     /* busy workers considered for a withdrawal in one run */
#define WITHDRAW_MIN_NS 1000000 /* a surplus that waits shorter than this is done before it has travelled */

/* The queue of the client with the least service among those that a worker has room for; NULL when none. */
static struct queue *choose_client(struct core *core)
{
    struct queue *best = NULL;
    NP_LIST_EACH(node, &core->functions.wanted) {
        struct demand *demand = NP_CONTAINER(node, struct demand, wanted_node);
        if (demand_worker(demand) == NULL) {
            continue;
        }
        struct queue *queue = demand_first_queue(demand);
        if (best == NULL || queue->service < best->service) {
            best = queue;
        }
    }
    return best;
}

/* The best queue of that client: highest priority, then oldest task. `queue` is one that can run, should the client
 * have more queues than are worth looking at. */
static struct queue *choose_queue(struct queue *queue)
{
    struct queue *best = NULL;
    unsigned looked_at = 0;
    NP_LIST_EACH(node, &queue->session->queues) {
        struct queue *other = NP_CONTAINER(node, struct queue, node);
        if (looked_at++ == QUEUES_LOOKED_AT || (best != NULL && other->priority < best->priority)) {
            break;
        }
        if ((best == NULL || queue_front(other)->seq < queue_front(best)->seq) &&
            demand_worker(other->demand) != NULL) {
            best = other;
        }
    }
    return best != NULL ? best : queue;
}

/* How many tasks of one slot the worker may be given in a row, one at least: while it has room and is the least
 * loaded one. Small differences do not count where a task would have to wait anyway, so that workers get runs of
 * tasks that follow each other. */
static uint64_t run_length(const struct worker *worker, const struct worker *other, uint64_t units)
{
    uint64_t bound = (uint64_t)worker->slots * FUNCTION_SLOT_UNITS;
    if (other != NULL) {
        uint64_t slack = worker_is_hungry(other) ? 0 : SLACK_UNITS * other->slots;
        uint64_t beside_other = (other->held_units + slack) * worker->slots / other->slots + 1;
        bound = beside_other < bound ? beside_other : bound;
    }
    uint64_t length = bound > worker->held_units ? (bound - worker->held_units + units - 1) / units : 1;
    if (worker->held_wide > 0 && length > (uint64_t)worker_free_slots(worker)) {
        length = (uint64_t)worker_free_slots(worker);
    }
    return length;
}

/* Tasks of one slot from the front of the queue go to the worker. Returns how many. */
static unsigned assign_alike(struct core *core, struct queue *queue, struct worker *worker, unsigned most,
                             int64_t now)
{
    const struct demand *demand = queue->demand;
    uint64_t length = run_length(worker, demand_other_worker(demand, worker), demand->function->units);
    most = length < most ? (unsigned)length : most;
    unsigned tasks = 0;
    while (tasks < most && queue->count > 0) {
        unsigned run = lease_assign_run(core, queue, worker, most - tasks, now);
        if (run == 0) {
            struct task *task = queue_front(queue);
            if (!worker_fits(core, worker, task->size)) {
                break;
            }
            lease_assign(core, task, worker, now);
            run = 1;
        }
        tasks += run;
    }
    return tasks;
}

/* A run of tasks from one queue. Another queue of the client with an older task, or another client, has its turn
 * next.
 */
static void assign_run(struct core *core, struct queue *queue, int64_t now)
{
    struct session *session = queue->session;
    struct demand *demand = queue->demand;
    unsigned most = (RUN_UNITS - 1) / (demand->function->units * demand->slots) + 1;
    most = most < RUN_TASKS ? most : RUN_TASKS;
    unsigned tasks = 0;
    queue->references++; /* the kinds that keep it may be released meanwhile */
    while (queue->count > 0 && tasks < most) {
        struct worker *worker = demand_worker(demand);
        if (worker == NULL) {
            break;
        }
        if (demand->slots > 1 && !worker_has_slots(worker, demand->slots)) {
            demand_reserve(core, demand, worker);
            break;
        }
        unsigned assigned = assign_alike(core, queue, worker, demand->slots == 1 ? most - tasks : 1, now);
        workers_settle(core);
        tasks += assigned;
        if (assigned > 0 && demand->reserved != NULL) {
            demand_unreserve(core, demand);
        }
    }
    session_charge(core, session, tasks * demand->slots * (demand->function->estimate_ns + TASK_COST_NS));
    queue_release(&core->functions, queue);
}

/* Could an idle worker start what this one would give back? */
static bool has_taker(const struct core *core, const struct worker *worker)
{
    const struct task *last = NP_CONTAINER(worker->leases.previous, struct task, node);
    if (last->kind == NULL || last->state != TASK_LEASED) {
        return false;
    }
    unsigned looked_at = 0;
    NP_LIST_EACH(node, &core->hungry) {
        if (looked_at++ == HUNGRY_LOOKED_AT) {
            break;
        }
        const struct worker *other = NP_CONTAINER(node, struct worker, hungry_node);
        const struct demand *demand = last->kind->demand;
        if (other->fleet == worker->fleet ||
            (fleet_has(other->fleet, demand->function) && demand_is_met_by(demand, other->fleet))) {
            return true;
        }
    }
    return false;
}

/* Nothing is queued for some idle worker while others have more than they can run: half of that is asked back where
 * the time it stands for is worth the way. */
static void balance(struct core *core)
{
    unsigned looked_at = 0;
    NP_LIST_EACH(node, &core->surplus) {
        if (np_list_is_empty(&core->hungry) || looked_at++ == SURPLUS_LOOKED_AT) {
            break;
        }
        struct worker *worker = NP_CONTAINER(node, struct worker, surplus_node);
        uint64_t surplus = worker->held - worker->slots;
        uint64_t rounds = (surplus + worker->slots - 1) / worker->slots;
        uint64_t wait_ns = worker->held_units * (FUNCTION_AHEAD_NS / FUNCTION_SLOT_UNITS) / worker->held * rounds;
        if (wait_ns >= WITHDRAW_MIN_NS && has_taker(core, worker)) {
            worker_withdraw(core, worker, (uint32_t)((surplus + 1) / 2));
        } else {
            np_list_remove(&worker->surplus_node);
            np_list_push_back(&core->surplus, &worker->surplus_node);
        }
    }
}

/* Workers are not kept free for tasks that have been cancelled, or whose client is paused. */
static void review_reservations(struct core *core)
{
    NP_LIST_EACH(node, &core->functions.reserved) {
        struct demand *demand = NP_CONTAINER(node, struct demand, reserved_node);
        if (demand->heap_count == 0) {
            demand_unreserve(core, demand);
        }
    }
}

void schedule_run(struct core *core, int64_t now)
{
    workers_settle(core);
    review_reservations(core);
    for (struct queue *queue; (queue = choose_client(core)) != NULL;) {
        assign_run(core, choose_queue(queue), now);
    }
    balance(core);
}

static void finish_queue(struct core *core, struct queue *queue)
{
    queue->references++;
    while (queue->count > 0) {
        task_finish(core, queue_front(queue), TASK_UNSERVED, NETPOOL_NO_SUCH_FUNCTION);
    }
    queue_release(&core->functions, queue);
}

static bool is_unserved(const struct queue *queue)
{
    return queue->demand->function->fleets.count == 0;
}

/* Those that wait first: otherwise they would be let through while the queues are walked. */
static void finish_unserved_of(struct core *core, struct session *session)
{
    struct np_list waiting;
    np_list_init(&waiting);
    np_list_splice_back(&waiting, &session->waiting);
    for (struct np_list *node; (node = np_list_pop_front(&waiting)) != NULL;) {
        np_list_push_back(&session->waiting, node);
        struct task *task = NP_CONTAINER(node, struct task, node);
        if (is_unserved(task->kind->queue)) {
            task_finish(core, task, TASK_UNSERVED, NETPOOL_NO_SUCH_FUNCTION);
        }
    }
    NP_LIST_EACH(node, &session->queues) {
        struct queue *queue = NP_CONTAINER(node, struct queue, node);
        if (is_unserved(queue)) {
            finish_queue(core, queue);
        }
    }
}

static bool has_unserved_tasks(const struct core *core)
{
    size_t cursor = 0;
    for (const struct function *function; (function = np_table_next(&core->functions.by_hash, &cursor)) != NULL;) {
        for (; function != NULL; function = function->next) {
            if (function->queued > 0 && function->fleets.count == 0) {
                return true;
            }
        }
    }
    return false;
}

void schedule_finish_unserved(struct core *core)
{
    if (core->ready_workers == 0 || !has_unserved_tasks(core)) {
        return;
    }
    NP_LIST_EACH(node, &core->all_sessions) {
        struct session *session = NP_CONTAINER(node, struct session, node);
        if (!core->is_recovering || !session->is_carried_over) {
            finish_unserved_of(core, session);
        }
    }
}
