/* How a map is cut into chunks. */
#include "client/chunk_size.h"
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

static void chunks_of_millisecond_items_are_about_10_ms(void **state)
{
    (void)state;
    struct chunk_size size;
    chunk_size_init(&size, 0, 2, 8, 1 << 20);
    chunk_size_learn(&size, 16, 16 * UINT64_C(1000000));
    assert_in_range(chunk_size_next(&size, 100000), 5, 20);
}

static void chunks_shrink_towards_the_end(void **state)
{
    (void)state;
    struct chunk_size size;
    size_t remaining = 10000;
    size_t previous = remaining;
    chunk_size_init(&size, 0, 4, 8, 1 << 20);
    chunk_size_learn(&size, 10000, 10000 * UINT64_C(20000)); /* 20 us each: 500 items are 10 ms */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_chunks_are_as_asked_and_the_last_one_is_the_rest),
        cmocka_unit_test(first_chunks_are_small),
        cmocka_unit_test(cheap_items_grow_to_the_limit_of_memory),
        cmocka_unit_test(growth_is_limited_by_what_was_measured),
        cmocka_unit_test(long_items_go_one_by_one),
        cmocka_unit_test(chunks_of_millisecond_items_are_about_10_ms),
        cmocka_unit_test(chunks_shrink_towards_the_end),
        cmocka_unit_test(every_remainder_is_covered),
    };
    return cmocka_run_group_tests_name("chunk_size", tests, NULL, NULL);
}
