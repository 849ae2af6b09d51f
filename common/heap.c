#include "common/heap.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/block.h"
#include "common/clock.h"
#include "common/fork_guard.h"

#define HEAPS_MAX 256 /* of a process */
#define PAGE 4096
#define PURGED_AT_ONCE ((size_t)16 * 1024 * 1024 / NP_HEAP_UNIT) /* takes milliseconds */
#define SLOT_UNITS (NP_HEAP_SLOT_SIZE / NP_HEAP_UNIT)

/* Of the unit where a block or a gap begins. */
struct unit {
    _Atomic uint32_t references; /* 0: a gap */
    uint32_t length;             /* units; changed by the half's owner while it is a gap. 0: nothing begins here */
};

/* Units of the table, which is at the start of it all and has room for the largest heap. No block begins there; the
 * first two entries are the halves' (lowest_gap). */
#define TABLE_UNITS (2 * NP_HEAP_SLOTS_MAX * SLOT_UNITS * sizeof(struct unit) / NP_HEAP_UNIT + 1)

struct np_heap {
    struct unit *table; /* the mapping begins here */
    int fd;
    struct np_fork_guard guard; /* a forked child has the mapping, and no references */
    size_t slots;               /* which it is large enough for */
    size_t first;               /* unit of our half */
    size_t end;                 /* unit behind it */
    pthread_mutex_t mutex;
    size_t top;      /* unit behind what was taken since the last review, */
    size_t last_top; /* between the last two, */
    size_t resident; /* and ever, of what may still have its memory */
    size_t limit;    /* of a review that goes on: what lies beyond it goes back, */
    size_t purging;  /* from this unit on; 0: none goes on */
    _Atomic int64_t review_at;
    atomic_size_t held; /* references of this process, and 1 until it leaves */
};

/* The heaps of this process, for those who have nothing but a block's address. */
static struct {
    _Atomic uintptr_t place; /* the heap's address plus its slots, in one word; 0: free */
    _Atomic(struct np_heap *) heap;
} entries[HEAPS_MAX];
static atomic_uint entry_count;

static uint8_t *base_of(const struct np_heap *heap)
{
    return (uint8_t *)heap->table;
}

static size_t units_for(size_t slots)
{
    return TABLE_UNITS + 2 * slots * SLOT_UNITS;
}

static size_t size_for(size_t slots)
{
    return units_for(slots) * NP_HEAP_UNIT;
}

static uintptr_t place_of(const struct np_heap *heap)
{
    return (uintptr_t)heap->table | heap->slots;
}

static bool enter(struct np_heap *heap)
{
    for (int i = 0; i < HEAPS_MAX; i++) {
        uintptr_t nothing = 0;
        if (atomic_compare_exchange_strong(&entries[i].place, &nothing, place_of(heap))) {
            atomic_store(&entries[i].heap,
                         heap); /* looked at by those who have a block of it, and there is none yet */
            atomic_fetch_add(&entry_count, 1);
            return true;
        }
    }
    return false;
}

/* Memory of this process alone stands where the file's table would be. */
static bool hide_table(void *table)
{
    return mmap(table, TABLE_UNITS * NP_HEAP_UNIT, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static struct np_heap *map(int fd, size_t slots, enum np_heap_side side, bool is_table_hidden)
{
    struct np_heap *heap = calloc(1, sizeof *heap);
    int own_fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    void *memory =
        own_fd >= 0 ? mmap(NULL, size_for(slots), PROT_READ | PROT_WRITE, MAP_SHARED, own_fd, 0) : MAP_FAILED;
    if (heap != NULL && memory != MAP_FAILED && (!is_table_hidden || hide_table(memory))) {
        (void)madvise(memory, size_for(slots), MADV_DONTDUMP); /* a core dump would allocate all of it */
        heap->table = memory;
        heap->fd = own_fd;
        heap->slots = slots;
        heap->first = TABLE_UNITS + (side == NP_HEAP_WORKERS ? slots * SLOT_UNITS : 0);
        heap->end = heap->first + slots * SLOT_UNITS;
        heap->top = heap->last_top = heap->resident = heap->first;
        atomic_init(&heap->review_at, NP_NEVER);
        atomic_init(&heap->held, 1);
        heap->table[heap->first].length = (uint32_t)(heap->end - heap->first);
        np_fork_guard_init(&heap->guard);
        if (pthread_mutex_init(&heap->mutex, NULL) == 0 && enter(heap)) {
            return heap;
        }
        np_fork_guard_fini(&heap->guard);
    }
    if (memory != MAP_FAILED) {
        (void)munmap(memory, size_for(slots));
    }
    if (own_fd >= 0) {
        close(own_fd);
    }
    free(heap);
    return NULL;
}

/* Where the program has all memory locked as it comes (mlockall), all of a heap would be allocated at once. */
static bool locks_memory(void)
{
    unsigned char is_there = 0;
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED) {
        (void)mincore(page, PAGE, &is_there);
        (void)munmap(page, PAGE);
    }
    return (is_there & 1) != 0;
}

/* A file that grows past its limit is a signal that ends the program; addresses may be scarce; and where memory is
 * only given that is there, a memfd does without, and ends in a signal where malloc would have failed. */
static size_t slots_allowed(size_t wanted)
{
    struct rlimit file;
    struct rlimit addresses;
    char overcommit = '0';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!read(fd, &overcommit, 1);
        close(fd);
    }
    if (overcommit == '2' || locks_memory() || getrlimit(RLIMIT_FSIZE, &file) != 0 ||
        getrlimit(RLIMIT_AS, &addresses) != 0) {
        return 0;
    }
    const rlim_t most = addresses.rlim_cur / 8 / (atomic_load(&entry_count) + 1);
    size_t slots = wanted;
    while (slots > 0 && (size_for(slots) > file.rlim_cur || size_for(slots) > most)) {
        slots--;
    }
    return slots;
}

static struct np_heap *new_heap(unsigned slots, bool is_table_hidden)
{
    const size_t allowed = slots_allowed(slots < NP_HEAP_SLOTS_MAX ? slots : NP_HEAP_SLOTS_MAX);
    int fd = allowed > 0 ? memfd_create("netpool-payloads", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (fd < 0) {
        return NULL;
    }
    struct np_heap *heap = NULL;
    if (ftruncate(fd, (off_t)size_for(allowed)) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        heap = map(fd, allowed, NP_HEAP_PROGRAM, is_table_hidden);
    }
    close(fd);
    return heap;
}

struct np_heap *np_heap_new(unsigned slots)
{
    return new_heap(slots, false);
}

struct np_heap *np_heap_new_guarded(void)
{
    return new_heap(1, true);
}

struct np_heap *np_heap_attach(int fd)
{
    struct stat stat;
    for (size_t slots = fstat(fd, &stat) == 0 ? NP_HEAP_SLOTS_MAX : 0; slots > 0; slots--) {
        if (stat.st_size == (off_t)size_for(slots)) {
            return map(fd, slots, NP_HEAP_WORKERS, false);
        }
    }
    return NULL;
}

static void give_back(const struct np_heap *heap, size_t unit, size_t units)
{
    (void)fallocate(heap->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(unit * NP_HEAP_UNIT),
                    (off_t)(units * NP_HEAP_UNIT));
}

/* Nobody in this process has a block of it any more. */
static void destroy(struct np_heap *heap)
{
    const bool is_child = np_fork_guard_is_child(&heap->guard);
    for (int i = 0; i < HEAPS_MAX; i++) {
        uintptr_t place = place_of(heap);
        struct np_heap *self = heap;
        (void)atomic_compare_exchange_strong(&entries[i].heap, &self, NULL);
        if (atomic_compare_exchange_strong(&entries[i].place, &place, 0)) {
            atomic_fetch_sub(&entry_count, 1);
        }
    }
    if (!is_child && heap->first == TABLE_UNITS) {
        give_back(heap, 0, units_for(heap->slots)); /* a forked child may have all this mapped for long */
    }
    if (!is_child) {
        close(heap->fd); /* a child that is to be a worker process attaches anew by it */
    }
    (void)munmap(heap->table, size_for(heap->slots));
    np_fork_guard_fini(&heap->guard);
    pthread_mutex_destroy(&heap->mutex);
    free(heap);
}

static void let_go(struct np_heap *heap)
{
    if (atomic_fetch_sub(&heap->held, 1) == 1) {
        destroy(heap);
    }
}

void np_heap_leave_inherited(void)
{
    for (int i = 0; i < HEAPS_MAX; i++) {
        struct np_heap *heap = atomic_load(&entries[i].heap);
        if (heap != NULL && np_fork_guard_is_child(&heap->guard)) {
            destroy(heap);
        }
    }
}

int np_heap_fd(const struct np_heap *heap)
{
    return heap->fd;
}

/* No gap of the half that begins with this unit lies before it. Lowered by whoever gives a block up. */
static _Atomic uint32_t *lowest_gap(const struct np_heap *heap, size_t first)
{
    return &heap->table[first == TABLE_UNITS ? 0 : 1].references;
}

static void lower(_Atomic uint32_t *lowest, size_t unit)
{
    uint32_t seen = atomic_load(lowest);
    while (seen > unit && !atomic_compare_exchange_weak(lowest, &seen, (uint32_t)unit)) {
    }
}

/* The process may be killed at any time, and others go through what it leaves: what is before comes first. */
static void in_this_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* The gap that begins there, joined with those behind it. */
static size_t join_gaps(struct unit *table, size_t at, size_t end)
{
    size_t length = table[at].length;
    while (at + length < end && atomic_load(&table[at + length].references) == 0) {
        struct unit *joined = &table[at + length];
        length += joined->length;
        table[at].length = (uint32_t)length;
        in_this_order();
        joined->length = 0;
    }
    return length;
}

/* The first gap that is large enough: what was used lately is used again, its memory is there and in the caches. */
static size_t find_gap(const struct np_heap *heap, size_t wanted)
{
    struct unit *table = heap->table;
    _Atomic uint32_t *lowest = lowest_gap(heap, heap->first);
    size_t too_small = 0; /* the first gap that is */
    size_t at = atomic_exchange(lowest, UINT32_MAX);
    at = at > heap->first ? at : heap->first;
    while (at < heap->end && table[at].length == 0) { /* it has become a part of what begins before it */
        at--;
    }
    for (; at < heap->end; at += table[at].length) {
        if (atomic_load(&table[at].references) > 0) {
            continue;
        }
        if (join_gaps(table, at, heap->end) >= wanted) {
            break;
        }
        too_small = too_small > 0 ? too_small : at;
    }
    const bool is_found = at < heap->end;
    lower(lowest, too_small > 0 ? too_small : is_found ? at + wanted : heap->end);
    return is_found ? at : 0;
}

void *np_heap_take(struct np_heap *heap, size_t size)
{
    if (size == 0 || size > (heap->end - heap->first) * NP_HEAP_UNIT) {
        return NULL;
    }
    const size_t wanted = (size + NP_HEAP_UNIT - 1) / NP_HEAP_UNIT;
    struct unit *table = heap->table;
    pthread_mutex_lock(&heap->mutex);
    size_t at = find_gap(heap, wanted);
    if (at != 0) {
        if (table[at].length > wanted) {
            table[at + wanted].length = table[at].length - (uint32_t)wanted;
            atomic_store_explicit(&table[at + wanted].references, 0, memory_order_relaxed);
            in_this_order();
            table[at].length = (uint32_t)wanted;
        }
        atomic_store_explicit(&table[at].references, 1, memory_order_relaxed);
        heap->top = at + wanted > heap->top ? at + wanted : heap->top;
        if (heap->review_at == NP_NEVER) {
            heap->review_at = np_clock_now() + NP_BLOCK_KEPT_NS;
        }
    }
    pthread_mutex_unlock(&heap->mutex);
    if (at == 0) {
        return NULL;
    }
    atomic_fetch_add(&heap->held, 1);
    return base_of(heap) + at * NP_HEAP_UNIT;
}

/* The unit where it begins; 0: not in the heap of this place. */
static size_t unit_at(uintptr_t place, const void *block)
{
    const size_t slots = place % PAGE;
    uintptr_t offset = (uintptr_t)block - (place - slots);
    return offset < size_for(slots) ? offset / NP_HEAP_UNIT : 0;
}

static size_t unit_of(const struct np_heap *heap, const void *block)
{
    return unit_at(place_of(heap), block);
}

uint32_t np_heap_unit(const struct np_heap *heap, const void *block)
{
    return (uintptr_t)block % NP_HEAP_UNIT == (uintptr_t)heap->table % NP_HEAP_UNIT ? (uint32_t)unit_of(heap, block)
                                                                                    : 0;
}

void np_heap_send(struct np_heap *heap, const void *block)
{
    assert(unit_of(heap, block) != 0);
    (void)block;
    let_go(heap);
}

void *np_heap_receive(struct np_heap *heap, uint64_t unit, size_t size)
{
    const size_t units = units_for(heap->slots);
    if (unit < TABLE_UNITS || unit >= units) {
        return NULL;
    }
    const struct unit *first = &heap->table[unit];
    if (atomic_load_explicit(&first->references, memory_order_acquire) == 0 || first->length > units - unit ||
        size > first->length * NP_HEAP_UNIT) {
        return NULL;
    }
    atomic_fetch_add(&heap->held, 1);
    return base_of(heap) + unit * NP_HEAP_UNIT;
}

/* NULL: the block is of no heap. The caller's reference keeps a heap that has it from going away. */
static struct np_heap *heap_of(const void *block)
{
    if ((uintptr_t)block % PAGE != 0 || atomic_load_explicit(&entry_count, memory_order_acquire) == 0) {
        return NULL;
    }
    for (int i = 0; i < HEAPS_MAX; i++) {
        uintptr_t place = atomic_load(&entries[i].place);
        if (place != 0 && unit_at(place, block) != 0) {
            return atomic_load(&entries[i].heap);
        }
    }
    return NULL;
}

bool np_heap_share_block(const void *block)
{
    struct np_heap *heap = heap_of(block);
    if (heap == NULL) {
        return false;
    }
    if (!np_fork_guard_is_child(&heap->guard)) {
        atomic_fetch_add_explicit(&heap->table[unit_of(heap, block)].references, 1, memory_order_relaxed);
        atomic_fetch_add(&heap->held, 1);
    }
    return true;
}

bool np_heap_free_block(const void *block)
{
    struct np_heap *heap = heap_of(block);
    if (heap == NULL) {
        return false;
    }
    if (!np_fork_guard_is_child(&heap->guard)) {
        const size_t unit = unit_of(heap, block);
        if (atomic_fetch_sub(&heap->table[unit].references, 1) == 1) {
            const size_t middle = TABLE_UNITS + heap->slots * SLOT_UNITS;
            lower(lowest_gap(heap, unit < middle ? TABLE_UNITS : middle), unit);
        }
        let_go(heap);
    }
    return true;
}

/* Gaps of a half give up their memory, between these units and as many as PURGED_AT_ONCE at most. Returns the unit
 * where to go on; `to`: it is done. */
static size_t purge(const struct np_heap *heap, size_t first, size_t from, size_t to)
{
    struct unit *table = heap->table;
    const size_t end = first + heap->slots * SLOT_UNITS;
    for (size_t at = first; at < to; at += table[at].length) {
        if (atomic_load_explicit(&table[at].references, memory_order_acquire) > 0) {
            continue;
        }
        size_t begin = at > from ? at : from;
        size_t behind = at + join_gaps(table, at, end);
        behind = behind < to ? behind : to;
        if (begin < behind) {
            size_t units = behind - begin < PURGED_AT_ONCE ? behind - begin : PURGED_AT_ONCE;
            give_back(heap, begin, units);
            return begin + units;
        }
    }
    return to;
}

void np_heap_purge(struct np_heap *heap, enum np_heap_side side)
{
    const size_t first = TABLE_UNITS + (side == NP_HEAP_WORKERS ? heap->slots * SLOT_UNITS : 0);
    const size_t end = first + heap->slots * SLOT_UNITS;
    pthread_mutex_lock(&heap->mutex);
    size_t at = heap->table[first].length > 0 ? first : end; /* or nobody was ever there */
    while (at < end) {
        at = purge(heap, first, at, end);
    }
    pthread_mutex_unlock(&heap->mutex);
}

void np_heap_leave(struct np_heap *heap)
{
    if (heap == NULL) {
        return;
    }
    if (atomic_load(&heap->held) > 1 && !np_fork_guard_is_child(&heap->guard)) {
        np_heap_purge(heap, heap->first == TABLE_UNITS ? NP_HEAP_PROGRAM : NP_HEAP_WORKERS);
    }
    let_go(heap);
}

/* The unit behind the last block of our half. */
static size_t end_of_blocks(const struct np_heap *heap)
{
    const struct unit *table = heap->table;
    size_t behind = heap->first;
    for (size_t at = heap->first; at < heap->resident; at += table[at].length) {
        if (atomic_load_explicit(&table[at].references, memory_order_acquire) > 0) {
            behind = at + table[at].length;
        }
    }
    return behind;
}

int64_t np_heap_deadline(const struct np_heap *heap)
{
    return heap != NULL ? heap->review_at : NP_NEVER;
}

/* Blocks are taken as near to the start as may be, so what lies beyond all that were taken lately was not needed. */
static void begin_review(struct np_heap *heap)
{
    heap->resident = heap->top > heap->resident ? heap->top : heap->resident;
    heap->limit = heap->purging = heap->top > heap->last_top ? heap->top : heap->last_top;
    heap->last_top = heap->top;
    heap->top = heap->first;
}

bool np_heap_review(struct np_heap *heap, int64_t now)
{
    if (now < np_heap_deadline(heap)) {
        return false;
    }
    pthread_mutex_lock(&heap->mutex);
    bool begins = heap->purging == 0;
    if (begins) {
        begin_review(heap);
    }
    heap->purging = purge(heap, heap->first, heap->purging, heap->resident);
    if (heap->purging < heap->resident) {
        heap->review_at = now; /* takers, and whoever reviews, have their turn first */
    } else {
        heap->purging = 0;
        size_t behind = end_of_blocks(heap);
        heap->resident = heap->limit > behind ? heap->limit : behind;
        bool is_over = heap->resident == heap->first && heap->top == heap->first; /* none was taken meanwhile */
        heap->review_at = is_over ? NP_NEVER : now + NP_BLOCK_KEPT_NS;
    }
    pthread_mutex_unlock(&heap->mutex);
    return begins;
}
