/* Waiting for sets of futures (A8), and looking at one (A4). */
#include <stdlib.h>

#include "tests/system/pool/pool_cases.h"

/* Tasks that do not end before they are cancelled. */
#define FOR_EVER 600000

static void a4_poll_says_when_a_task_is_finished(void **state)
{
    netpool *pool = pool_of(state);
    netpool_future *future = submit_number(pool, "sleep_ms", FOR_EVER, NULL);
    uint64_t done = 1;
    uint64_t total = 1;
    assert_false(netpool_is_done(future));
    netpool_get_progress(future, &done, &total);
    assert_int_equal(done, 0);
    assert_int_equal(total, 0);
    assert_int_equal(netpool_cancel(future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, -1, NULL), NETPOOL_CANCELLED);
    assert_true(netpool_is_done(future));
    assert_false(netpool_is_done(NULL));
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a8_wait_for_all(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 1000 };
    netpool_future *futures[COUNT];
    size_t finished = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pool, "square", i, NULL);
    }
    assert_int_equal(netpool_wait_many(futures, COUNT, NETPOOL_ALL_COMPLETED, -1, &finished), NETPOOL_OK);
    assert_int_equal(finished, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(netpool_is_done(futures[i]));
        netpool_future_free(&futures[i]);
    }
    netpool_close(&pool);
}

static void a8_wait_for_the_first(void **state)
{
    netpool *pool = pool_of(state);
    netpool_future *futures[3];
    size_t finished = 9;
    for (size_t i = 0; i < 2; i++) {
        futures[i] = submit_number(pool, "sleep_ms", FOR_EVER, NULL);
    }
    assert_int_equal(netpool_wait_many(futures, 2, NETPOOL_FIRST_COMPLETED, 20, &finished), NETPOOL_TIMEOUT);
    assert_int_equal(finished, 0);
    assert_int_equal(netpool_wait_many(futures, 2, NETPOOL_ALL_COMPLETED, 0, NULL), NETPOOL_TIMEOUT);
    futures[2] = submit_number(pool, "no_such_thing", 1, NULL); /* ends without an executor */
    assert_int_equal(netpool_wait_many(futures, 3, NETPOOL_FIRST_COMPLETED, -1, &finished), NETPOOL_OK);
    assert_int_equal(finished, 1);
    assert_int_equal(netpool_wait_many(futures, 3, NETPOOL_ALL_COMPLETED, 20, &finished), NETPOOL_TIMEOUT);
    assert_int_equal(finished, 1);
    for (size_t i = 0; i < 3; i++) {
        netpool_future_free(&futures[i]);
    }
    netpool_close(&pool);
}

static void a8_wait_for_the_first_failure(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 100 };
    netpool_future *futures[COUNT + 2];
    size_t finished;
    for (uint64_t i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pool, "square", i, NULL);
    }
    assert_int_equal(netpool_wait_many(futures, COUNT, NETPOOL_FIRST_FAILED, -1, &finished), NETPOOL_OK);
    assert_int_equal(finished, COUNT); /* none failed */
    futures[COUNT] = submit_number(pool, "sleep_ms", FOR_EVER, NULL);
    assert_int_equal(netpool_wait_many(futures, COUNT + 1, NETPOOL_FIRST_FAILED, 20, &finished), NETPOOL_TIMEOUT);
    assert_int_equal(finished, COUNT);
    futures[COUNT + 1] = submit_number(pool, "no_such_thing", 1, NULL);
    assert_int_equal(netpool_wait_many(futures, COUNT + 2, NETPOOL_FIRST_FAILED, -1, &finished), NETPOOL_OK);
    assert_int_equal(finished, COUNT + 1);
    assert_false(netpool_is_done(futures[COUNT]));
    for (size_t i = 0; i < COUNT + 2; i++) {
        netpool_future_free(&futures[i]);
    }
    netpool_close(&pool);
}

static void a8_sets_that_are_none(void **state)
{
    netpool *pool = pool_of(state);
    netpool_future *futures[2] = {submit_number(pool, "square", 2, NULL), NULL};
    netpool_completion *completion;
    size_t finished = 9;
    assert_int_equal(netpool_wait_many(NULL, 0, NETPOOL_FIRST_COMPLETED, -1, &finished), NETPOOL_OK);
    assert_int_equal(finished, 0);
    assert_int_equal(netpool_wait_many(NULL, 1, NETPOOL_ALL_COMPLETED, -1, NULL), NETPOOL_INVALID);
    assert_int_equal(netpool_wait_many(futures, 2, NETPOOL_ALL_COMPLETED, -1, NULL), NETPOOL_INVALID);
    assert_string_equal(netpool_last_error(), "netpool_wait_many: futures[1] is NULL");
    assert_int_equal(netpool_wait_many(futures, 1, (netpool_wait_for)7, -1, NULL), NETPOOL_INVALID);
    assert_int_equal(netpool_as_completed(futures, 2, &completion), NETPOOL_INVALID);
    assert_int_equal(netpool_as_completed(futures, 1, NULL), NETPOOL_INVALID);
    assert_int_equal(netpool_as_completed(NULL, 0, &completion), NETPOOL_OK);
    assert_int_equal(netpool_completion_next(completion, -1, &finished), NETPOOL_CLOSED);
    netpool_completion_close(&completion);
    assert_null(completion);
    netpool_completion_close(&completion);
    netpool_completion_close(NULL);
    netpool_future_free(&futures[0]);
    netpool_close(&pool);
}

/* Takes all; each index once. */
static void take_all(netpool_completion *completion, size_t count)
{
    bool *seen = calloc(count, sizeof *seen);
    size_t index;
    assert_non_null(seen);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(netpool_completion_next(completion, -1, &index), NETPOOL_OK);
        assert_true(index < count && !seen[index]);
        seen[index] = true;
    }
    assert_int_equal(netpool_completion_next(completion, -1, &index), NETPOOL_CLOSED);
    free(seen);
}

/* Beside an open pool a local one cannot copy the program any more. */
static netpool *second_pool_of(void **state)
{
    static const char *const modules[] = {POOL_MODULE, NULL};
    struct pool_fixture second = *(const struct pool_fixture *)*state;
    void *its_state = &second;
    if (strncmp(second.url, "local", 5) == 0) {
        second.options.start_method = NETPOOL_START_MODULE;
        second.options.modules = modules;
    }
    return pool_of(&its_state);
}

static void a8_as_completed_over_two_pools(void **state)
{
    netpool *pools[2] = {pool_of(state), second_pool_of(state)};
    enum { COUNT = 1000 };
    netpool_future *futures[COUNT];
    netpool_completion *completion;
    netpool_completion *other;
    size_t finished;
    for (uint64_t i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pools[i % 2], "square", i, NULL);
    }
    assert_int_equal(netpool_as_completed(futures, COUNT, &completion), NETPOOL_OK);
    assert_int_equal(netpool_as_completed(futures, COUNT, &other), NETPOOL_OK);
    take_all(completion, COUNT);
    assert_int_equal(netpool_wait_many(futures, COUNT, NETPOOL_ALL_COMPLETED, -1, &finished), NETPOOL_OK);
    take_all(other, COUNT);
    netpool_completion_close(&completion);
    netpool_completion_close(&other);
    for (size_t i = 0; i < COUNT; i++) {
        netpool_future_free(&futures[i]);
    }
    futures[0] = submit_number(pools[0], "sleep_ms", FOR_EVER, NULL);
    futures[1] = submit_number(pools[1], "no_such_thing", 1, NULL);
    assert_int_equal(netpool_wait_many(futures, 2, NETPOOL_FIRST_FAILED, -1, &finished), NETPOOL_OK);
    assert_int_equal(netpool_wait_many(futures, 2, NETPOOL_ALL_COMPLETED, 20, &finished), NETPOOL_TIMEOUT);
    assert_int_equal(finished, 1);
    for (size_t i = 0; i < 2; i++) {
        netpool_future_free(&futures[i]);
        netpool_close(&pools[i]);
    }
}

static void a8_completions_may_go_before_their_futures_finish(void **state)
{
    netpool *pool = pool_of(state);
    netpool_future *futures[4];
    netpool_completion *completions[3];
    size_t index;
    for (size_t i = 0; i < 4; i++) {
        futures[i] = i == 3 ? futures[0] : submit_number(pool, "sleep_ms", FOR_EVER, NULL); /* one of them twice */
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(netpool_as_completed(futures, 4, &completions[i]), NETPOOL_OK);
    }
    assert_int_equal(netpool_completion_next(completions[0], 20, &index), NETPOOL_TIMEOUT);
    assert_int_equal(netpool_completion_next(completions[0], 0, &index), NETPOOL_TIMEOUT);
    netpool_completion_close(&completions[1]); /* the one in the middle of the lists */
    assert_int_equal(netpool_cancel(futures[0]), NETPOOL_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(netpool_completion_next(completions[0], -1, &index), NETPOOL_OK);
        assert_true(index == 0 || index == 3);
    }
    netpool_completion_close(&completions[0]);
    netpool_terminate(&pool);
    take_all(completions[2], 4);
    netpool_completion_close(&completions[2]);
    for (size_t i = 0; i < 3; i++) {
        netpool_future_free(&futures[i]);
    }
}

static void a8_futures_may_be_freed_as_they_are_taken(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 1000 };
    netpool_future *futures[COUNT];
    netpool_completion *completion;
    size_t index;
    for (uint64_t i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pool, "square", i, NULL);
    }
    assert_int_equal(netpool_as_completed(futures, COUNT, &completion), NETPOOL_OK);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(netpool_completion_next(completion, -1, &index), NETPOOL_OK);
        netpool_future_free(&futures[index]);
        if (i == COUNT / 2) {
            netpool_close(&pool); /* the completion alone holds it in the end */
        }
    }
    assert_int_equal(netpool_completion_next(completion, -1, &index), NETPOOL_CLOSED);
    netpool_completion_close(&completion);
}

/* Quadratic work would run into the time limit. */
static void a8_a_hundred_thousand_futures(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 100000, LOOKS = 20 };
    netpool_future **futures = calloc(COUNT, sizeof(netpool_future *));
    netpool_completion *completion;
    size_t finished = 0;
    assert_non_null(futures);
    for (uint64_t i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pool, "square", i, NULL);
    }
    assert_int_equal(netpool_as_completed(futures, COUNT, &completion), NETPOOL_OK);
    for (int i = 0; i < LOOKS; i++) {
        size_t before = finished;
        netpool_status status = netpool_wait_many(futures, COUNT, NETPOOL_ALL_COMPLETED, 1, &finished);
        assert_true(status == NETPOOL_OK || status == NETPOOL_TIMEOUT);
        assert_true(finished >= before);
    }
    take_all(completion, COUNT);
    netpool_completion_close(&completion);
    assert_int_equal(netpool_wait_many(futures, COUNT, NETPOOL_ALL_COMPLETED, 0, &finished), NETPOOL_OK);
    assert_int_equal(finished, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        netpool_future_free(&futures[i]);
    }
    free(futures);
    netpool_close(&pool);
}

const struct CMUnitTest set_cases[] = {
    cmocka_unit_test(a4_poll_says_when_a_task_is_finished),
    cmocka_unit_test(a8_wait_for_all),
    cmocka_unit_test(a8_wait_for_the_first),
    cmocka_unit_test(a8_wait_for_the_first_failure),
    cmocka_unit_test(a8_sets_that_are_none),
    cmocka_unit_test(a8_as_completed_over_two_pools),
    cmocka_unit_test(a8_completions_may_go_before_their_futures_finish),
    cmocka_unit_test(a8_futures_may_be_freed_as_they_are_taken),
    cmocka_unit_test(a8_a_hundred_thousand_futures),
};
const size_t set_case_count = sizeof set_cases / sizeof set_cases[0];
