/* The steps of a task through its slot, inline because every task takes them. */
#ifndef NP_SLOT_HEAD_H
#define NP_SLOT_HEAD_H

#include "common/clock.h"
#include "worker/slots/executors.h"

/* The head has changed: its deadline counts from now at the earliest. */
static inline void slot_watch_head(struct slot *slot, int64_t now)
{
    const struct task *head = slot_head(slot);
    slot->head_since = now;
    slot->cancel_at = NP_NEVER;
    slot->seen_done = slot->seen_total = 0;
    if (slot->state == SLOT_DYING) {
        return;
    }
    slot->deadline = NP_NEVER;
    if (head != NULL && head->batch->timeout_ns > 0) {
        slot->deadline = now + head->batch->timeout_ns;
        executors_set_deadline(slot->executors, slot->deadline);
    }
}

/* The task is now the slot's. */
static inline void slot_add_task(struct slot *slot, struct task *task, int64_t now)
{
    np_list_push_back(&slot->fed, &task->node);
    slot->fed_count++;
    slot->ahead_ns += task->estimate_ns;
    slot->executors->fed++;
    if (slot->fed_count == 1) {
        slot->executors->busy++;
        slot_watch_head(slot, now);
    }
}

/* The task is no longer the slot's. */
static inline void slot_remove_task(struct slot *slot, struct task *task)
{
    np_list_remove(&task->node);
    slot->fed_count--;
    slot->ahead_ns -= task->estimate_ns;
    slot->executors->fed--;
    if (slot->fed_count == 0) {
        slot->executors->busy--;
    }
    if (slot->writing == task) {
        slot->writing = NULL; /* the rest of its room is skipped */
    }
}

/* Has it started, as far as is known without looking? What has started once has started for good. */
static inline bool slot_has_seen_start(const struct slot *slot, const struct task *task)
{
    return (int32_t)(slot->started - task->number) > 0;
}

#endif
