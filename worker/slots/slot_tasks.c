/* What goes to a slot's executor and what is taken back before it has started. */
#include <assert.h>

#include "common/clock.h"
#include "worker/slots/executors.h"
#include "worker/slots/slot_blocks.h"
#include "worker/slots/slot_head.h"
#include "worker/slots/slot_prepare.h"

enum { CLAIM_TRIES = 1000 }; /* an honest executor changes the word once a task */

/* Bytes nobody will look at are left as they are. */
void slot_write_on(struct slot *slot)
{
    bool moved = false;
    while (slot->write_size > 0) {
        size_t room = ring_room(&slot->tasks, slot->write_size - slot->written);
        size_t piece = slot->write_size - slot->written < room ? slot->write_size - slot->written : room;
        if (piece == 0) {
            break;
        }
        const uint8_t *data = NULL;
        if (slot->writing != NULL && slot->written < slot->writing->size) {
            data = slot->writing->payload + slot->written;
            size_t left = slot->writing->size - slot->written;
            piece = piece < left ? piece : left;
        }
        if (data != NULL) {
            ring_write(&slot->tasks, data, piece);
        } else {
            ring_skip(&slot->tasks, piece);
        }
        slot->written += piece;
        moved = true;
        if (slot->written == slot->write_size) {
            slot->writing = NULL;
            slot->write_size = slot->written = 0;
        }
    }
    if (moved) {
        ring_publish_written(&slot->tasks);
        share_wake_executor(slot->share, SHARE_WAITS_FOR_TASKS);
    }
}

static bool has_room_for(struct slot *slot, size_t size)
{
    if (ring_has_room(&slot->tasks, size)) {
        return true;
    }
    share_arm_bell(slot->share, SHARE_BELL_RESULTS | SHARE_BELL_ROOM);
    return ring_room(&slot->tasks, size) >= size;
}

void slot_show_fed(struct slot *slot)
{
    ring_publish_written(&slot->tasks);
    share_wake_executor(slot->share, SHARE_WAITS_FOR_TASKS);
}

/* The payload lies behind the record, as much of it as there is room for. */
static void write_payload(struct slot *slot, struct task *task, size_t padded)
{
    if (padded <= SHARE_WHOLE_MAX) {
        ring_write(&slot->tasks, task->payload, task->size);
        ring_skip(&slot->tasks, padded - task->size);
        return;
    }
    slot->writing = task;
    slot->write_size = padded;
    slot_write_on(slot);
    if (slot->write_size > 0) {
        executors_mark_ready(slot->executors, slot); /* to arm the bell for room */
    }
}

bool slot_feed(struct slot *slot, struct task *task, int64_t now)
{
    const struct batch *batch = task->batch;
    const bool is_large = task->size > SHARE_WHOLE_MAX;
    if (slot->write_size > 0 || (is_large && slot_blocks_must_wait(slot, task, now))) {
        return false;
    }
    const uint32_t unit = is_large ? slot_blocks_place(slot, task) : 0;
    const size_t padded = unit == 0 ? share_padded(task->size) : 0;
    if (!has_room_for(slot, sizeof(struct task_record) + (padded <= SHARE_WHOLE_MAX ? padded : 0))) {
        return false;
    }
    task->number = slot->next_number++;
    const struct task_record record = {
        .number = task->number,
        .function = batch->function,
        .attempt = task->attempt,
        .item_in_size = batch->item_in_size,
        .item_out_size = batch->item_out_size,
        .size = task->size,
        .max_result = slot->executors->max_payload,
        .first_item = task->first_item,
        .is_timed = batch->timeout_ns > 0,
        .unit = unit,
    };
    slot_add_task(slot, task, now);
    slot_note_given(slot, task);
    ring_write(&slot->tasks, &record, sizeof record);
    if (padded > 0) {
        write_payload(slot, task, padded);
    }
    if (slot->fed_count == 1) {
        slot_show_fed(slot); /* it is idle */
    }
    return true;
}

/* The claims, checked: false and broken when they cannot be. */
static bool see_claims(struct slot *slot, uint64_t word)
{
    uint32_t started = share_claim_started(word);
    if ((int32_t)(started - slot->started) < 0 || (int32_t)(slot->next_number - started) < 0) {
        slot->tasks.is_broken = true;
        executors_mark_ready(slot->executors, slot); /* slot_turn will kill it */
        return false;
    }
    slot->started = started;
    return true;
}

bool slot_is_running(struct slot *slot)
{
    const struct task *head = slot_head(slot);
    return head != NULL && slot->share != NULL && see_claims(slot, atomic_load(&slot->share->claim)) &&
           slot_has_seen_start(slot, head);
}

void slot_unfeed(struct slot *slot, struct task *task)
{
    slot_remove_task(slot, task);
    if (slot_note_taken_back(slot, task)) {
        executors_requeue(slot->executors, task);
    } else {
        batch_release(task);
    }
}

void slot_take_back(struct slot *slot)
{
    if (np_list_is_empty(&slot->fed)) {
        return;
    }
    uint64_t word = atomic_load(&slot->share->claim);
    for (int tries = 0;; tries++) {
        if (tries == CLAIM_TRIES || !see_claims(slot, word)) {
            slot->tasks.is_broken = true;
            executors_mark_ready(slot->executors, slot);
            return; /* it is killed, and what it has not started comes back then */
        }
        if (atomic_compare_exchange_weak(&slot->share->claim, &word,
                                         share_claim_word(slot->next_number, slot->started))) {
            break;
        }
    }
    while (!np_list_is_empty(&slot->fed)) {
        struct task *last = NP_CONTAINER(slot->fed.previous, struct task, node);
        if ((int32_t)(last->number - slot->started) < 0) {
            break;
        }
        slot_unfeed(slot, last);
    }
    slot_stop_waiting(slot);
}
