#include <signal.h>

#include "common/clock.h"
#include "tests/system/pool/gates.h"
#include "tests/system/pool/pool_cases.h"

static void b8_poison_task_ends_with_the_record_of_each_attempt(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        skip();
    }
    netpool *pool = pool_of(state);
    netpool_future *poison = submit_number(pool, "crash", 1, NULL);
    netpool_future *other = submit_number(pool, "square", 4, NULL);
    netpool_result result;
    assert_int_equal(netpool_wait(poison, 30000, &result), NETPOOL_POISON);
    assert_int_equal(result.failure->status, NETPOOL_POISON);
    assert_true(result.failure->attempt_count >= 2);
    for (unsigned i = 0; i < result.failure->attempt_count; i++) {
        const netpool_attempt_record *record = &result.failure->attempts[i];
        assert_int_equal(record->attempt, i + 1);
        assert_int_equal(record->status, NETPOOL_CRASHED);
        assert_int_equal(record->signal, SIGSEGV);
        assert_true(record->pid > 0);
    }
    assert_int_equal(netpool_wait(other, 30000, &result), NETPOOL_OK); /* others are unaffected */
    assert_int_equal(number_of(&result), 16);
    netpool_future_free(&poison);
    netpool_future_free(&other);
    netpool_close(&pool);
}

static void a17_crashed_task_is_tried_again(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        skip();
    }
    netpool *pool = pool_of(state);
    netpool_future *future = submit_number(pool, "crash_once", 77, NULL);
    netpool_result result;
    assert_int_equal(netpool_wait(future, 30000, &result), NETPOOL_OK);
    assert_int_equal(number_of(&result), 77);
    assert_int_equal(result.attempt, 2);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a17_at_most_once_is_never_run_again(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        skip();
    }
    netpool *pool = pool_of(state);
    netpool_task_options once = {.at_most_once = true};
    netpool_task_options single = {.max_attempts = 1};
    netpool_result result;
    netpool_future *future = submit_number(pool, "crash_once", 77, &once);
    netpool_status status = netpool_wait(future, 30000, &result);
    assert_true(status == NETPOOL_LOST || status == NETPOOL_CRASHED);
    assert_int_equal(result.failure->attempt, 1);
    netpool_future_free(&future);
    future = submit_number(pool, "crash_once", 77, &single);
    assert_int_equal(netpool_wait(future, 30000, &result), NETPOOL_CRASHED);
    assert_int_equal(result.failure->signal, SIGSEGV);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a14_crash_inside_a_map_costs_only_a_retry(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        skip();
    }
    netpool *pool = pool_of(state);
    netpool_bytes in[50];
    netpool_bytes out[50];
    netpool_error error;
    for (size_t i = 0; i < 50; i++) {
        in[i] = bytes_of("0123456789", 10);
    }
    netpool_status status = netpool_map_bytes(pool, "crash_once", in, 50, out, NULL, &error);
    if (status != NETPOOL_OK) {
        fail_msg("%s", error.message);
    }
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(out[i].size, 10);
    }
    netpool_free_results(out, 50);
    netpool_close(&pool);
}

static void a15_waiting_tasks_can_be_cancelled(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    enum { COUNT = 60 };
    netpool_future *futures[COUNT];
    struct gates gates;
    gates_close(&gates, pool, "pass_gate", fixture->slots, NULL);
    for (unsigned i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pool, "square", i, NULL);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        (void)netpool_cancel(futures[i]);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(netpool_wait(futures[i], 20000, NULL), NETPOOL_CANCELLED);
        assert_int_equal(netpool_cancel(futures[i]), NETPOOL_CLOSED);
        netpool_future_free(&futures[i]);
    }
    gates_open(&gates, NETPOOL_OK);
    netpool_close(&pool);
}

static void a15_running_task_can_be_cancelled(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    static const char *const functions[] = {"sleep_ms", "sleep_deaf_ms"};
    const uint64_t ms = fixture->has_processes ? 60000 : 8000;
    for (size_t i = 0; i < 2; i++) {
        netpool_result result;
        netpool_future *future = submit_number(pool, functions[i], ms, NULL);
        assert_int_equal(netpool_wait(future, 100, &result), NETPOOL_TIMEOUT);
        int64_t before = np_clock_now();
        assert_int_equal(netpool_cancel(future), NETPOOL_OK);
        assert_int_equal(netpool_wait(future, 20000, &result), NETPOOL_CANCELLED);
        assert_true(np_clock_now() - before < (int64_t)ms * NP_NS_PER_MS - NP_NS_PER_S);
        assert_int_equal(result.failure->status, NETPOOL_CANCELLED);
        netpool_future_free(&future);
    }
    netpool_terminate(&pool);
}

static void a4_unfinished_futures_may_be_freed(void **state)
{
    netpool *pool = pool_of(state);
    for (int i = 0; i < 200; i++) {
        netpool_future *future = submit_number(pool, "sleep_ms", (uint64_t)(i % 3), NULL);
        netpool_future_free(&future);
    }
    netpool_close(&pool);
}

const struct CMUnitTest fault_cases[] = {
    cmocka_unit_test(b8_poison_task_ends_with_the_record_of_each_attempt),
    cmocka_unit_test(a17_crashed_task_is_tried_again),
    cmocka_unit_test(a17_at_most_once_is_never_run_again),
    cmocka_unit_test(a14_crash_inside_a_map_costs_only_a_retry),
    cmocka_unit_test(a15_waiting_tasks_can_be_cancelled),
    cmocka_unit_test(a15_running_task_can_be_cancelled),
    cmocka_unit_test(a4_unfinished_futures_may_be_freed),
};
const size_t fault_case_count = sizeof fault_cases / sizeof fault_cases[0];
