/* A body as large ones pass everywhere: in a block, here of its exact size, so that a read past its end is seen. */
#ifndef TESTS_BLOCK_OF_H
#define TESTS_BLOCK_OF_H

#include <stdlib.h>
#include <string.h>

#include "common/block.h"

/* The test ends when out of memory. Given back with np_block_free. */
static inline void *block_of(const void *body, size_t size)
{
    void *block = np_block_new(size);
    if (block == NULL) {
        abort();
    }
    if (size > 0) {
        memcpy(block, body, size);
    }
    return block;
}

#endif
