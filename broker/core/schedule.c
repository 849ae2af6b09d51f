#include "broker/core/schedule.h"

#include <assert.h>

#include "broker/core/lease.h"
#include "broker/core/state.h"

#define QUEUES_LOOKED_AT 32 /* of one client, for its best task */
#define RUN_TASKS 64        /* tasks of one client in a row ... */
#define RUN_UNITS 256    /* ... and their work: a quarter of a slot, so that long tasks alternate between clients */
#define SLACK_UNITS 16   /* of a slot's 1,024 */
#define COARSE_WORKERS 4 /* get a part of a queue, however short its tasks */
#define COARSE_NS 250000 /* work that an idle worker may see go to another */
#define MESSAGE_COST_NS 16000   /* of one to a worker, and its answer, at the broker */
#define TASK_COST_NS 1000       /* service charged for any task, beside its computing */
#define BYTE_COST_NS 1          /* of a payload, on its way */
#define HUNGRY_LOOKED_AT 32     /* idle workers considered as takers of one surplus */
#define SURPLUS_LOOKED_AT 8     /* busy workers considered for a withdrawal in one run */
#define WITHDRAW_MIN_NS 1000000 /* a surplus that waits shorter than this is done before it has travelled */
#define QUIET_NS ((int64_t)FUNCTION_AHEAD_NS) /* what a worker is given ahead is done by then */

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

/* How many tasks of a queue go to one worker though another is idle. Sent to k workers, they cost k messages, one
 * after the other, and the time of 1/k of their work: together least where each gets the square root of this. Rounded
 * down to a power of two; never more work than the other one may be kept waiting for. */
static uint64_t coarse_run(const struct queue *queue)
{
    uint64_t bytes = queue_front(queue)->size;
    uint64_t task_ns = queue->demand->function->estimate_ns + TASK_COST_NS + bytes * BYTE_COST_NS;
    uint64_t square = queue->count * MESSAGE_COST_NS / task_ns + 1;
    uint64_t run = UINT64_C(1) << (63 - __builtin_clzll(square)) / 2;
    uint64_t most = COARSE_NS / task_ns;
    uint64_t part = queue->count / COARSE_WORKERS;
    most = most < part ? most : part;
    return run < most ? run : most;
}

/* How many tasks of one slot the worker may be given in a row, one at least: while it has room and is the least
 * loaded one. Small differences do not count where a task would have to wait anyway, so that workers get runs of
 * tasks that follow each other. */
static uint64_t run_length(const struct queue *queue, const struct worker *worker, const struct worker *other)
{
    const uint64_t units = queue->demand->function->units;
    uint64_t bound = (uint64_t)worker->slots * FUNCTION_SLOT_UNITS;
    if (other != NULL) {
        uint64_t run = worker_is_far(worker) ? 1 : coarse_run(queue);
        uint64_t coarse = run > 1 ? (run - 1) * units : 0;
        uint64_t slack = worker_is_hungry(other) ? 0 : SLACK_UNITS * other->slots;
        slack = slack > coarse ? slack : coarse;
        uint64_t beside_other = (other->held_units + slack) * worker->slots / other->slots + 1;
        bound = beside_other < bound ? beside_other : bound;
    }
    uint64_t length = bound > worker->held_units ? (bound - worker->held_units + units - 1) / units : 1;
    if ((worker->held_wide > 0 || worker->is_stuck) && length > (uint64_t)worker_free_slots(worker)) {
        length = (uint64_t)worker_free_slots(worker);
    }
    return length;
}

/* Tasks of one slot from the front of the queue go to the worker. Returns how many. */
static unsigned assign_alike(struct core *core, struct queue *queue, struct worker *worker, unsigned most,
                             int64_t now)
{
    uint64_t length = run_length(queue, worker, demand_other_worker(queue->demand, worker));
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

/* Does no other queue want workers? */
static bool is_alone(const struct core *core, const struct demand *demand)
{
    return demand->heap_count == 1 && core->functions.wanted.next == core->functions.wanted.previous;
}

/* A run of tasks from one queue. Another queue of the client with an older task, or another client, has its turn
 * next.
 */
static void assign_run(struct core *core, struct queue *queue, int64_t now)
{
    struct session *session = queue->session;
    struct demand *demand = queue->demand;
    unsigned most = (RUN_UNITS - 1) / (demand->function->units * demand->slots) + 1;
    most = most < RUN_TASKS || is_alone(core, demand) ? most : RUN_TASKS;
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
        bool can_run = other->fleet == worker->fleet ||
                       (fleet_has(other->fleet, demand->function) && demand_is_met_by(demand, other->fleet));
        if (can_run && other->heap_index != WORKER_NOT_IN_HEAP) { /* or it would not be given any */
            return true;
        }
    }
    return false;
}

/* What waits at a worker was to be done, and told of, by then. */
static int64_t quiet_end(const struct worker *worker)
{
    return worker->quiet_since_ns + QUIET_NS + 2 * worker->round_trip_ns;
}

static uint64_t surplus_wait_ns(const struct worker *worker, uint64_t surplus)
{
    uint64_t rounds = (surplus + worker->slots - 1) / worker->slots;
    return worker->held_units * (FUNCTION_AHEAD_NS / FUNCTION_SLOT_UNITS) / worker->held * rounds;
}

/* Asks back half of a surplus where the time it stands for is worth the way, and all of it where nothing comes back:
 * then what runs there takes longer than thought, and nobody knows how long. */
static void relieve(struct core *core, struct worker *worker, int64_t now)
{
    uint64_t surplus = worker->held - worker->slots;
    bool is_quiet = quiet_end(worker) <= now;
    bool is_worth_it = is_quiet || surplus_wait_ns(worker, surplus) >= WITHDRAW_MIN_NS;
    if (is_worth_it && has_taker(core, worker)) {
        worker->is_stuck = is_quiet;
        worker_withdraw(core, worker, (uint32_t)(is_quiet ? surplus : (surplus + 1) / 2));
        return;
    }
    if (is_quiet) {
        worker->quiet_since_ns = now; /* nobody could take it: looked at again, and not at once */
    }
    core->balance_ns = np_earlier(core->balance_ns, quiet_end(worker));
}

/* Nothing is queued for some idle worker while others have more than they can run. */
static void balance(struct core *core, int64_t now)
{
    struct np_list looked_at;
    np_list_init(&looked_at);
    core->balance_ns = NP_NEVER;
    for (unsigned i = 0; !np_list_is_empty(&core->hungry) && !np_list_is_empty(&core->surplus); i++) {
        if (i == SURPLUS_LOOKED_AT) {
            core->balance_ns = np_earlier(core->balance_ns, now + QUIET_NS);
            break;
        }
        struct np_list *node = np_list_pop_front(&core->surplus);
        np_list_push_back(&looked_at, node);
        relieve(core, NP_CONTAINER(node, struct worker, surplus_node), now);
    }
    np_list_splice_back(&core->surplus, &looked_at);
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
    balance(core, now);
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
