/*
 * A ring of bytes in memory shared by two processes: one writes, one reads, neither locks. Each side keeps its own
 * position privately and takes only the other side's from shared memory, so a peer that scribbles over the ring can
 * spoil the bytes and stop the flow, and nothing else: a position that cannot be is reported as such.
 */
#ifndef NP_RING_H
#define NP_RING_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* In shared memory; zero is an empty ring. Bytes ever written and read. */
struct ring_positions {
    alignas(64) _Atomic uint64_t written;
    alignas(64) _Atomic uint64_t read;
};

/* One side's view, in its private memory. */
struct ring {
    struct ring_positions *shared;
    uint8_t *bytes;
    size_t capacity;   /* bytes, a power of two */
    uint64_t position; /* own: bytes written or read so far, published or not */
    uint64_t other;    /* the other side's, as last seen */
    bool is_broken;    /* the other side's position could not be; nothing moves any more */
};

void ring_init(struct ring *ring, struct ring_positions *shared, uint8_t *bytes, size_t capacity);

/* Writer: bytes of room. The other side's position is read anew only when less than `wanted` is known of. */
size_t ring_room(struct ring *ring, size_t wanted);

static inline bool ring_has_room(struct ring *ring, size_t wanted)
{
    uint64_t used = ring->position - ring->other;
    return (!ring->is_broken && ring->capacity - used >= wanted) || ring_room(ring, wanted) >= wanted;
}

/* Reader: bytes that can be read. */
size_t ring_available(struct ring *ring);

/* Reader: can so many be read? The other side's position is read anew only when fewer are known of. */
static inline bool ring_has(struct ring *ring, size_t wanted)
{
    return (!ring->is_broken && ring->other - ring->position >= wanted) || ring_available(ring) >= wanted;
}

/* The next `size` bytes in place, size <= ring_room or ring_available, or NULL when they wrap around the end. What is
 * read is valid until published as read. */
static inline uint8_t *ring_peek(const struct ring *ring, size_t size)
{
    size_t offset = (size_t)(ring->position & (ring->capacity - 1));
    return ring->capacity - offset >= size ? ring->bytes + offset : NULL;
}

/* Moves on without copying. */
static inline void ring_skip(struct ring *ring, size_t size)
{
    ring->position += size;
}

void ring_write_around(struct ring *ring, const void *data, size_t size); /* ring_write across the end */
void ring_read_around(struct ring *ring, void *out, size_t size);

/* Writer: puts bytes at the position and moves it on; size <= ring_room. Not visible to the reader before
 * ring_publish_written. */
static inline void ring_write(struct ring *ring, const void *data, size_t size)
{
    uint8_t *place = ring_peek(ring, size);
    if (place != NULL) {
        memcpy(place, data, size);
    } else {
        ring_write_around(ring, data, size);
    }
    ring->position += size;
}

static inline void ring_publish_written(struct ring *ring)
{
    atomic_store_explicit(&ring->shared->written, ring->position, memory_order_release);
}

/* Reader: copies bytes out and moves on; size <= ring_available. The writer gets the room with ring_publish_read. */
static inline void ring_read(struct ring *ring, void *out, size_t size)
{
    const uint8_t *place = ring_peek(ring, size);
    if (place != NULL) {
        memcpy(out, place, size);
    } else {
        ring_read_around(ring, out, size);
    }
    ring->position += size;
}

static inline void ring_publish_read(struct ring *ring)
{
    atomic_store_explicit(&ring->shared->read, ring->position, memory_order_release);
}

#endif
