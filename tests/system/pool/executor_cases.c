/* What a pool asks of its executors: an initializer (A9), and to be replaced after so many tasks (A10). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/system/pool/pool_cases.h"

/* A number that no other case and no other run uses: executors of a cluster outlive the pools. */
static uint64_t new_number(void)
{
    static uint64_t last;
    last++;
    return ((uint64_t)getpid() << 32) + last;
}

static netpool *prepared_pool(void **state, const char *initializer, const char *input, unsigned max_tasks)
{
    const struct pool_fixture *fixture = *state;
    netpool_options options = fixture->options;
    netpool *pool;
    netpool_error error;
    options.initializer = initializer;
    options.initializer_input = bytes_of(input, input != NULL ? strlen(input) : 0);
    options.max_tasks_per_executor = max_tasks;
    options.start_method = NETPOOL_START_SPAWN; /* on local: a second pool cannot be forked beside the first one */
    if (netpool_open(&pool, fixture->url, &options, &error) != NETPOOL_OK) {
        fail_msg("%s: %s", fixture->url, error.message);
    }
    return pool;
}

/* Many tasks at once, each of which must come back as `expected`. */
static void check_warmth(netpool *pool, const char *expected)
{
    enum { COUNT = 300 };
    netpool_future *futures[COUNT];
    netpool_result result;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(netpool_submit(pool, "warmth", (netpool_bytes){0}, NULL, &futures[i]), NETPOOL_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(netpool_wait(futures[i], 60000, &result), NETPOOL_OK);
        assert_int_equal(result.size, strlen(expected));
        assert_memory_equal(result.data, expected, result.size);
        netpool_future_free(&futures[i]);
    }
}

static void a9_initializer_is_called_once_in_each_executor_before_its_first_task(void **state)
{
    char input[64];
    char expected[80];
    (void)snprintf(input, sizeof input, "model %llx", (unsigned long long)new_number());
    (void)snprintf(expected, sizeof expected, "1:%s", input);
    netpool *pool = prepared_pool(state, "warm_up", input, 0);
    memset(input, '?', strlen(input)); /* it was copied */
    check_warmth(pool, expected);
    netpool_close(&pool);
}

static void a9_each_pool_has_its_own_initializer(void **state)
{
    char inputs[2][64];
    char expected[80];
    netpool *pools[2];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(inputs[i], sizeof inputs[i], "model %llx", (unsigned long long)new_number());
        pools[i] = prepared_pool(state, "warm_up", inputs[i], 0);
    }
    for (int i = 0; i < 2; i++) {
        (void)snprintf(expected, sizeof expected, "1:%s", inputs[i]);
        check_warmth(pools[i], expected);
    }
    for (int i = 0; i < 2; i++) {
        netpool_close(&pools[i]);
    }
}

/* All tasks of the pool end with NOT_INITIALIZED and these words, those that come later, too. */
static void check_refused(netpool *pool, const char *words)
{
    enum { COUNT = 20 };
    netpool_future *futures[COUNT];
    netpool_result result;
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < COUNT; i++) {
            futures[i] = submit_number(pool, "square", i, NULL);
        }
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(netpool_wait(futures[i], 60000, &result), NETPOOL_NOT_INITIALIZED);
            if (strstr(result.failure->message, words) == NULL) {
                fail_msg("'%s' is not in '%s'", words, result.failure->message);
            }
            netpool_future_free(&futures[i]);
        }
    }
}

static void a9_failing_initializer_ends_the_tasks_with_its_words(void **state)
{
    netpool *pool = prepared_pool(state, "fail", "the model is not there", 0);
    check_refused(pool, "the model is not there");
    netpool_close(&pool);
    pool = pool_of(state); /* others are not concerned */
    netpool_future *future = submit_number(pool, "square", 3, NULL);
    assert_int_equal(netpool_wait(future, 60000, NULL), NETPOOL_OK);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a9_initializer_that_does_not_exist_is_named(void **state)
{
    netpool *pool = prepared_pool(state, "no_such_thing", NULL, 0);
    check_refused(pool, "no_such_thing");
    netpool_close(&pool);
}

static void a9_crashing_initializer_ends_the_tasks(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        skip(); /* threads: a crash ends the program */
    }
    netpool *pool = prepared_pool(state, "crash", NULL, 0);
    check_refused(pool, "SIGSEGV");
    netpool_close(&pool);
}

static void a9_terminate_does_not_wait_for_an_initializer(void **state)
{
    char input[8] = {0};
    const uint64_t long_ms = 20000;
    memcpy(input, &long_ms, 2); /* little-endian, up to 7 bytes of text */
    netpool *pool = prepared_pool(state, "sleep_ms", input, 0);
    netpool_future *future = submit_number(pool, "square", 3, NULL);
    assert_int_equal(netpool_wait(future, 20, NULL), NETPOOL_TIMEOUT);
    netpool_terminate(&pool);
    assert_int_equal(netpool_wait(future, 0, NULL), NETPOOL_CANCELLED);
    netpool_future_free(&future);
}

static void a10_executors_are_replaced_after_so_many_tasks_and_none_is_lost(void **state)
{
    enum { COUNT = 100, MOST = 3 };
    netpool *pool = prepared_pool(state, NULL, NULL, MOST);
    netpool_future *futures[COUNT];
    netpool_result result;
    uint64_t number = new_number();
    uint64_t firsts = 0;
    for (int i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pool, "calls_here", number, NULL);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(netpool_wait(futures[i], 60000, &result), NETPOOL_OK);
        assert_int_equal(result.attempt, 1); /* replacing costs no attempt */
        assert_in_range(number_of(&result), 1, MOST);
        firsts += number_of(&result) == 1;
        netpool_future_free(&futures[i]);
    }
    assert_true(firsts >= (COUNT + MOST - 1) / MOST);
    netpool_close(&pool);
}

static void a10_replaced_executors_are_initialized_again(void **state)
{
    char input[64];
    char expected[80];
    (void)snprintf(input, sizeof input, "model %llx", (unsigned long long)new_number());
    (void)snprintf(expected, sizeof expected, "1:%s", input);
    netpool *pool = prepared_pool(state, "warm_up", input, 50);
    check_warmth(pool, expected);
    netpool_close(&pool);
}

const struct CMUnitTest executor_cases[] = {
    cmocka_unit_test(a9_initializer_is_called_once_in_each_executor_before_its_first_task),
    cmocka_unit_test(a9_each_pool_has_its_own_initializer),
    cmocka_unit_test(a9_failing_initializer_ends_the_tasks_with_its_words),
    cmocka_unit_test(a9_initializer_that_does_not_exist_is_named),
    cmocka_unit_test(a9_crashing_initializer_ends_the_tasks),
    cmocka_unit_test(a9_terminate_does_not_wait_for_an_initializer),
    cmocka_unit_test(a10_executors_are_replaced_after_so_many_tasks_and_none_is_lost),
    cmocka_unit_test(a10_replaced_executors_are_initialized_again),
};
const size_t executor_case_count = sizeof executor_cases / sizeof executor_cases[0];
