#include "common/block.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/heap.h"

enum {
    KEPT_MAX = 64,                 /* blocks */
    SMALLEST_KEPT = 32 * 1024,     /* malloc is good at what is smaller, */
    SMALLEST_MAPPED = 1024 * 1024, /* and does not give back what is larger */
    SPARE_MAX = 32 * 1024 * 1024,  /* for blocks of other sizes, of which not all are in use at one time */
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

/* Of large blocks. What is in use and what is kept are together no more than was in use at some time since the last
 * review but one, and as much again up to SPARE_MAX. */
static struct {
    atomic_uint reviewers;
    _Atomic int64_t review_at;
    atomic_bool was_used;     /* some were taken or given back since the last review */
    atomic_size_t used;       /* bytes */
    atomic_size_t kept;       /* bytes */
    atomic_size_t peak;       /* of `used` since the last review, */
    atomic_size_t last_peak;  /* and between the last two */
    atomic_bool is_over_peak; /* since the last review, which goes on */
} large = {.review_at = NP_NEVER};

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

static bool is_mapped(size_t capacity)
{
    return KEEPS_BLOCKS && capacity >= SMALLEST_MAPPED;
}

static void release(void *block)
{
    struct header *header = header_of(block);
    const size_t capacity = header->capacity;
    uint8_t *memory = (uint8_t *)block - offset_of(capacity);
    header->magic = 0;
    if (is_mapped(capacity)) {
        (void)munmap(memory, offset_of(capacity) + capacity);
    } else {
        free(memory);
    }
}

/* The memory of kept blocks, from its first byte, so that leak checkers see it held. Whoever has taken it out of its
 * place by an exchange has it alone. No lock: a fork may come at any time. */
static uint8_t *_Atomic kept[KEPT_MAX];
static atomic_uint next_victim;

/* The block that was kept there, or NULL. */
static uint8_t *take_from(unsigned place)
{
    uint8_t *memory = atomic_exchange(&kept[place], NULL);
    if (memory == NULL) {
        return NULL;
    }
    uint8_t *block = memory + offset_of(SMALLEST_KEPT);
    atomic_fetch_sub(&large.kept, header_of(block)->capacity);
    return block;
}

static bool evict(unsigned place)
{
    uint8_t *block = take_from(place);
    if (block != NULL) {
        release(block);
    }
    return block != NULL;
}

static bool keep_in_free_place(uint8_t *block)
{
    atomic_fetch_add(&large.kept, header_of(block)->capacity);
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        uint8_t *nothing = NULL;
        if (atomic_load_explicit(&kept[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong(&kept[i], &nothing, block - offset_of(SMALLEST_KEPT))) {
            if (atomic_load(&large.reviewers) == 0) { /* the last one has just left */
                (void)evict(i);
            }
            return true;
        }
    }
    atomic_fetch_sub(&large.kept, header_of(block)->capacity);
    return false;
}

/* One that is large enough and not much too large, or NULL. */
static void *take_kept(size_t size)
{
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        uint8_t *block = atomic_load_explicit(&kept[i], memory_order_relaxed) != NULL ? take_from(i) : NULL;
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

static bool is_over_peak(void)
{
    size_t peak = atomic_load(&large.peak);
    size_t last_peak = atomic_load(&large.last_peak);
    peak = peak > last_peak ? peak : last_peak;
    size_t spare = peak < SPARE_MAX ? peak : SPARE_MAX;
    return atomic_load(&large.kept) + atomic_load(&large.used) > peak + spare;
}

static void trim(bool (*is_needed)(void))
{
    for (unsigned i = 0; i < KEPT_MAX && (is_needed == NULL || is_needed()); i++) {
        (void)evict(i);
    }
}

/* A large block is used, or not any more. Whoever gives it back may be a thread that never waits for events: so a
 * review is due from the beginning. */
static void note_use(void)
{
    int64_t never = NP_NEVER;
    atomic_store(&large.was_used, true); /* before the look at review_at, as reviews look the other way round */
    if (atomic_load(&large.review_at) == NP_NEVER) {
        (void)atomic_compare_exchange_strong(&large.review_at, &never, np_clock_now() + NP_BLOCK_KEPT_NS);
    }
}

static void begin_use(size_t capacity)
{
    size_t used = atomic_fetch_add(&large.used, capacity) + capacity;
    size_t peak = atomic_load(&large.peak);
    while (peak < used && !atomic_compare_exchange_weak(&large.peak, &peak, used)) {
    }
    note_use();
}

static void *get_memory(size_t capacity)
{
    const size_t size = offset_of(capacity) + capacity;
    if (is_mapped(capacity)) {
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return memory != MAP_FAILED ? memory : NULL;
    }
    return is_large(capacity) ? aligned_alloc(LARGE_ALIGNMENT, size) : malloc(size);
}

static void *allocate(size_t size)
{
    if (size > PTRDIFF_MAX - PAGE - SLACK) {
        return NULL;
    }
    size_t capacity = size;
    if (is_large(size)) { /* whole pages, with what is in front of it */
        capacity = (LARGE_ALIGNMENT + size + SLACK + PAGE - 1) / PAGE * PAGE - LARGE_ALIGNMENT;
    }
    uint8_t *memory = get_memory(capacity);
    if (memory == NULL) {
        trim(NULL);
        memory = get_memory(capacity);
    }
    if (memory == NULL) {
        return NULL;
    }
    uint8_t *block = memory + offset_of(capacity);
    *((struct header *)(void *)block - 1) = (struct header){capacity, 1, MAGIC};
    return block;
}

static void *new_large(size_t size)
{
    void *block = take_kept(size);
    if (block != NULL) {
        begin_use(header_of(block)->capacity);
        return block;
    }
    block = allocate(size);
    if (block != NULL) {
        begin_use(header_of(block)->capacity);
        trim(is_over_peak); /* those kept did not fit */
    }
    return block;
}

void *np_block_new(size_t size)
{
    return is_large(size) ? new_large(size) : allocate(size);
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

/* Kept, if somebody will review it, in the place of another one if need be. */
static void give_back(uint8_t *block)
{
    atomic_fetch_sub(&large.used, header_of(block)->capacity);
    atomic_store(&large.was_used, true);
    if (atomic_load(&large.reviewers) == 0 || atomic_load(&large.review_at) == NP_NEVER) {
        release(block);
    } else if (!keep_in_free_place(block)) {
        (void)evict(atomic_fetch_add_explicit(&next_victim, 1, memory_order_relaxed) % KEPT_MAX);
        if (!keep_in_free_place(block)) {
            release(block);
        }
    }
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
    if (is_large(header->capacity)) {
        give_back(block);
    } else {
        release(block);
    }
}

void np_block_add_reviewer(void)
{
    atomic_fetch_add(&large.reviewers, 1);
}

void np_block_remove_reviewer(void)
{
    if (atomic_fetch_sub(&large.reviewers, 1) == 1) {
        trim(NULL);
    }
}

int64_t np_block_deadline(void)
{
    return atomic_load_explicit(&large.review_at, memory_order_relaxed);
}

/* To unmap takes time: one block, and then whoever reviews has its turn. */
static bool evict_one(void)
{
    for (unsigned i = 0; i < KEPT_MAX && is_over_peak(); i++) {
        if (evict(i)) {
            break;
        }
    }
    return is_over_peak() && atomic_load(&large.kept) > 0;
}

void np_block_review(int64_t now)
{
    int64_t due = np_block_deadline();
    /* NP_NEVER first: whoever uses a block from then on sets the next deadline. */
    if (now < due || !atomic_compare_exchange_strong(&large.review_at, &due, NP_NEVER)) {
        return;
    }
    bool was_used = atomic_load(&large.is_over_peak) || atomic_exchange(&large.was_used, false);
    if (!atomic_load(&large.is_over_peak)) {
        atomic_store(&large.last_peak, atomic_load(&large.peak));
        atomic_store(&large.peak, atomic_load(&large.used));
    }
    bool goes_on = evict_one();
    atomic_store(&large.is_over_peak, goes_on);
    if (goes_on || was_used || atomic_load(&large.kept) > 0) {
        int64_t never = NP_NEVER;
        (void)atomic_compare_exchange_strong(&large.review_at, &never, goes_on ? now : now + NP_BLOCK_KEPT_NS);
    }
}
