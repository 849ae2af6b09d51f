/* How a map is cut into chunks. */
#include <string.h>

#include "client/calls/chunk_size.h"
#include "tests/support/cmocka_all.h"

static void fixed_chunks_are_as_asked_and_the_last_one_is_the_rest(void **state)
{
    (void)state;
    struct chunk_size size;
    chunk_size_init(&size, 100, 4, 8, 1 << 20);
    assert_int_equal(chunk_size_next(&size, 1000), 100);
    assert_int_equal(chunk_size_next(&size, 30), 30);
    assert_int_equal(chunk_size_next(&size, 1), 1);
}

static void first_chunks_are_small(void **state)
{
    (void)state;
    struct chunk_size size;
    chunk_size_init(&size, 0, 4, 8, 1 << 20);
    assert_in_range(chunk_size_next(&size, 1000000), 1, 16);
    assert_in_range(chunk_size_next(&size, 4), 1, 1);
}

static void cheap_items_grow_to_the_limit_of_memory(void **state)
{
    (void)state;
    struct chunk_size size;
    size_t last = 0;
    chunk_size_init(&size, 0, 2, 8, 1 << 20);
    for (int i = 0; i < 10; i++) {
        last = chunk_size_next(&size, 100000000);
        chunk_size_learn(&size, last, last * 3); /* 3 ns each */
    }
    assert_int_equal(last, (1 << 20) / 8);
}

static void growth_is_limited_by_what_was_measured(void **state)
{
    (void)state;
    struct chunk_size size;
    chunk_size_init(&size, 0, 2, 8, 1 << 20);
    chunk_size_learn(&size, 16, 1); /* a clock that tells nothing */
    assert_in_range(chunk_size_next(&size, 1000000), 1, 16 * 8);
}

static void long_items_go_one_by_one(void **state)
{
    (void)state;
    struct chunk_size size;
    chunk_size_init(&size, 0, 2, 8, 1 << 20);
    chunk_size_learn(&size, 4, 4 * UINT64_C(50000000)); /* 50 ms each */
    assert_int_equal(chunk_size_next(&size, 1000000), 1);
    assert_in_range(chunk_size_in_flight(&size, 1), 4, 8); /* few, so that no executor hoards them */
}

static void chunks_of_millisecond_items_are_about_3_ms(void **state)
{
    (void)state;
    struct chunk_size size;
    chunk_size_init(&size, 0, 2, 8, 1 << 20);
    chunk_size_learn(&size, 16, 16 * UINT64_C(1000000));
    assert_in_range(chunk_size_next(&size, 100000), 2, 5);
}

static void chunks_shrink_towards_the_end(void **state)
{
    (void)state;
    struct chunk_size size;
    size_t remaining = 10000;
    size_t previous = remaining;
    chunk_size_init(&size, 0, 4, 8, 1 << 20);
    chunk_size_learn(&size, 10000, 10000 * UINT64_C(20000)); /* 20 us each: 150 items are 3 ms */
    size_t chunks = 0;
    while (remaining > 0) {
        size_t next = chunk_size_next(&size, remaining);
        assert_true(next >= 1 && next <= remaining && next <= previous);
        previous = next;
        remaining -= next;
        chunks++;
    }
    assert_true(previous <= 5); /* 100 us, the least that is worth its way */
    assert_true(chunks < 200);
}

static void every_remainder_is_covered(void **state)
{
    (void)state;
    for (size_t remaining = 1; remaining < 3000; remaining++) {
        struct chunk_size size;
        chunk_size_init(&size, 0, 3, 1000, 4096);
        assert_in_range(chunk_size_next(&size, remaining), 1, remaining);
        chunk_size_learn(&size, 1, 0); /* took no time at all */
        assert_in_range(chunk_size_next(&size, remaining), 1, remaining);
        assert_true(chunk_size_next(&size, remaining) <= 4);
    }
}

/*
 * Whole maps in virtual time, without a machine's noise: a chunk costs the client HAND_NS, is at an executor DELAY_NS
 * later, costs that CALL_NS and its items, and its result is back after DELAY_NS.
 */
#define HAND_NS 4e3
#define CALL_NS 3e3
#define DELAY_NS 30e3

enum { ITEMS_MAX = 1000000, SLOTS_MAX = 16, FLYING_MAX = 4096 };

struct flight {
    double back; /* when its result is at the client */
    double compute_ns;
    size_t items;
};

struct map_model {
    const float *items; /* ns each */
    size_t count;
    unsigned slots;
    struct chunk_size size;
    double now;
    double free_at[SLOTS_MAX];
    size_t next;
    struct flight flying[FLYING_MAX];
    size_t flights;
};

static void hand_out(struct map_model *map, size_t chunk)
{
    unsigned first = 0;
    double compute_ns = 0;
    map->now += HAND_NS;
    for (unsigned i = 1; i < map->slots; i++) {
        first = map->free_at[i] < map->free_at[first] ? i : first;
    }
    for (size_t i = 0; i < chunk; i++) {
        compute_ns += (double)map->items[map->next++];
    }
    double arrival = map->now + DELAY_NS;
    double start = arrival > map->free_at[first] ? arrival : map->free_at[first];
    map->free_at[first] = start + CALL_NS + compute_ns;
    map->flying[map->flights++] =
        (struct flight){.back = map->free_at[first] + DELAY_NS, .compute_ns = compute_ns, .items = chunk};
}

static void take_back(struct map_model *map)
{
    size_t earliest = 0;
    for (size_t i = 1; i < map->flights; i++) {
        earliest = map->flying[i].back < map->flying[earliest].back ? i : earliest;
    }
    struct flight back = map->flying[earliest];
    map->flying[earliest] = map->flying[--map->flights];
    map->now = back.back > map->now ? back.back : map->now;
    chunk_size_learn(&map->size, back.items, (uint64_t)back.compute_ns);
}

static double total_ns(const float *items, size_t count, unsigned slots, size_t fixed)
{
    static struct map_model map;
    map = (struct map_model){.items = items, .count = count, .slots = slots};
    chunk_size_init(&map.size, fixed, slots, 8, 1 << 20);
    while (map.next < count || map.flights > 0) {
        size_t chunk = map.next < count ? chunk_size_next(&map.size, count - map.next) : 0;
        if (chunk > 0 && (map.flights == 0 || map.flights < chunk_size_in_flight(&map.size, chunk))) {
            hand_out(&map, chunk);
        } else {
            take_back(&map);
        }
    }
    return map.now;
}

static float item_ns(const char *kind, size_t index)
{
    size_t draw = index * 2654435761U % 4294967296U / 65536 % 1000;
    return strcmp(kind, "100 ns") == 0  ? 100
           : strcmp(kind, "10 us") == 0 ? 10e3F
           : strcmp(kind, "10 ms") == 0 ? 10e6F
           : draw < 3                   ? 20e6F
           : draw < 200                 ? 1e6F
                                        : 10e3F; /* mixed */
}

static void a3_adaptive_chunks_are_within_15_percent_of_the_best_fixed_size(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        size_t count;
    } maps[] = {{"100 ns", ITEMS_MAX}, {"10 us", 30000}, {"10 ms", 300}, {"mixed", 3000}};
    static const unsigned slots[] = {1, 2, 4, SLOTS_MAX};
    static float items[ITEMS_MAX];
    for (size_t m = 0; m < sizeof maps / sizeof maps[0]; m++) {
        for (size_t i = 0; i < maps[m].count; i++) {
            items[i] = item_ns(maps[m].kind, i);
        }
        for (size_t s = 0; s < sizeof slots / sizeof slots[0]; s++) {
            double best = 1e18;
            for (size_t fixed = maps[m].count > 100000 ? 64 : 1; fixed <= maps[m].count; fixed = fixed * 3 / 2 + 1) {
                double total = total_ns(items, maps[m].count, slots[s], fixed);
                best = total < best ? total : best;
            }
            double adaptive = total_ns(items, maps[m].count, slots[s], 0);
            if (adaptive > 1.15 * best) {
                fail_msg("%s on %u: %.2f ms, the best fixed size %.2f", maps[m].kind, slots[s], adaptive / 1e6,
                         best / 1e6);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_chunks_are_as_asked_and_the_last_one_is_the_rest),
        cmocka_unit_test(first_chunks_are_small),
        cmocka_unit_test(cheap_items_grow_to_the_limit_of_memory),
        cmocka_unit_test(growth_is_limited_by_what_was_measured),
        cmocka_unit_test(long_items_go_one_by_one),
        cmocka_unit_test(chunks_of_millisecond_items_are_about_3_ms),
        cmocka_unit_test(chunks_shrink_towards_the_end),
        cmocka_unit_test(every_remainder_is_covered),
        cmocka_unit_test(a3_adaptive_chunks_are_within_15_percent_of_the_best_fixed_size),
    };
    return cmocka_run_group_tests_name("chunk_size", tests, NULL, NULL);
}
