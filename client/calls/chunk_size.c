#include "client/calls/chunk_size.h"

#define TARGET_NS 3e6  /* of work in a chunk */
#define LEAST_NS 100e3 /* of work in a chunk, towards the end */
#define AHEAD_NS 4e6   /* of work on its way to each executor */
enum {
    PROBE_ITEMS = 16, /* of the first chunks, before anything is measured */
    GROWTH = 8,       /* a chunk is at most so many times the largest one measured */
    IN_FLIGHT_MAX = 4096,
    CHUNKS_A_SLOT = 3 /* one that runs, one that waits, one on its way */
};

void chunk_size_init(struct chunk_size *size, size_t fixed, unsigned slots, size_t item_size, size_t max_bytes)
{
    size_t most = item_size > 0 ? max_bytes / item_size : max_bytes;
    *size = (struct chunk_size){.fixed = fixed, .most = most > 0 ? most : 1, .slots = slots > 0 ? slots : 1};
}

void chunk_size_learn(struct chunk_size *size, size_t items, uint64_t compute_ns)
{
    double item_ns = (double)compute_ns / (double)items;
    /* The first ones may include a cold start; a larger chunk tells more than a smaller one. */
    double weight = items > size->measured ? 0.75 : 0.25;
    size->item_ns = size->measured == 0 ? item_ns : (1 - weight) * size->item_ns + weight * item_ns;
    if (items > size->measured) {
        size->measured = items;
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Items that take about so long, by what was measured. */
static size_t items_in(const struct chunk_size *size, double ns)
{
    double items = size->item_ns > 0 ? ns / size->item_ns : (double)size->most;
    return items >= (double)size->most ? size->most : items < 1 ? 1 : (size_t)items;
}

size_t chunk_size_next(const struct chunk_size *size, size_t remaining)
{
    if (size->fixed > 0) {
        return least(size->fixed, remaining);
    }
    size_t share = remaining / (2 * (size_t)size->slots) + 1;
    if (size->measured == 0) {
        return least(least(least(PROBE_ITEMS, share), size->most), remaining);
    }
    size_t floor = items_in(size, LEAST_NS);
    size_t items = least(items_in(size, TARGET_NS), share > floor ? share : floor);
    items = least(items, size->measured * GROWTH);
    return least(least(items, size->most), remaining);
}

size_t chunk_size_in_flight(const struct chunk_size *size, size_t items)
{
    size_t deep = CHUNKS_A_SLOT * (size_t)size->slots;
    double chunk_ns = size->item_ns * (double)items;
    /* Chunks that are small only because no larger one was measured yet: many of them would be the whole map, each
     * dearer on its way than what it computes. */
    bool is_growing = size->fixed == 0 && items < size->most && chunk_ns < LEAST_NS;
    if (size->measured > 0 && !is_growing) {
        double ahead = chunk_ns > 0 ? AHEAD_NS / chunk_ns : IN_FLIGHT_MAX;
        deep += ahead < IN_FLIGHT_MAX ? (size_t)ahead * size->slots : IN_FLIGHT_MAX;
    }
    return least(deep, IN_FLIGHT_MAX);
}
