/*
 * How many items of a map make one task. Guided self-scheduling (Polychronopoulos, Kuck: "Guided self-scheduling: a
 * practical scheduling scheme for parallel supercomputers", IEEE Trans. Computers C-36(12), 1987), bounded from both
 * sides by time: about 3 ms of work a chunk while there is plenty, a share of what remains towards the end, and
 * never so little that handing it out costs more than doing it.
 */
#ifndef NP_CHUNK_SIZE_H
#define NP_CHUNK_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunk_size {
    size_t fixed;    /* items; 0: adaptive */
    size_t most;     /* items, by memory */
    unsigned slots;  /* executors */
    double item_ns;  /* measured time of an item */
    size_t measured; /* items of the largest chunk measured; 0: none yet */
};

/* item_size: bytes of an item, in or out, whichever is larger; max_bytes: of a chunk. */
void chunk_size_init(struct chunk_size *size, size_t fixed, unsigned slots, size_t item_size, size_t max_bytes);

/* A chunk came back. */
void chunk_size_learn(struct chunk_size *size, size_t items, uint64_t compute_ns);

/* Items of the next chunk; 1 <= result <= remaining. */
size_t chunk_size_next(const struct chunk_size *size, size_t remaining);

/* Chunks that should be on their way, so that no executor waits. */
size_t chunk_size_in_flight(const struct chunk_size *size, size_t items);

#endif
