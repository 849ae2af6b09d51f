#include "worker/executor/mappings.h"

#include <sys/mman.h>

#include "common/heap.h"

#define PAGE ((size_t)4096)
#define GUARD PAGE
/* What was not used lately goes when there is more. */
#define BYTES_MAX ((size_t)1024 * 1024 * 1024)

/* One page more: what is written beyond the end must not find another's memory. */
static size_t mapped_size(const struct mapping *mapping)
{
    return mapping->size + (mapping->is_writable ? GUARD : 0);
}

static void drop(struct mappings *mappings, struct mapping *mapping)
{
    if (mapping->memory != NULL) {
        (void)munmap(mapping->memory, mapped_size(mapping));
        mappings->bytes -= mapping->size;
        mapping->memory = NULL;
    }
}

static struct mapping *find_oldest(struct mappings *mappings)
{
    struct mapping *oldest = NULL;
    for (int i = 0; i < MAPPINGS_MAX; i++) {
        struct mapping *mapping = &mappings->list[i];
        if (mapping->memory != NULL && !mapping->is_in_use &&
            (oldest == NULL || mapping->used_at < oldest->used_at)) {
            oldest = mapping;
        }
    }
    return oldest;
}

static struct mapping *find_free(struct mappings *mappings, size_t size)
{
    struct mapping *oldest;
    while (mappings->bytes + size > BYTES_MAX && (oldest = find_oldest(mappings)) != NULL) {
        drop(mappings, oldest);
    }
    for (int i = 0; i < MAPPINGS_MAX; i++) {
        if (mappings->list[i].memory == NULL) {
            return &mappings->list[i];
        }
    }
    oldest = find_oldest(mappings);
    if (oldest != NULL) {
        drop(mappings, oldest);
    }
    return oldest;
}

static bool map(int fd, struct mapping *mapping)
{
    const off_t at = (off_t)(mapping->unit * NP_HEAP_UNIT);
    if (!mapping->is_writable) {
        mapping->memory = mmap(NULL, mapping->size, PROT_READ, MAP_SHARED, fd, at);
        return mapping->memory != MAP_FAILED;
    }
    mapping->memory = mmap(NULL, mapped_size(mapping), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping->memory == MAP_FAILED) {
        return false;
    }
    if (mmap(mapping->memory, mapping->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, at) == MAP_FAILED) {
        (void)munmap(mapping->memory, mapped_size(mapping));
        return false;
    }
    return true;
}

static uint8_t *get(struct mappings *mappings, uint32_t unit, size_t size, bool is_writable)
{
    struct mapping *found = NULL;
    for (int i = 0; i < MAPPINGS_MAX && found == NULL; i++) {
        struct mapping *mapping = &mappings->list[i];
        if (mapping->memory == NULL || mapping->unit != unit || mapping->is_writable != is_writable) {
            continue;
        }
        if (is_writable ? mapping->size == size : mapping->size >= size) {
            found = mapping;
        } else if (!mapping->is_in_use) {
            drop(mappings, mapping);
        }
    }
    if (found == NULL) {
        struct mapping wanted = {.unit = unit, .size = size, .is_writable = is_writable};
        found = find_free(mappings, size);
        if (found == NULL || !map(mappings->fd, &wanted)) {
            return NULL;
        }
        *found = wanted;
        mappings->bytes += size;
    }
    found->used_at = ++mappings->uses;
    found->is_in_use = mappings->is_in_use = true;
    return found->memory;
}

const uint8_t *mappings_read(struct mappings *mappings, uint32_t unit, size_t size)
{
    return get(mappings, unit, size, false);
}

static struct mapping *find(struct mappings *mappings, const uint8_t *memory)
{
    struct mapping *mapping = mappings->list;
    while (mapping->memory != memory) {
        mapping++;
    }
    return mapping;
}

uint8_t *mappings_write(struct mappings *mappings, uint32_t unit, size_t size, size_t wanted)
{
    uint8_t *memory = get(mappings, unit, size, true);
    if (memory == NULL) {
        return NULL;
    }
    struct mapping *mapping = find(mappings, memory);
    if (mapping->is_protected && mprotect(memory, size, PROT_READ | PROT_WRITE) != 0) {
        return NULL;
    }
    mapping->is_protected = false;
    if (wanted > mapping->populated) {
        /* All pages at once are cheaper than one after the other. Kernels before 5.14 do not know it. */
        (void)madvise(memory, (wanted + PAGE - 1) / PAGE * PAGE, MADV_POPULATE_WRITE);
        mapping->populated = wanted;
    }
    return memory;
}

void mappings_hand_over(struct mappings *mappings, const uint8_t *memory, bool is_shown)
{
    struct mapping *mapping = find(mappings, memory);
    mapping->is_shown = mapping->is_shown || is_shown;
    if (mapping->is_shown) {
        mapping->is_protected = mprotect(mapping->memory, mapping->size, PROT_READ) == 0;
        mapping->populated = 0;
    }
}

void mappings_release_all(struct mappings *mappings)
{
    mappings->is_in_use = false;
    for (int i = 0; i < MAPPINGS_MAX; i++) {
        mappings->list[i].is_in_use = false;
    }
}
