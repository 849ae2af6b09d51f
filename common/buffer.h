/* A growable byte buffer that is filled at the end and consumed from the front. Zero-initialized is empty and valid.
 */
#ifndef NP_BUFFER_H
#define NP_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "common/netpool_status.h"

struct np_buffer {
    uint8_t *memory;
    size_t capacity; /* bytes allocated */
    size_t start;    /* first byte not consumed */
    size_t end;      /* one past the last byte filled */
};

static inline size_t np_buffer_size(const struct np_buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline uint8_t *np_buffer_data(const struct np_buffer *buffer)
{
    return buffer->memory + buffer->start;
}

/* Makes room for `size` more bytes at the end and returns where they go, NULL when out of memory. Earlier pointers
 * into the buffer become invalid. */
uint8_t *np_buffer_reserve(struct np_buffer *buffer, size_t size);

/* Says that `size` of the reserved bytes have been filled. */
static inline void np_buffer_commit(struct np_buffer *buffer, size_t size)
{
    buffer->end += size;
}

NETPOOL_MUST_CHECK netpool_status np_buffer_append(struct np_buffer *buffer, const void *data, size_t size);

/* Drops `size` bytes from the front; size <= np_buffer_size. */
void np_buffer_consume(struct np_buffer *buffer, size_t size);

/* Empties it and keeps the memory. */
static inline void np_buffer_clear(struct np_buffer *buffer)
{
    buffer->start = buffer->end = 0;
}

/* Gives memory back when the buffer is empty and holds more than `keep` bytes. */
void np_buffer_trim(struct np_buffer *buffer, size_t keep);

/* The memory, a block that is now the caller's, whose first byte must not have been consumed. The buffer is empty and
 * valid again. */
uint8_t *np_buffer_take(struct np_buffer *buffer);

/* Frees the memory; the buffer is empty and valid again. */
void np_buffer_fini(struct np_buffer *buffer);

#endif
