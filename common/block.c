#include "common/block.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum {
    KEPT_MAX = 8,                   /* blocks */
    SMALLEST_KEPT = 32 * 1024,      /* malloc is good at what is smaller */
    LARGEST_KEPT = 2 * 1024 * 1024, /* so at most 16 MiB are kept */
    PAGE = 4096,
    HEADER = 256, /* room for what some users have in front of a payload: one block fits all */
};

/* Sanitizers are to see every use of a freed block. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEPS_BLOCKS false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS_BLOCKS false
#endif
#endif
#ifndef KEEPS_BLOCKS
#define KEEPS_BLOCKS true
#endif

/* Whoever has taken a block out of its place by an exchange has it alone. No lock: a fork may come at any time. */
static void *_Atomic kept[KEPT_MAX];
static atomic_uint next_victim;

static bool keep_in_free_place(void *block)
{
    for (int i = 0; i < KEPT_MAX; i++) {
        void *nothing = NULL;
        if (atomic_load_explicit(&kept[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong_explicit(&kept[i], &nothing, block, memory_order_release,
                                                    memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* One that is large enough and not much too large, or NULL. */
static void *take_kept(size_t size)
{
    for (int i = 0; i < KEPT_MAX; i++) {
        if (atomic_load_explicit(&kept[i], memory_order_relaxed) == NULL) {
            continue;
        }
        void *block = atomic_exchange_explicit(&kept[i], NULL, memory_order_acquire);
        size_t usable = malloc_usable_size(block); /* of NULL: 0 */
        if (usable >= size && usable - size <= size / 4 + PAGE) {
            return block;
        }
        if (block != NULL && !keep_in_free_place(block)) {
            free(block);
        }
    }
    return NULL;
}

void *np_block_new(size_t size)
{
    if (!KEEPS_BLOCKS || size < SMALLEST_KEPT || size > LARGEST_KEPT) {
        return malloc(size);
    }
    void *block = take_kept(size);
    return block != NULL ? block : malloc((size + HEADER + PAGE - 1) / PAGE * PAGE);
}

void np_block_free(void *block)
{
    size_t usable = KEEPS_BLOCKS ? malloc_usable_size(block) : 0;
    if (usable < SMALLEST_KEPT || usable > LARGEST_KEPT + 2 * PAGE) {
        free(block);
        return;
    }
    if (!keep_in_free_place(block)) {
        unsigned victim = atomic_fetch_add_explicit(&next_victim, 1, memory_order_relaxed) % KEPT_MAX;
        free(atomic_exchange_explicit(&kept[victim], block, memory_order_acq_rel));
    }
}
