/*
 * Memory for payloads, shared by whoever holds a reference: what one has filled others read without a copy. A block
 * that somebody else may hold, too, is not written to. Large blocks that are given back are kept for the next that
 * are about as large: memory new from the kernel costs a page fault for every 4 KiB, which is more than everything
 * else that is done with a payload. What nobody wants for a while goes back to the system. Any thread.
 */
#ifndef NP_BLOCK_H
#define NP_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "common/clock.h"

/* At least `size` bytes, not initialized, aligned to 16 bytes, with one reference; NULL when out of memory. Blocks
 * are known by their first byte, and it takes np_block_free to free them. */
void *np_block_new(size_t size);

struct np_heap;

/* The same, in the heap (heap.h) if the block is large and there is room; NULL: no heap. */
void *np_block_new_in(struct np_heap *heap, size_t size);

/* One reference more, which never fails. Returns the block. */
void *np_block_share(const void *block);

/* Gives a reference back; the last one frees the block. NULL is harmless. */
void np_block_free(const void *block);

/* Blocks are kept while there is somebody to review them. The last one to leave gives everything back. */
void np_block_add_reviewer(void);
void np_block_remove_reviewer(void);

/* As much is kept as makes hardly more, together with what is in use, than was in use at some time in the last
 * NP_BLOCK_KEPT_NS to twice that: what is not used for so long costs less than a percent of it to get anew. Does
 * nothing before the deadline, which is NP_NEVER while large blocks are neither kept nor taken nor given back. */
#define NP_BLOCK_KEPT_NS NP_NS_PER_S
int64_t np_block_deadline(void);
void np_block_review(int64_t now);

#endif
