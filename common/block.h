/*
 * Memory for payloads. It is plain malloc memory, so that free() is right for it, too. Large blocks that are given
 * back are kept, a few of them, for the next that are about as large: memory new from the kernel costs a page fault
 * for every 4 KiB, which is more than everything else that is done with a payload. Any thread.
 */
#ifndef NP_BLOCK_H
#define NP_BLOCK_H

#include <stddef.h>

/* At least `size` bytes, not initialized, aligned as malloc's; NULL when out of memory. */
void *np_block_new(size_t size);

void np_block_free(void *block); /* or NULL */

#endif
