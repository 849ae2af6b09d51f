#include "common/buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"

enum { SMALLEST = 256 };

uint8_t *np_buffer_reserve(struct np_buffer *buffer, size_t size)
{
    if (buffer->capacity - buffer->end >= size && buffer->memory != NULL) {
        return buffer->memory + buffer->end;
    }
    size_t used = np_buffer_size(buffer);
    if (size > SIZE_MAX / 2 - used) {
        return NULL;
    }
    /* Move down when that makes room and costs at most as much as what was consumed; else grow. */
    if (buffer->memory != NULL && buffer->start >= used && buffer->capacity - used >= size) {
        memcpy(buffer->memory, buffer->memory + buffer->start, used);
    } else {
        size_t capacity = buffer->capacity < SMALLEST ? SMALLEST : buffer->capacity;
        while (capacity - used < size) {
            capacity *= 2;
        }
        uint8_t *memory = np_block_new(capacity);
        if (memory == NULL) {
            return NULL;
        }
        if (buffer->memory != NULL) {
            memcpy(memory, buffer->memory + buffer->start, used);
        }
        np_block_free(buffer->memory);
        buffer->memory = memory;
        buffer->capacity = capacity;
    }
    buffer->start = 0;
    buffer->end = used;
    return buffer->memory + used;
}

netpool_status np_buffer_append(struct np_buffer *buffer, const void *data, size_t size)
{
    if (size == 0) {
        return NETPOOL_OK;
    }
    uint8_t *place = np_buffer_reserve(buffer, size);
    if (place == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    memcpy(place, data, size);
    np_buffer_commit(buffer, size);
    return NETPOOL_OK;
}

void np_buffer_consume(struct np_buffer *buffer, size_t size)
{
    assert(size <= np_buffer_size(buffer));
    buffer->start += size;
    if (buffer->start == buffer->end) {
        np_buffer_clear(buffer);
    }
}

void np_buffer_trim(struct np_buffer *buffer, size_t keep)
{
    if (buffer->start == buffer->end && buffer->capacity > keep) {
        np_buffer_fini(buffer);
    }
}

uint8_t *np_buffer_take(struct np_buffer *buffer)
{
    assert(buffer->start == 0);
    uint8_t *memory = buffer->memory;
    *buffer = (struct np_buffer){0};
    return memory;
}

void np_buffer_fini(struct np_buffer *buffer)
{
    np_block_free(buffer->memory);
    *buffer = (struct np_buffer){0};
}
