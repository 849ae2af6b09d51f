/*
 * An executor's view of the heap that it shares with its supervisor and program (common/heap.h): single blocks,
 * mapped when they are needed and kept for the next time. Inputs cannot be written to, and beyond the end of a
 * result's block there is nothing, so that what a function does to memory by mistake ends it and harms nobody else.
 */
#ifndef NP_MAPPINGS_H
#define NP_MAPPINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAPPINGS_MAX = 16 };

struct mapping {
    uint8_t *memory; /* NULL: free */
    uint32_t unit;
    size_t size;
    size_t populated; /* bytes of it that can be written to without a page fault, if the system has not taken them
                         back */
    bool is_writable;
    bool is_protected; /* but not now */
    bool is_shown;     /* some function knows where it is, and might write there later */
    bool is_in_use;
    uint64_t used_at;
};

struct mappings {
    int fd; /* the heap's; -1: there is none */
    uint64_t uses;
    size_t bytes;
    bool is_in_use; /* some of them are */
    struct mapping list[MAPPINGS_MAX];
};

/* `size` bytes of the block that begins with this unit, valid until mappings_release; NULL when they cannot be
 * mapped. */
const uint8_t *mappings_read(struct mappings *mappings, uint32_t unit, size_t size);

/* All of a block, of which `wanted` bytes are about to be written. */
uint8_t *mappings_write(struct mappings *mappings, uint32_t unit, size_t size, size_t wanted);

/* What was got for writing is another's now: if a function was told its address (is_shown), then or earlier, whoever
 * still writes there crashes. Setting page table entries again costs 180 us a MiB, so the others stay as they are. */
void mappings_hand_over(struct mappings *mappings, const uint8_t *memory, bool is_shown);

void mappings_release_all(struct mappings *mappings);

/* Nothing that was got so far is used any more. */
static inline void mappings_release(struct mappings *mappings)
{
    if (mappings->is_in_use) {
        mappings_release_all(mappings);
    }
}

#endif
