#include "common/block.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/heap.h"

enum {
    KEPT_MAX = 8,              /* blocks */
    SMALLEST_KEPT = 32 * 1024, /* malloc is good at what is smaller */
    LARGEST_KEPT = 8 * 1024 * 1024,
    KEPT_BYTES_MAX = 32 * 1024 * 1024,
    PAGE = 4096,
    LARGE_ALIGNMENT = 64, /* bytes, from SMALLEST_KEPT on */
    SLACK = 256,          /* so that one block fits all who have a little in front of a payload, or behind it */
};

#define MAGIC UINT32_C(0x6b6c6f62)

/* Stands right in front of the block. */
struct header {
    size_t capacity; /* bytes of the block */
    _Atomic uint32_t references;
    uint32_t magic;
};
_Static_assert(sizeof(struct header) == 16, "blocks are aligned as malloc's memory");

/* Sanitizers are to see every use of a freed block, and of what lies behind it. */
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

static struct header *header_of(const void *block)
{
    struct header *header = (struct header *)(uintptr_t)block - 1;
    assert(header->magic == MAGIC);
    return header;
}

static bool is_large(size_t size)
{
    return KEEPS_BLOCKS && size >= SMALLEST_KEPT;
}

/* Bytes in front of the block, its header among them. */
static size_t offset_of(size_t capacity)
{
    return is_large(capacity) ? LARGE_ALIGNMENT : sizeof(struct header);
}

static void *allocate(size_t size)
{
    if (size > PTRDIFF_MAX - PAGE - SLACK) {
        return NULL;
    }
    size_t capacity = is_large(size) ? (size + SLACK + PAGE - 1) / PAGE * PAGE : size;
    size_t offset = offset_of(capacity);
    uint8_t *memory = is_large(size) ? aligned_alloc(LARGE_ALIGNMENT, offset + capacity) : malloc(offset + capacity);
    if (memory == NULL) {
        return NULL;
    }
    *((struct header *)(void *)(memory + offset) - 1) = (struct header){capacity, 1, MAGIC};
    return memory + offset;
}

static void release(void *block)
{
    struct header *header = header_of(block);
    header->magic = 0;
    free((uint8_t *)block - offset_of(header->capacity));
}

/* The memory of large blocks, from its first byte, so that leak checkers see it held. Whoever has taken it out of its
 * place by an exchange has it alone. No lock: a fork may come at any time. */
static uint8_t *_Atomic kept[KEPT_MAX];
static atomic_uint next_victim;
static atomic_size_t kept_bytes; /* nearly: what is just being kept or taken may be counted late */

static bool keep_in_free_place(uint8_t *block)
{
    const size_t capacity = header_of(block)->capacity;
    if (atomic_load_explicit(&kept_bytes, memory_order_relaxed) + capacity > KEPT_BYTES_MAX) {
        return false;
    }
    for (int i = 0; i < KEPT_MAX; i++) {
        uint8_t *nothing = NULL;
        if (atomic_load_explicit(&kept[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong_explicit(&kept[i], &nothing, block - LARGE_ALIGNMENT, memory_order_release,
                                                    memory_order_relaxed)) {
            atomic_fetch_add_explicit(&kept_bytes, capacity, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

/* The block that was kept there, or NULL. */
static uint8_t *take_from(unsigned place)
{
    uint8_t *memory = atomic_exchange_explicit(&kept[place], NULL, memory_order_acquire);
    if (memory == NULL) {
        return NULL;
    }
    uint8_t *block = memory + LARGE_ALIGNMENT;
    atomic_fetch_sub_explicit(&kept_bytes, header_of(block)->capacity, memory_order_relaxed);
    return block;
}

/* One that is large enough and not much too large, or NULL. */
static void *take_kept(size_t size)
{
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        if (atomic_load_explicit(&kept[i], memory_order_relaxed) == NULL) {
            continue;
        }
        uint8_t *block = take_from(i);
        if (block == NULL) {
            continue;
        }
        struct header *header = header_of(block);
        if (header->capacity >= size && header->capacity - size <= size / 4 + PAGE) {
            atomic_store_explicit(&header->references, 1, memory_order_relaxed);
            return block;
        }
        if (!keep_in_free_place(block)) {
            release(block);
        }
    }
    return NULL;
}

void *np_block_new(size_t size)
{
    void *block = is_large(size) && size <= LARGEST_KEPT ? take_kept(size) : NULL;
    return block != NULL ? block : allocate(size);
}

void *np_block_new_in(struct np_heap *heap, size_t size)
{
    void *block = heap != NULL && size > NP_HEAP_UNIT ? np_heap_take(heap, size) : NULL;
    return block != NULL ? block : np_block_new(size);
}

void *np_block_share(const void *block)
{
    if (np_heap_share_block(block)) {
        return (void *)(uintptr_t)block;
    }
    uint32_t before = atomic_fetch_add_explicit(&header_of(block)->references, 1, memory_order_relaxed);
    assert(before > 0);
    return (void *)(uintptr_t)block;
}

void np_block_free(const void *shared)
{
    if (shared == NULL || np_heap_free_block(shared)) {
        return;
    }
    uint8_t *block = (uint8_t *)(uintptr_t)shared;
    struct header *header = header_of(block);
    /* Who has the only reference need not agree with anybody, and that is the usual case. */
    uint32_t references = atomic_load_explicit(&header->references, memory_order_acquire);
    assert(references > 0);
    if (references > 1 && atomic_fetch_sub_explicit(&header->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    atomic_store_explicit(&header->references, 0, memory_order_relaxed);
    if (!is_large(header->capacity) || header->capacity > LARGEST_KEPT + 2 * PAGE) {
        release(block);
    } else if (!keep_in_free_place(block)) {
        unsigned place = atomic_fetch_add_explicit(&next_victim, 1, memory_order_relaxed) % KEPT_MAX;
        uint8_t *victim = take_from(place);
        if (victim != NULL) {
            release(victim);
        }
        if (!keep_in_free_place(block)) {
            release(block);
        }
    }
}
