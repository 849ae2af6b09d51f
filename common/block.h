/*
 * Memory for payloads, shared by whoever holds a reference: what one has filled others read without a copy. A block
 * that somebody else may hold, too, is not written to. Large blocks that are given back are kept, a few of them, for
 * the next that are about as large: memory new from the kernel costs a page fault for every 4 KiB, which is more than
 * everything else that is done with a payload. Any thread.
 */
#ifndef NP_BLOCK_H
#define NP_BLOCK_H

#include <stddef.h>

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

#endif
