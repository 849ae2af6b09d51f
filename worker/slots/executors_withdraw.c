/* What the broker wants back, and what it is told to be here. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "worker/slots/executors.h"
#include "worker/slots/slot_prepare.h"
#include "worker/slots/slot_results.h"

static int compare_seqs(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static bool is_selected(const void *context, const struct task *task)
{
    const struct withdrawal *withdrawal = context;
    return !task->batch->is_initializer && memcmp(task->batch->session, withdrawal->session, NP_SESSION_SIZE) == 0 &&
           bsearch(&task->seq, withdrawal->seqs, withdrawal->count, sizeof(uint64_t), compare_seqs) != NULL;
}

static bool is_selected_waiting(const struct slot *slot, const struct withdrawal *withdrawal)
{
    return slot->waiting != NULL && is_selected(withdrawal, slot->waiting);
}

static bool has_selected(const struct slot *slot, const struct withdrawal *withdrawal)
{
    NP_LIST_EACH(node, &slot->fed) {
        if (is_selected(withdrawal, NP_CONTAINER(node, struct task, node))) {
            return true;
        }
    }
    return is_selected_waiting(slot, withdrawal);
}

/* What has not started goes into the queue, where it ends. An initializer ends with the task that waited for it. */
static void cancel_in_slot(struct executors *executors, struct slot *slot, const struct withdrawal *withdrawal,
                           int64_t now)
{
    bool was_waiting = is_selected_waiting(slot, withdrawal);
    slot_take_back(slot);
    slot_results_take(slot, now, true); /* now at most the running task is left */
    const struct task *head = slot_head(slot);
    if (head != NULL &&
        (head->batch->is_initializer ? was_waiting : is_selected(withdrawal, head) && !withdrawal->unstarted_only)) {
        slot_cancel_head(slot, now + executors->cancel_grace_ns);
    }
}

void executors_cancel(struct executors *executors, const struct withdrawal *withdrawal, int64_t now)
{
    qsort(withdrawal->seqs, withdrawal->count, sizeof(uint64_t), compare_seqs);
    for (unsigned i = 0; i < executors->slot_count; i++) {
        if (has_selected(&executors->slots[i], withdrawal)) {
            cancel_in_slot(executors, &executors->slots[i], withdrawal, now);
        }
    }
    if (!withdrawal->unstarted_only) {
        postmortems_cancel(&executors->postmortems, is_selected, withdrawal);
    }
    NP_LIST_EACH(node, &executors->queue) {
        if (is_selected(withdrawal, NP_CONTAINER(node, struct task, node))) {
            executors_end_unstarted(executors, executors_pop(executors, node), NETPOOL_CANCELLED,
                                    netpool_status_text(NETPOOL_CANCELLED));
        }
    }
}

static void cancel_initializers(struct executors *executors, const struct preparation *preparation, int64_t now)
{
    for (unsigned i = 0; i < executors->slot_count; i++) {
        struct slot *slot = &executors->slots[i];
        if (slot_has_initializer(slot, preparation) && slot->waiting == NULL) {
            slot_cancel_head(slot, now + executors->cancel_grace_ns);
        }
    }
}

void executors_forget(struct executors *executors, const uint8_t *session, int64_t now)
{
    const struct preparation *preparation = preparations_find(&executors->preparations, session);
    if (preparation != NULL) {
        cancel_initializers(executors, preparation, now);
        preparations_forget(&executors->preparations, session);
    }
}

static void take_all_back(struct executors *executors)
{
    for (unsigned i = 0; i < executors->slot_count; i++) {
        slot_take_back(&executors->slots[i]);
    }
}

void executors_give_back(struct executors *executors, size_t count, struct roll *roll)
{
    if (executors->queued < count) {
        take_all_back(executors);
    }
    for (; count > 0 && executors->queued > 0; count--) {
        struct task *task = executors_pop(executors, executors->queue.previous);
        roll_add(roll, task->batch->session, task->batch->epoch, task->seq, task->attempt);
        batch_release(task);
    }
}

void executors_pause(struct executors *executors, struct roll *roll, int64_t now)
{
    executors->is_paused = true;
    take_all_back(executors);
    cancel_initializers(executors, NULL, now);
    executors_give_back(executors, executors->queued, roll);
}

static void report_task(const struct task *task, struct roll *roll)
{
    if (!task->batch->is_initializer) {
        roll_add(roll, task->batch->session, task->batch->epoch, task->seq, task->attempt);
    }
}

static void report_list(const struct np_list *list, struct roll *roll)
{
    NP_LIST_EACH(node, list) {
        report_task(NP_CONTAINER(node, struct task, node), roll);
    }
}

void executors_report(const struct executors *executors, struct roll *roll)
{
    report_list(&executors->queue, roll);
    postmortems_report(&executors->postmortems, roll);
    for (unsigned i = 0; i < executors->slot_count; i++) {
        report_list(&executors->slots[i].fed, roll);
        if (executors->slots[i].waiting != NULL) {
            report_task(executors->slots[i].waiting, roll);
        }
    }
}
