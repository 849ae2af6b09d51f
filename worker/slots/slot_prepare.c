#include "worker/slots/slot_prepare.h"

#include <assert.h>

#include "common/clock.h"
#include "worker/slots/executors.h"

/* NULL when the task's session wants nothing. */
static struct prepared *prepared_for(const struct slot *slot, const struct task *task)
{
    struct preparation *preparation = task->batch->preparation;
    return preparation != NULL ? preparation_of(preparation, slot->index, slot->executor) : NULL;
}

static bool needs_initializer(const struct task *task)
{
    return task->batch->preparation != NULL && task->batch->preparation->initializer[0] != '\0';
}

bool slot_is_initialized(struct slot *slot, const struct task *task)
{
    return !needs_initializer(task) || prepared_for(slot, task)->state == PREPARED_WELL;
}

bool slot_has_initializer(const struct slot *slot, const struct preparation *preparation)
{
    const struct task *head = slot_head(slot);
    return head != NULL && head->batch->is_initializer &&
           (preparation == NULL || head->batch->preparation == preparation);
}

bool slot_may_take_of_session(struct slot *slot, const struct task *task)
{
    const uint32_t most = task->batch->preparation->max_tasks;
    if (most > 0 && prepared_for(slot, task)->given >= most) {
        return false;
    }
    return slot->fed_count == 0 || slot_is_prepared(slot, task) ||
           slot_has_initializer(slot, task->batch->preparation);
}

bool slot_prepare(struct slot *slot, struct task *task, int64_t now)
{
    assert(slot->waiting == NULL && !slot_is_prepared(slot, task));
    struct prepared *prepared = prepared_for(slot, task);
    if (prepared->state == PREPARED_NOT) {
        struct task *initializer = batch_new_initializer(task->batch->preparation, now);
        if (!slot_feed(slot, initializer, now)) {
            batch_release(initializer);
            return false;
        }
        slot_show_fed(slot);
        prepared->state = PREPARED_SOON;
    }
    slot->waiting = task;
    return true;
}

void slot_feed_waiting(struct slot *slot, int64_t now)
{
    struct task *task = slot->waiting;
    slot->waiting = NULL;
    if (task == NULL) {
        return;
    }
    bool is_alive = slot->state == SLOT_LIVE || slot->state == SLOT_STARTING;
    if (is_alive && slot_feed(slot, task, now)) {
        slot_show_fed(slot);
    } else {
        executors_requeue(slot->executors, task);
    }
}

void slot_stop_waiting(struct slot *slot)
{
    if (slot->waiting != NULL) {
        executors_requeue(slot->executors, slot->waiting);
        slot->waiting = NULL;
    }
}

void slot_note_given_of_session(struct slot *slot, const struct task *task)
{
    struct prepared *prepared = prepared_for(slot, task);
    if (task->batch->is_initializer) {
        return;
    }
    slot->given++;
    if (prepared != NULL) {
        prepared->given++;
    }
}

bool slot_note_taken_back(struct slot *slot, const struct task *task)
{
    struct prepared *prepared = prepared_for(slot, task);
    if (task->batch->is_initializer) {
        prepared->state = PREPARED_NOT;
        return false;
    }
    slot->given--;
    if (prepared != NULL) {
        prepared->given--;
    }
    return true;
}

void slot_note_counted_answer(struct slot *slot, const struct task *task)
{
    struct prepared *prepared = prepared_for(slot, task);
    const uint32_t most = slot->executors->max_tasks;
    if (task->batch->is_initializer) {
        return;
    }
    slot->answered++;
    bool is_done = most > 0 && slot->answered >= most;
    if (prepared != NULL) {
        const uint32_t most_of_session = task->batch->preparation->max_tasks;
        prepared->answered++;
        is_done = is_done || (most_of_session > 0 && prepared->answered >= most_of_session);
    }
    if (is_done) {
        slot->is_retiring = true;
        slot_take_back(slot); /* the next executor runs it; what has started meanwhile, of others, may end */
        executors_mark_ready(slot->executors, slot);
    }
}

void slot_note_initialized(struct slot *slot, bool is_ok)
{
    prepared_for(slot, slot_head(slot))->state = is_ok ? PREPARED_WELL : PREPARED_NOT;
}
