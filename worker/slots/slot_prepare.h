/* What a slot's executor has done for a session before its tasks may run there, and how many tasks it may run until
 * it is replaced. A block of items is one task, and an initializer is none. */
#ifndef NP_SLOT_PREPARE_H
#define NP_SLOT_PREPARE_H

#include "worker/slots/executors.h"

/* May the task go to this executor at all, now? Not when that has been given its number of tasks, and behind others
 * only when there is no initializer to be called first; but where just that one runs, the task may wait for it. */
bool slot_may_take_of_session(struct slot *slot, const struct task *task);
static inline bool slot_may_take(struct slot *slot, const struct task *task)
{
    const uint32_t most = slot->executors->max_tasks;
    return !slot->is_retiring && slot->waiting == NULL && (most == 0 || slot->given < most) &&
           (task->batch->preparation == NULL || slot_may_take_of_session(slot, task));
}

/* Nothing is to be called before the task. */
bool slot_is_initialized(struct slot *slot, const struct task *task);
static inline bool slot_is_prepared(struct slot *slot, const struct task *task)
{
    return task->batch->preparation == NULL || slot_is_initialized(slot, task);
}

/* Feeds the initializer, unless it runs already, and keeps the task until that has brought it off. False: no room. */
bool slot_prepare(struct slot *slot, struct task *task, int64_t now);

/* The initializer has returned: feeds what waited for it. */
void slot_feed_waiting(struct slot *slot, int64_t now);

/* Puts what waits for the initializer back into the queue. */
void slot_stop_waiting(struct slot *slot);

/* Does an initializer run or lie ready here, of this preparation (NULL: of any)? */
bool slot_has_initializer(const struct slot *slot, const struct preparation *preparation);

/* Keep the account. Of a task taken back: false when nobody is to have it again, as it calls an initializer. An
 * executor that has answered its number of tasks retires. */
void slot_note_given_of_session(struct slot *slot, const struct task *task);
static inline void slot_note_given(struct slot *slot, const struct task *task)
{
    if (task->batch->preparation == NULL) {
        slot->given++;
    } else {
        slot_note_given_of_session(slot, task);
    }
}
bool slot_note_taken_back(struct slot *slot, const struct task *task);
void slot_note_counted_answer(struct slot *slot, const struct task *task);
static inline void slot_note_answered(struct slot *slot, const struct task *task)
{
    if (task->batch->preparation == NULL && slot->executors->max_tasks == 0) {
        slot->answered++;
    } else {
        slot_note_counted_answer(slot, task);
    }
}
void slot_note_initialized(struct slot *slot, bool is_ok);

#endif
