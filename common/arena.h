/* An arena with a budget: allocations are freed all at once, and an allocation past the budget fails. It is what
 * stands between a hostile message and the heap. Zero-initialized is empty with budget 0. */
#ifndef NP_ARENA_H
#define NP_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct np_arena_block;

struct np_arena {
    struct np_arena_block *blocks; /* newest first; the oldest is kept over resets */
    size_t used;                   /* bytes handed out since the last reset */
    size_t budget;                 /* bytes */
};

/* Frees all but one block and sets the budget. */
void np_arena_reset(struct np_arena *arena, size_t budget);

/* 16-byte aligned; NULL when out of memory or past the budget. */
void *np_arena_allocate(struct np_arena *arena, size_t size);

void np_arena_fini(struct np_arena *arena);

#endif
