/* The profile of a whole pool (A25). */
#include <stdlib.h>

#include "common/clock.h"
#include "tests/system/pool/pool_cases.h"

static void a25_profile_of_a_pool_adds_up_its_tasks(void **state)
{
    const struct pool_fixture *fixture = *state;
    enum { COUNT = 200, FAILING = 5 };
    netpool *pool = pool_of(state);
    netpool_future *futures[COUNT + FAILING];
    netpool_result result;
    netpool_profile profile;
    uint64_t compute_ns = 0;
    uint64_t queue_ns = 0;
    int64_t before = np_clock_now();
    netpool_get_profile(pool, &profile);
    assert_int_equal(profile.tasks, 0);
    assert_int_equal(profile.suggested_chunk, 0);
    for (uint64_t i = 0; i < COUNT + FAILING; i++) {
        futures[i] = submit_number(pool, "fail_above", i < COUNT ? i : 5000, NULL);
    }
    for (size_t i = 0; i < COUNT + FAILING; i++) {
        assert_int_equal(netpool_wait(futures[i], -1, &result), i < COUNT ? NETPOOL_OK : NETPOOL_FAILED);
        compute_ns += result.compute_ns;
        queue_ns += result.queue_ns;
        netpool_future_free(&futures[i]);
    }
    netpool_get_profile(pool, &profile);
    int64_t passed = np_clock_now() - before;
    assert_int_equal(profile.tasks, COUNT + FAILING);
    assert_int_equal(profile.items, COUNT + FAILING);
    assert_int_equal(profile.failed, FAILING);
    assert_int_equal(profile.bytes_in, (COUNT + FAILING) * sizeof(uint64_t));
    assert_int_equal(profile.bytes_out, COUNT * sizeof(uint64_t));
    assert_int_equal(profile.compute_ns, compute_ns);
    assert_int_equal(profile.queue_ns, queue_ns);
    assert_in_range(profile.wall_ns, 1, (uint64_t)passed);
    assert_in_range(profile.serialize_ns, 1, (uint64_t)passed);
    assert_in_range(profile.executors, fixture->has_processes ? 1 : fixture->slots, fixture->slots);
    assert_int_equal(profile.chunk, 1);
    netpool_close(&pool);
}

static void a25_suggested_chunk_is_small_for_long_items_and_large_for_short_ones(void **state)
{
    enum { COUNT = 400000 };
    netpool *pool = pool_of(state);
    netpool_profile profile;
    netpool_future *future = submit_number(pool, "sleep_ms", 100, NULL);
    assert_int_equal(netpool_wait(future, -1, NULL), NETPOOL_OK);
    netpool_future_free(&future);
    netpool_get_profile(pool, &profile);
    assert_int_equal(profile.suggested_chunk, 1);
    netpool_close(&pool);

    pool = pool_of(state);
    uint32_t *numbers = calloc(COUNT, sizeof *numbers);
    uint64_t *doubles = calloc(COUNT, sizeof *doubles);
    assert_non_null(numbers);
    assert_non_null(doubles);
    assert_int_equal(netpool_map(pool, "double_of", numbers, COUNT, sizeof *numbers, doubles, sizeof *doubles,
                                 &(netpool_map_options){.chunk = 100}, NULL),
                     NETPOOL_OK);
    netpool_get_profile(pool, &profile);
    assert_int_equal(profile.items, COUNT);
    assert_int_equal(profile.tasks, COUNT / 100);
    assert_int_equal(profile.chunk, 100);
    assert_true(profile.suggested_chunk > 1);
    free(numbers);
    free(doubles);
    netpool_close(&pool);
}

static void a25_profile_is_zero_where_there_is_none(void **state)
{
    (void)state;
    netpool_profile profile = {.tasks = 5};
    netpool_get_profile(NULL, &profile);
    assert_int_equal(profile.tasks, 0);
    assert_string_equal(netpool_last_error(), "netpool_get_profile: pool is NULL");
    netpool_get_profile(NULL, NULL);
}

const struct CMUnitTest profile_cases[] = {
    cmocka_unit_test(a25_profile_of_a_pool_adds_up_its_tasks),
    cmocka_unit_test(a25_suggested_chunk_is_small_for_long_items_and_large_for_short_ones),
    cmocka_unit_test(a25_profile_is_zero_where_there_is_none),
};
const size_t profile_case_count = sizeof profile_cases / sizeof profile_cases[0];
