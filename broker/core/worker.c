#include "broker/core/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/lease.h"
#include "broker/core/state.h"

#define ROUND_TRIP_MAX_NS (250 * NP_NS_PER_MS) /* what takes longer is not the way */

/* [state][event]: the next state, or -1. */
static const int8_t table[WORKER_STATES][WORKER_EVENTS] = {
    /*                   held            ready           results          returned         drain            lost */
    [WORKER_JOINING] = {WORKER_JOINING, WORKER_READY, WORKER_JOINING, WORKER_JOINING, WORKER_DRAINING, WORKER_GONE},
    [WORKER_READY] = {-1, -1, WORKER_READY, WORKER_READY, WORKER_DRAINING, WORKER_GONE},
    [WORKER_DRAINING] = {-1, WORKER_DRAINING, WORKER_DRAINING, WORKER_DRAINING, WORKER_DRAINING, WORKER_GONE},
    [WORKER_GONE] = {-1, -1, -1, -1, -1, -1},
};

int worker_next(enum worker_state state, enum worker_event event)
{
    return table[state][event];
}

const char *worker_state_name(enum worker_state state)
{
    static const char *const names[WORKER_STATES] = {"joining", "ready", "draining", "gone"};
    return names[state];
}

/* Brings heap and lists in line with what the worker holds. */
static void update_load(struct core *core, struct worker *worker)
{
    bool is_ready = worker->state == WORKER_READY;
    bool has_room = worker_has_room(worker);
    bool in_heap = worker->heap_index != WORKER_NOT_IN_HEAP;
    if (has_room && in_heap) {
        fleet_heap_update(worker->fleet, worker);
    } else if (has_room) {
        fleet_heap_insert(worker->fleet, worker);
    } else if (in_heap) {
        fleet_heap_remove(worker->fleet, worker);
    }
    bool is_hungry = worker_is_hungry(worker);
    if (is_hungry != !np_list_is_empty(&worker->hungry_node)) {
        if (is_hungry) {
            np_list_push_back(&core->hungry, &worker->hungry_node);
        } else {
            np_list_remove(&worker->hungry_node);
        }
    }
    bool has_surplus = is_ready && worker->held > worker->slots && worker->withdrawing == 0 && !worker->is_barren;
    if (has_surplus != !np_list_is_empty(&worker->surplus_node)) {
        if (has_surplus) {
            worker->quiet_since_ns = core->now;
            np_list_push_back(&core->surplus, &worker->surplus_node);
        } else {
            np_list_remove(&worker->surplus_node);
        }
    }
}

/* Called for each task of a batch: heap and lists wait for its end. */
static void change_load(struct core *core, struct worker *worker)
{
    if (np_list_is_empty(&worker->changed_node)) {
        np_list_push_back(&core->changed, &worker->changed_node);
    }
}

void workers_settle(struct core *core)
{
    for (struct np_list *node; (node = np_list_pop_front(&core->changed)) != NULL;) {
        update_load(core, NP_CONTAINER(node, struct worker, changed_node));
    }
}

static void set_state(struct core *core, struct worker *worker, enum worker_state state)
{
    if (worker->state == state) {
        return;
    }
    core_log(core, NP_LOG_INFO, "worker %s (%s): %s, was %s", worker->origin->name, worker->peer->address,
             worker_state_name(state), worker_state_name(worker->state));
    if (worker->state == WORKER_READY) {
        core->ready_workers--;
    }
    worker->state = state;
    if (worker->reserved_for != NULL) {
        demand_unreserve(core, worker->reserved_for);
    }
    if (state == WORKER_READY) {
        core->ready_workers++;
    }
    update_load(core, worker);
}

bool worker_handle(struct core *core, struct worker *worker, enum worker_event event)
{
    int next = worker_next(worker->state, event);
    if (next < 0) {
        return false;
    }
    if (event == WORKER_SAYS_READY) {
        worker_answered(core, worker);
    }
    set_state(core, worker, (enum worker_state)next);
    return true;
}

static struct origin *origin_new(const struct peer *peer)
{
    struct origin *origin = calloc(1, sizeof *origin);
    if (origin != NULL) {
        origin->references = 1;
        memcpy(origin->name, peer->name, sizeof origin->name);
        memcpy(origin->host, peer->host, sizeof origin->host);
    }
    return origin;
}

void origin_release(struct origin *origin)
{
    if (--origin->references == 0) {
        free(origin);
    }
}

struct worker *worker_new(struct core *core, struct peer *peer, const Np__Hello *hello)
{
    struct worker *worker = calloc(1, sizeof *worker);
    struct origin *origin = origin_new(peer);
    struct fleet *fleet = NULL;
    unsigned slots = hello->slots == 0 ? 1 : hello->slots > NP_SLOTS_MAX ? NP_SLOTS_MAX : hello->slots;
    if (worker != NULL && origin != NULL) {
        fleet = fleet_join(&core->fleets, &core->functions, hello, slots);
    }
    if (fleet == NULL) {
        free(worker);
        free(origin);
        return NULL;
    }
    worker->peer = peer;
    worker->fleet = fleet;
    worker->origin = origin;
    worker->state = WORKER_JOINING;
    memcpy(worker->id, hello->session.data, NP_SESSION_SIZE);
    worker->slots = slots;
    worker->window_bytes = hello->window_bytes;
    worker->heap_index = WORKER_NOT_IN_HEAP;
    worker->credit_bytes = core->config.max_payload + WORKER_CREDIT_SLACK;
    worker->asked_ns = core->now;
    worker->fed_ns = NP_NEVER;
    worker->round_trip_ns = ROUND_TRIP_MAX_NS;
    np_list_init(&worker->leases);
    np_list_init(&worker->changed_node);
    np_list_init(&worker->hungry_node);
    np_list_init(&worker->surplus_node);
    np_list_init(&worker->briefings);
    np_list_init(&worker->outdated);
    np_list_push_back(&core->workers, &worker->node);
    core->stats.workers++;
    core->stats.slots += worker->slots;
    return worker;
}

void worker_end(struct core *core, struct worker *worker, bool orderly, int64_t now)
{
    bool known = worker_handle(core, worker, WORKER_LOST);
    assert(known);
    (void)known;
    lease_settle_all(core, worker, orderly, now);
    assert(worker->held == 0 && worker->held_units == 0 && worker->held_bytes == 0);
    prepare_worker_over(worker);
    np_list_remove(&worker->node);
    np_list_remove(&worker->changed_node);
    core->stats.workers--;
    core->stats.slots -= worker->slots;
    fleet_leave(worker->fleet, &core->functions);
    origin_release(worker->origin);
    free(worker->revocations);
    free(worker);
}

/* What a task takes up of its worker; what nobody has submitted yet counts as one slot of unknown work. */
static void count_in(struct worker *worker, struct task *task)
{
    uint64_t slots = task->kind != NULL ? task->kind->demand->slots : 1;
    task->units = task->kind != NULL ? task->kind->demand->function->units : FUNCTION_SLOT_UNITS;
    worker->held_units += task->units * slots;
    worker->held_slots += slots;
    worker->held_wide += slots > 1;
}

static void count_out(struct worker *worker, const struct task *task)
{
    uint64_t slots = task->kind != NULL ? task->kind->demand->slots : 1;
    worker->held_units -= task->units * slots;
    worker->held_slots -= slots;
    worker->held_wide -= slots > 1;
}

static void note_first(const struct core *core, struct worker *worker)
{
    if (worker->held == 0) {
        worker->fed_ns = core->now;
    }
}

void worker_hold(struct core *core, struct worker *worker, struct task *task)
{
    task->worker = worker;
    np_list_push_back(&worker->leases, &task->node);
    note_first(core, worker);
    worker->held++;
    worker->held_bytes += task->size;
    count_in(worker, task);
    change_load(core, worker);
}

void worker_hold_run(struct core *core, struct worker *worker, const struct demand *demand, unsigned count,
                     uint64_t bytes)
{
    uint64_t slots = (uint64_t)count * demand->slots;
    note_first(core, worker);
    worker->held += count;
    worker->held_slots += slots;
    worker->held_units += slots * demand->function->units;
    worker->held_wide += demand->slots > 1 ? count : 0;
    worker->held_bytes += bytes;
    change_load(core, worker);
}

void worker_let_go(struct core *core, struct worker *worker, struct task *task)
{
    assert(worker->unsent == NULL && worker->held > 0);
    np_list_remove(&task->node);
    worker->held--;
    count_out(worker, task);
    worker->is_blocked = false;
    change_load(core, worker);
}

void worker_claimed(struct core *core, struct worker *worker, struct task *task, struct kind *kind)
{
    count_out(worker, task);
    task->kind = kind;
    count_in(worker, task);
    update_load(core, worker);
}

void worker_reserve(struct core *core, struct worker *worker, struct demand *demand)
{
    worker->reserved_for = demand;
    update_load(core, worker);
}

bool worker_fits(struct core *core, struct worker *worker, uint32_t size)
{
    if (worker->held == 0 || worker->held_bytes + size <= worker->window_bytes) {
        return true;
    }
    worker->is_blocked = true;
    change_load(core, worker);
    return false;
}

void worker_revoke(struct core *core, struct worker *worker, const uint8_t *session_id, uint64_t seq,
                   bool unstarted_only)
{
    if (worker->revocation_count == worker->revocation_capacity) {
        size_t capacity = worker->revocation_capacity == 0 ? 16 : worker->revocation_capacity * 2;
        struct revocation *grown = realloc(worker->revocations, capacity * sizeof *grown);
        if (grown == NULL) {
            peer_close(core, worker->peer, NETPOOL_NO_MEMORY, "no memory to withdraw a task");
            return;
        }
        worker->revocations = grown;
        worker->revocation_capacity = capacity;
    }
    struct revocation *revocation = &worker->revocations[worker->revocation_count++];
    memcpy(revocation->session, session_id, NP_SESSION_SIZE);
    revocation->seq = seq;
    revocation->unstarted_only = unstarted_only;
    core_touch(core, worker->peer);
}

void worker_withdraw(struct core *core, struct worker *worker, uint32_t count)
{
    assert(worker->withdrawing == 0 && count > 0);
    worker->withdrawing = count;
    worker->withdraw_due = count;
    worker->withdrawn = 0;
    worker->asked_ns = core->now;
    update_load(core, worker);
    core_touch(core, worker->peer);
}

static void note_round_trip(struct worker *worker, int64_t took_ns)
{
    worker->round_trip_ns = np_earlier(worker->round_trip_ns, took_ns);
}

void worker_heard(struct core *core, struct worker *worker)
{
    worker->quiet_since_ns = core->now;
    if (worker->fed_ns != NP_NEVER) {
        note_round_trip(worker, core->now - worker->fed_ns);
        worker->fed_ns = NP_NEVER;
    }
    if (worker->is_stuck) {
        worker->is_stuck = false;
        change_load(core, worker);
    }
}

void worker_answered(struct core *core, struct worker *worker)
{
    note_round_trip(worker, core->now - worker->asked_ns);
}

void worker_withdrawal_done(struct core *core, struct worker *worker)
{
    worker_answered(core, worker);
    worker->is_barren = worker->withdrawing > worker->withdrawn;
    worker->withdrawing = 0;
    update_load(core, worker);
}
