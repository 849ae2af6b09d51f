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

/* Writer: puts bytes at the position and moves it on; size <= ring_room. Not visible to the reader before
 * ring_publish_written. data NULL: the bytes are left as they are. */
void ring_write(struct ring *ring, const void *data, size_t size);
void ring_publish_written(struct ring *ring);

/* Reader: bytes that can be read. */
size_t ring_available(struct ring *ring);

/* Reader: copies bytes out and moves on; size <= ring_available. The writer gets the room with ring_publish_read. */
void ring_read(struct ring *ring, void *out, size_t size);
void ring_publish_read(struct ring *ring);

/* Reader: the next `size` bytes in place, size <= ring_available, or NULL when they wrap around the end. Valid until
 * published as read. */
const uint8_t *ring_peek(const struct ring *ring, size_t size);

/* Reader: moves on without copying. */
void ring_skip(struct ring *ring, size_t size);

#endif
