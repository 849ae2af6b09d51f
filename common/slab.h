/*
 * Memory for many records of one size, in aligned pages: taking and giving one back is a few instructions, and
 * neighbours in time are neighbours in memory. A page whose records have all been given back goes back to the heap,
 * but for a few that are kept for the next ones. One thread at a time.
 */
#ifndef NP_SLAB_H
#define NP_SLAB_H

#include <stddef.h>

#include "common/list.h"

struct np_slab {
    size_t size;          /* of a record, in bytes: a multiple of 16 */
    struct np_list pages; /* with room: those in use first, then empty ones */
    size_t empty_count;   /* pages that are kept empty */
};

void np_slab_init(struct np_slab *slab, size_t size);

/* Not initialized; aligned to 64 bytes if the size is a multiple of that. NULL when out of memory. */
void *np_slab_take(struct np_slab *slab);

/* A record that was taken from any slab, or NULL. */
void np_slab_give(void *record);

/* All records must have been given back. */
void np_slab_fini(struct np_slab *slab);

#endif
