#include "broker/core/recovery.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/lease.h"
#include "broker/core/record.h"
#include "broker/core/schedule.h"
#include "broker/core/state.h"
#include "common/block.h"

/* May this worker have the lease of a task that its client has submitted? */
static bool is_adoptable(const struct task *task, uint32_t attempt)
{
    if (lane_of(task) != NULL && lane_of(task)->leased != NULL) {
        return false; /* one at a time, whatever became of the lane while nobody watched */
    }
    if (task->state == TASK_RECOVERING) {
        return true;
    }
    return task->state == TASK_QUEUED && attempt >= task->attempt && attempt - task->attempt <= 1;
}

static bool adopt(struct core *core, struct worker *worker, struct task *task, uint32_t attempt, uint64_t epoch)
{
    if (epoch != core->config.epoch) {
        struct task_extra *extra = task_need_extra(task);
        if (extra == NULL) {
            return false;
        }
        extra->held_epoch = epoch;
    }
    if (attempt == task->attempt) {
        record_forget_loss(core, task);
    }
    core->stats.retried += attempt > task->attempt && attempt > 1;
    task->attempt = (uint8_t)attempt;
    task->is_adopted = true;
    task_move(core, task, TASK_HOLD, TASK_LEASED, worker);
    core->stats.adopted++;
    if (task->is_unwanted) {
        worker_revoke(core, worker, task->session->id, task->seq, true);
    }
    return true;
}

/* Room for a lease that no client has asked about yet. False when out of memory. */
static bool keep_unclaimed(struct core *core, struct worker *worker, struct session *session, uint64_t seq,
                           uint32_t attempt, uint64_t epoch)
{
    struct task *task = task_new(session, NULL, seq, NULL, 0, false);
    if (task == NULL) {
        return false;
    }
    struct task_extra *extra = task_need_extra(task);
    if (extra == NULL || np_table_put(&session->tasks, seq, task) != NETPOOL_OK) {
        free(extra);
        np_slab_give(task);
        return false;
    }
    extra->held_epoch = epoch;
    core->stats.retried += attempt > 1;
    task->attempt = (uint8_t)attempt;
    task->is_adopted = true;
    session->held++;
    session->unclaimed_tasks++;
    core->held++;
    task_begin(core, task, TASK_LEASED, worker);
    return true;
}

/* False when out of memory. */
static bool take_held(struct core *core, struct worker *worker, const Np__Held *held, struct session *session,
                      uint64_t seq, uint32_t attempt)
{
    struct task *task = session != NULL ? np_table_find(&session->tasks, seq) : NULL;
    bool is_ours = session != NULL && !session->is_ending;
    if (task != NULL && is_ours && is_adoptable(task, attempt)) {
        return adopt(core, worker, task, attempt, held->epoch);
    }
    if (task == NULL && is_ours && core->is_recovering && seq > session->received_seq &&
        core->held < core->config.max_tasks) {
        return keep_unclaimed(core, worker, session, seq, attempt, held->epoch);
    }
    worker_revoke(core, worker, held->session.data, seq, false);
    return true;
}

void recovery_held(struct core *core, struct worker *worker, const Np__Held *held)
{
    if (held->session.len != NP_SESSION_SIZE) {
        peer_close(core, worker->peer, NETPOOL_PROTOCOL, "tasks held of no session");
        return;
    }
    struct session *session = session_find(core, held->session.data);
    if (session == NULL && core->is_recovering && held->n_seqs > 0) {
        session = session_new(core, held->session.data);
        if (session == NULL) {
            peer_close(core, worker->peer, NETPOOL_NO_MEMORY, "no memory for held tasks");
            return;
        }
        session->is_awaited = true;
    }
    for (size_t i = 0; i < held->n_seqs; i++) {
        uint32_t attempt = held->n_attempts > 0 ? held->attempts[i] : 1;
        if (attempt < 1 || attempt > NP_ATTEMPTS_MAX) {
            peer_close(core, worker->peer, NETPOOL_PROTOCOL, "attempt %u of a held task", attempt);
            return;
        }
        if (!take_held(core, worker, held, session, held->seqs[i], attempt)) {
            peer_close(core, worker->peer, NETPOOL_NO_MEMORY, "no memory for held tasks");
            return;
        }
    }
}

static bool give_payload(struct core *core, struct task *task, const uint8_t *payload, uint32_t size)
{
    if (size > 0) {
        task->data = np_block_new(size);
        if (task->data == NULL) {
            return false;
        }
        memcpy(task->data, payload, size);
    }
    task->size = size;
    task->worker->held_bytes += size;
    session_add_bytes(core, task->session, size, false);
    return true;
}

bool recovery_claim(struct core *core, struct task *task, struct kind *kind, const uint8_t *payload, uint32_t size,
                    int64_t now, int64_t deadline_ns)
{
    assert(task->kind == NULL && (task->state == TASK_LEASED || task->state == TASK_FINISHED));
    if (task->state == TASK_FINISHED) {
        core->stats.adopted++;
        task->session->unclaimed_tasks--;
        task->kind = kind;
        kind->references++;
        np_list_remove(&task->node);
        np_list_push_back(&task->session->undelivered, &task->node);
        lease_hold_to_limit(core, task);
        return true;
    }
    if (deadline_ns != 0 && deadline_add(&core->deadlines, task, deadline_ns) != NETPOOL_OK) {
        return false;
    }
    if (!give_payload(core, task, payload, size)) {
        deadline_remove(&core->deadlines, task);
        return false;
    }
    core->stats.adopted++;
    task->session->unclaimed_tasks--;
    worker_claimed(core, task->worker, task, kind);
    kind->references++;
    task->submitted_ns = now;
    return true;
}

void recovery_task_over(struct core *core, struct task *task)
{
    if (task->kind->at_most_once) {
        task_finish(core, task, TASK_RECOVER, NETPOOL_LOST);
    } else {
        task_move(core, task, TASK_RECOVER, TASK_QUEUED, NULL);
        lease_review(core, task);
    }
}

static void drop_unclaimed_of(struct core *core, struct session *session)
{
    NP_LIST_EACH(node, &session->unclaimed) {
        task_destroy(core, NP_CONTAINER(node, struct task, node));
    }
    NP_LIST_EACH(node, &session->recovering) {
        recovery_task_over(core, NP_CONTAINER(node, struct task, node));
    }
}

/* What the worker still runs for a client that can never ask for it is withdrawn; its answer ends the lease. What a
 * connected client may yet submit again runs on, and is dropped when it ends unclaimed. */
static void withdraw_unclaimed(struct core *core, struct worker *worker)
{
    NP_LIST_EACH(node, &worker->leases) {
        struct task *task = NP_CONTAINER(node, struct task, node);
        if (task->kind == NULL && task->state == TASK_LEASED && task->seq <= task->session->received_seq) {
            lease_cancel(core, task, TASK_CANCEL);
        }
    }
}

void recovery_over(struct core *core)
{
    assert(core->is_recovering);
    core->is_recovering = false;
    core->recovery_end_ns = NP_NEVER;
    core_log(core, NP_LOG_INFO, "done waiting for workers with tasks of an earlier broker: %llu taken over",
             (unsigned long long)core->stats.adopted);
    NP_LIST_EACH(node, &core->workers) {
        withdraw_unclaimed(core, NP_CONTAINER(node, struct worker, node));
    }
    NP_LIST_EACH(node, &core->all_sessions) {
        struct session *session = NP_CONTAINER(node, struct session, node);
        drop_unclaimed_of(core, session);
        if (session->is_awaited) {
            session_end(core, session);
        }
    }
    schedule_finish_unserved(core);
}
