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

enum {
    HALF_UNITS = 8192, /* 512 MiB; only what was touched takes memory */
    KEPT_UNITS = 2048, /* at the start of each half: free blocks there keep their memory, which is 128 MiB */
    TABLE_UNITS = 3,   /* at the start of it all */
    HEAPS_MAX = 16,    /* of a process */
};
#define UNITS (TABLE_UNITS + 2 * HALF_UNITS)
#define HEAP_SIZE (UNITS * NP_HEAP_UNIT)

/* Of the unit where a block or a gap begins. */
struct unit {
    _Atomic uint32_t references; /* 0: a gap */
    uint32_t length;             /* units; changed by the half's owner while it is a gap */
};
_Static_assert(UNITS * sizeof(struct unit) <= TABLE_UNITS * NP_HEAP_UNIT, "the table has room");

struct np_heap {
    struct unit *table; /* the mapping begins here */
    int fd;
    pid_t pid;    /* a forked child has the mapping, and no references */
    size_t first; /* unit of our half */
    pthread_mutex_t mutex;
    atomic_size_t held; /* references of this process, and 1 until it leaves */
};

/* The heaps of this process, for those who have nothing but a block's address. */
static struct {
    _Atomic uintptr_t base; /* 0: free */
    _Atomic(struct np_heap *) heap;
} entries[HEAPS_MAX];
static atomic_uint entry_count;

static uint8_t *base_of(const struct np_heap *heap)
{
    return (uint8_t *)heap->table;
}

static bool enter(struct np_heap *heap)
{
    for (int i = 0; i < HEAPS_MAX; i++) {
        uintptr_t nothing = 0;
        if (atomic_compare_exchange_strong(&entries[i].base, &nothing, (uintptr_t)heap->table)) {
            atomic_store(&entries[i].heap,
                         heap); /* looked at by those who have a block of it, and there is none yet */
            atomic_fetch_add(&entry_count, 1);
            return true;
        }
    }
    return false;
}

static struct np_heap *map(int fd, enum np_heap_side side)
{
    struct np_heap *heap = calloc(1, sizeof *heap);
    int own_fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    void *memory = own_fd >= 0 ? mmap(NULL, HEAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, own_fd, 0) : MAP_FAILED;
    if (heap != NULL && memory != MAP_FAILED) {
        heap->table = memory;
        heap->fd = own_fd;
        heap->pid = getpid();
        heap->first = TABLE_UNITS + (side == NP_HEAP_WORKERS ? HALF_UNITS : 0);
        atomic_init(&heap->held, 1);
        heap->table[heap->first].length = HALF_UNITS;
        if (pthread_mutex_init(&heap->mutex, NULL) == 0 && enter(heap)) {
            return heap;
        }
    }
    if (memory != MAP_FAILED) {
        (void)munmap(memory, HEAP_SIZE);
    }
    if (own_fd >= 0) {
        close(own_fd);
    }
    free(heap);
    return NULL;
}

/* A file that grows past its limit is a signal that ends the program; addresses may be scarce; and where memory is
 * only given that is there, a memfd does without, and ends in a signal where malloc would have failed. */
static bool may_be_so_large(void)
{
    struct rlimit file;
    struct rlimit addresses;
    char overcommit = '0';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!read(fd, &overcommit, 1);
        close(fd);
    }
    return getrlimit(RLIMIT_FSIZE, &file) == 0 && file.rlim_cur >= HEAP_SIZE &&
           getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur >= 8 * HEAP_SIZE && overcommit != '2';
}

struct np_heap *np_heap_new(void)
{
    int fd = may_be_so_large() ? memfd_create("netpool-payloads", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (fd < 0) {
        return NULL;
    }
    struct np_heap *heap = NULL;
    if (ftruncate(fd, (off_t)HEAP_SIZE) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        heap = map(fd, NP_HEAP_PROGRAM);
    }
    close(fd);
    return heap;
}

struct np_heap *np_heap_attach(int fd)
{
    struct stat stat;
    return fstat(fd, &stat) == 0 && stat.st_size == (off_t)HEAP_SIZE ? map(fd, NP_HEAP_WORKERS) : NULL;
}

/* Nobody in this process has a block of it any more. */
static void destroy(struct np_heap *heap)
{
    for (int i = 0; i < HEAPS_MAX; i++) {
        uintptr_t base = (uintptr_t)heap->table;
        struct np_heap *self = heap;
        (void)atomic_compare_exchange_strong(&entries[i].heap, &self, NULL);
        if (atomic_compare_exchange_strong(&entries[i].base, &base, 0)) {
            atomic_fetch_sub(&entry_count, 1);
        }
    }
    (void)munmap(heap->table, HEAP_SIZE);
    pthread_mutex_destroy(&heap->mutex);
    free(heap);
}

static void let_go(struct np_heap *heap)
{
    if (atomic_fetch_sub(&heap->held, 1) == 1) {
        close(heap->fd);
        destroy(heap);
    }
}

void np_heap_leave(struct np_heap *heap)
{
    if (heap != NULL) {
        let_go(heap);
    }
}

void np_heap_leave_inherited(void)
{
    for (int i = 0; i < HEAPS_MAX; i++) {
        struct np_heap *heap = atomic_load(&entries[i].heap);
        if (heap != NULL && heap->pid != getpid()) {
            destroy(heap);
        }
    }
}

int np_heap_fd(const struct np_heap *heap)
{
    return heap->fd;
}

/* The gap that begins there, joined with those behind it. */
static size_t join_gaps(struct unit *table, size_t at, size_t end)
{
    size_t length = table[at].length;
    while (at + length < end && atomic_load_explicit(&table[at + length].references, memory_order_acquire) == 0) {
        length += table[at + length].length;
    }
    return table[at].length = (uint32_t)length;
}

/* The first gap that is large enough: what was used lately is used again, its memory is there and in the caches. */
static size_t find_gap(const struct np_heap *heap, size_t wanted)
{
    struct unit *table = heap->table;
    const size_t end = heap->first + HALF_UNITS;
    for (size_t at = heap->first; at < end; at += table[at].length) {
        if (atomic_load_explicit(&table[at].references, memory_order_acquire) == 0 &&
            join_gaps(table, at, end) >= wanted) {
            return at;
        }
    }
    return 0;
}

void *np_heap_take(struct np_heap *heap, size_t size)
{
    if (size == 0 || size > HALF_UNITS * NP_HEAP_UNIT) {
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
            table[at].length = (uint32_t)wanted;
        }
        atomic_store_explicit(&table[at].references, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&heap->mutex);
    if (at == 0) {
        return NULL;
    }
    atomic_fetch_add(&heap->held, 1);
    return base_of(heap) + at * NP_HEAP_UNIT;
}

/* The unit where it begins; 0: not in the heap that is mapped there. */
static size_t unit_at(uintptr_t base, const void *block)
{
    uintptr_t offset = (uintptr_t)block - base;
    return offset < HEAP_SIZE ? offset / NP_HEAP_UNIT : 0;
}

static size_t unit_of(const struct np_heap *heap, const void *block)
{
    return unit_at((uintptr_t)heap->table, block);
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
    if (unit < TABLE_UNITS || unit >= UNITS) {
        return NULL;
    }
    const struct unit *first = &heap->table[unit];
    if (atomic_load_explicit(&first->references, memory_order_acquire) == 0 || first->length > UNITS - unit ||
        size > first->length * NP_HEAP_UNIT) {
        return NULL;
    }
    atomic_fetch_add(&heap->held, 1);
    return base_of(heap) + unit * NP_HEAP_UNIT;
}

/* NULL: the block is of no heap. The caller's reference keeps a heap that has it from going away. */
static struct np_heap *heap_of(const void *block)
{
    for (int i = 0; i < HEAPS_MAX && atomic_load_explicit(&entry_count, memory_order_acquire) > 0; i++) {
        uintptr_t base = atomic_load(&entries[i].base);
        if (base != 0 && unit_at(base, block) != 0) {
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
    if (heap->pid == getpid()) {
        atomic_fetch_add_explicit(&heap->table[unit_of(heap, block)].references, 1, memory_order_relaxed);
        atomic_fetch_add(&heap->held, 1);
    }
    return true;
}

/* Gives memory beyond what is kept back to the system; nobody else has the block. */
static void purge(const struct np_heap *heap, size_t at)
{
    const size_t end = at + heap->table[at].length;
    const size_t kept =
        at < TABLE_UNITS + HALF_UNITS ? TABLE_UNITS + KEPT_UNITS : TABLE_UNITS + HALF_UNITS + KEPT_UNITS;
    const size_t begin = at > kept ? at : kept;
    if (begin < end) {
        (void)madvise(base_of(heap) + begin * NP_HEAP_UNIT, (end - begin) * NP_HEAP_UNIT, MADV_REMOVE);
    }
}

bool np_heap_free_block(const void *block)
{
    struct np_heap *heap = heap_of(block);
    if (heap == NULL) {
        return false;
    }
    if (heap->pid == getpid()) {
        size_t at = unit_of(heap, block);
        _Atomic uint32_t *references = &heap->table[at].references;
        if (atomic_load_explicit(references, memory_order_acquire) == 1) {
            purge(heap, at); /* ours was the last: nobody is left to share it */
        }
        atomic_fetch_sub_explicit(references, 1, memory_order_acq_rel);
        let_go(heap);
    }
    return true;
}
