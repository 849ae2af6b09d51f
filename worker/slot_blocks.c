#include "worker/slot_blocks.h"

#include "common/heap.h"
#include "worker/executors.h"

uint32_t slot_blocks_unit(const struct slot *slot, const struct task *task)
{
    const struct np_heap *heap = slot->executors->heap;
    return heap != NULL && task->size > SHARE_WHOLE_MAX ? np_heap_unit(heap, task->payload) : 0;
}

/* Some more than last time, as chunks of a map vary; untouched, it costs no memory. */
void slot_blocks_grant(struct slot *slot, size_t size)
{
    struct np_heap *heap = slot->executors->heap;
    if (heap == NULL) {
        return;
    }
    for (int i = 0; i < SHARE_GRANTS; i++) {
        struct slot_grant *grant = &slot->grants[i];
        if (grant->block == NULL) {
            size_t units = (size + size / 4) / NP_HEAP_UNIT + 1;
            grant->block = np_heap_take(heap, units * NP_HEAP_UNIT);
            grant->size = units * NP_HEAP_UNIT;
            if (grant->block != NULL) {
                atomic_store_explicit(&slot->share->grants[i], share_grant(np_heap_unit(heap, grant->block), units),
                                      memory_order_release);
            }
        }
    }
}

uint8_t *slot_blocks_take(struct slot *slot, uint32_t unit, uint64_t size)
{
    for (int i = 0; i < SHARE_GRANTS; i++) {
        struct slot_grant *grant = &slot->grants[i];
        if (grant->block != NULL && np_heap_unit(slot->executors->heap, grant->block) == unit &&
            size <= grant->size) {
            uint8_t *block = grant->block;
            grant->block = NULL;
            return block;
        }
    }
    return NULL;
}

void slot_blocks_drop(struct slot *slot)
{
    for (int i = 0; i < SHARE_GRANTS; i++) {
        if (slot->grants[i].block != NULL) {
            (void)np_heap_free_block(slot->grants[i].block);
            slot->grants[i].block = NULL;
        }
    }
}
