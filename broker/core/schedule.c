#include "broker/core/schedule.h"

#include <assert.h>

#include "broker/core/lease.h"
#include "broker/core/state.h"

#define LANES_LOOKED_AT 32 /* of one client, for its best task */
#define RUN_TASKS 64       /* tasks of one client in a row ... */
#define RUN_UNITS 256      /* ... and their work: a quarter of a slot, so that long tasks alternate between clients */
#define TASK_COST_NS 1000  /* service charged for any task, beside its computing */
#define HUNGRY_LOOKED_AT 32     /* idle workers considered as takers of one surplus */
#define SURPLUS_LOOKED_AT 8     /* busy workers considered for a withdrawal in one run */
#define WITHDRAW_MIN_NS 1000000 /* a surplus that waits shorter than this is done before it has travelled */

/* The lane of the client with the least service among those that a worker has room for; NULL when none. */
static struct lane *choose_client(struct core *core)
{
    struct lane *best = NULL;
    NP_LIST_EACH(node, &core->functions.wanted) {
        struct function *function = NP_CONTAINER(node, struct function, node);
        if (function_worker(function) == NULL) {
            continue;
        }
        struct lane *lane = function_first_lane(function);
        if (best == NULL || lane->service < best->service) {
            best = lane;
        }
    }
    return best;
}

/* The best lane of that client: highest priority, then oldest task. `lane` is one that can run, should the client
 * have more lanes than are worth looking at. */
static struct lane *choose_lane(struct lane *lane)
{
    struct lane *best = NULL;
    unsigned looked_at = 0;
    NP_LIST_EACH(node, &lane->session->lanes) {
        struct lane *other = NP_CONTAINER(node, struct lane, node);
        if (looked_at++ == LANES_LOOKED_AT || (best != NULL && other->priority < best->priority)) {
            break;
        }
        if ((best == NULL || lane_front(other)->seq < lane_front(best)->seq) &&
            function_worker(other->function) != NULL) {
            best = other;
        }
    }
    return best != NULL ? best : lane;
}

/* A run of tasks from one lane. Another lane of the client with an older task, or another client, has its turn next.
 */
static void assign_run(struct core *core, struct lane *lane, int64_t now)
{
    struct session *session = lane->session;
    unsigned tasks = 0;
    unsigned units = 0;
    lane->references++; /* the kinds that keep it may be released meanwhile */
    while (lane->count > 0 && tasks < RUN_TASKS && units < RUN_UNITS) {
        struct worker *worker = function_worker(lane->function);
        if (worker == NULL) {
            break;
        }
        struct task *task = lane_front(lane);
        if (!worker_fits(core, worker, task->size)) {
            continue;
        }
        lease_assign(core, task, worker, now);
        tasks++;
        units += lane->function->units;
    }
    session_charge(core, session, tasks * (lane->function->estimate_ns + TASK_COST_NS));
    lane_release(&core->functions, lane);
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
        if (other->fleet == worker->fleet || fleet_has(other->fleet, last->kind->lane->function)) {
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

void schedule_run(struct core *core, int64_t now)
{
    for (struct lane *lane; (lane = choose_client(core)) != NULL;) {
        assign_run(core, choose_lane(lane), now);
    }
    balance(core);
}

static void finish_lane(struct core *core, struct lane *lane)
{
    lane->references++;
    while (lane->count > 0) {
        task_finish(core, lane_front(lane), TASK_UNSERVED, NETPOOL_NO_SUCH_FUNCTION);
    }
    lane_release(&core->functions, lane);
}

void schedule_finish_unserved(struct core *core)
{
    if (core->ready_workers == 0) {
        return;
    }
    NP_LIST_EACH(node, &core->all_sessions) {
        struct session *session = NP_CONTAINER(node, struct session, node);
        if (core->is_recovering && session->is_carried_over) {
            continue;
        }
        NP_LIST_EACH(lane_node, &session->lanes) {
            struct lane *lane = NP_CONTAINER(lane_node, struct lane, node);
            if (lane->function->fleet_count == 0) {
                finish_lane(core, lane);
            }
        }
    }
}
