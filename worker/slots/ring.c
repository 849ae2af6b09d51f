#include "worker/slots/ring.h"

#include <assert.h>

void ring_init(struct ring *ring, struct ring_positions *shared, uint8_t *bytes, size_t capacity)
{
    assert(capacity > 0 && (capacity & (capacity - 1)) == 0);
    *ring = (struct ring){.shared = shared, .bytes = bytes, .capacity = capacity};
}

/* Bytes between the two positions; a distance that the other side cannot have made breaks the ring. */
static uint64_t distance(struct ring *ring, uint64_t ahead, uint64_t behind)
{
    if (ahead - behind > ring->capacity) {
        ring->is_broken = true;
    }
    return ring->is_broken ? 0 : ahead - behind;
}

size_t ring_room(struct ring *ring, size_t wanted)
{
    uint64_t used = distance(ring, ring->position, ring->other);
    /* The other side's cache line is touched only when what is known of it does not suffice. */
    if (ring->capacity - used < wanted) {
        ring->other = atomic_load_explicit(&ring->shared->read, memory_order_acquire);
        used = distance(ring, ring->position, ring->other);
    }
    return ring->is_broken ? 0 : ring->capacity - (size_t)used;
}

size_t ring_available(struct ring *ring)
{
    ring->other = atomic_load_explicit(&ring->shared->written, memory_order_acquire);
    return (size_t)distance(ring, ring->other, ring->position);
}

void ring_write_around(struct ring *ring, const void *data, size_t size)
{
    size_t offset = (size_t)(ring->position & (ring->capacity - 1));
    size_t first = ring->capacity - offset;
    memcpy(ring->bytes + offset, data, first);
    memcpy(ring->bytes, (const uint8_t *)data + first, size - first);
}

void ring_read_around(struct ring *ring, void *out, size_t size)
{
    size_t offset = (size_t)(ring->position & (ring->capacity - 1));
    size_t first = ring->capacity - offset;
    memcpy(out, ring->bytes + offset, first);
    memcpy((uint8_t *)out + first, ring->bytes, size - first);
}
