#include "worker/slots/slot_blocks.h"

#include <string.h>

#include "common/block.h"
#include "common/heap.h"
#include "worker/slots/executors.h"

/* Of one executor, but for two blocks that may be larger: one to fill while the other is taken. */
#define GRANTED_MAX ((size_t)64 * 1024 * 1024)

/* Of inputs that are moved in a turn: other executors and the link want theirs. What is larger goes through the ring,
 * piece by piece. */
#define MOVED_MAX ((size_t)64 * 1024 * 1024)

static uint8_t *take(struct slot *slot, size_t size)
{
    struct executors *executors = slot->executors;
    uint8_t *block = np_heap_take(slot->heap, size);
    executors->review_at = np_earlier(executors->review_at, np_heap_deadline(slot->heap));
    return block;
}

/* Is the input all of its batch's body, and does that lie elsewhere? */
static bool is_movable(const struct slot *slot, const struct task *task)
{
    return slot->heap != NULL && task->size <= MOVED_MAX && task->batch->count == 1 &&
           task->payload == task->batch->body && np_heap_unit(slot->heap, task->payload) == 0;
}

bool slot_blocks_must_wait(struct slot *slot, const struct task *task, int64_t now)
{
    struct executors *executors = slot->executors;
    if (executors->moved == 0 || executors->moved + task->size <= MOVED_MAX || !is_movable(slot, task)) {
        return false;
    }
    executors_set_deadline(executors, now);
    return true;
}

uint32_t slot_blocks_place(struct slot *slot, struct task *task)
{
    struct batch *batch = task->batch;
    if (slot->heap == NULL) {
        return 0;
    }
    uint8_t *block = is_movable(slot, task) ? take(slot, task->size) : NULL;
    if (block == NULL) {
        return np_heap_unit(slot->heap, task->payload);
    }
    slot->executors->moved += task->size;
    task->payload = memcpy(block, task->payload, task->size);
    np_block_free(batch->body);
    batch->body = block;
    return np_heap_unit(slot->heap, block);
}

/* Takes a block away, unless the executor has taken it already. */
static void withdraw(struct slot *slot, int i)
{
    struct slot_grant *grant = &slot->grants[i];
    uint64_t word = grant->word;
    if (grant->block != NULL && atomic_compare_exchange_strong(&slot->share->grants[i], &word, 0)) {
        np_block_free(grant->block);
        grant->block = NULL;
    }
}

/* Some more than last time, as chunks of a map vary; untouched, it costs no memory. */
void slot_blocks_grant(struct slot *slot, size_t size)
{
    const size_t units = (size + size / 4) / NP_HEAP_UNIT + 1;
    slot->has_granted = true;
    for (int i = 0; i < SHARE_GRANTS && slot->heap != NULL; i++) {
        struct slot_grant *grant = &slot->grants[i];
        if (i > 1 && (size_t)(i + 1) * size > GRANTED_MAX) {
            break;
        }
        if (!share_grant_fits(grant->word, size)) {
            withdraw(slot, i);
        }
        if (grant->block == NULL && (grant->block = take(slot, units * NP_HEAP_UNIT)) != NULL) {
            grant->word = share_grant(np_heap_unit(slot->heap, grant->block), units);
            atomic_store_explicit(&slot->share->grants[i], grant->word, memory_order_release);
        }
    }
}

uint8_t *slot_blocks_take(struct slot *slot, uint32_t unit, uint64_t size)
{
    for (int i = 0; i < SHARE_GRANTS; i++) {
        struct slot_grant *grant = &slot->grants[i];
        if (grant->block != NULL && share_grant_unit(grant->word) == unit && size <= share_grant_size(grant->word)) {
            uint8_t *block = grant->block;
            grant->block = NULL;
            return block;
        }
    }
    return NULL;
}

void slot_blocks_review(struct slot *slot)
{
    for (int i = 0; i < SHARE_GRANTS && !slot->has_granted; i++) {
        withdraw(slot, i);
    }
    slot->has_granted = false;
}

void slot_blocks_drop(struct slot *slot)
{
    for (int i = 0; i < SHARE_GRANTS; i++) {
        np_block_free(slot->grants[i].block);
        slot->grants[i].block = NULL;
    }
}
