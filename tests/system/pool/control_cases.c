/* What a program can do about tasks on their way: take back those that have not started (A15), and see how far others
 * are (A24). */
#include "common/clock.h"
#include "tests/system/pool/gates.h"
#include "tests/system/pool/pool_cases.h"

static void a15_pending_cancel_ends_what_waits_and_lets_alone_what_runs(void **state)
{
    const struct pool_fixture *fixture = *state;
    enum { WAITING = 50 };
    netpool *pool = pool_of(state);
    struct gates gates;
    netpool_future *waiting[WAITING];
    netpool_result result;
    gates_close(&gates, pool, "pass_gate", fixture->slots, NULL);
    for (uint64_t i = 0; i < WAITING; i++) {
        waiting[i] = submit_number(pool, "square", i, NULL);
    }
    for (unsigned i = 0; i < gates.count; i++) {
        assert_int_equal(netpool_cancel_pending(gates.futures[i]), NETPOOL_OK);
    }
    for (int i = 0; i < WAITING; i++) {
        assert_int_equal(netpool_cancel_pending(waiting[i]), NETPOOL_OK);
    }
    for (int i = 0; i < WAITING; i++) {
        assert_int_equal(netpool_wait(waiting[i], 60000, &result), NETPOOL_CANCELLED);
        assert_false(result.failure->started);
        netpool_future_free(&waiting[i]);
    }
    gates_open(&gates, NETPOOL_OK);
    netpool_close(&pool);
}

static void a15_plain_cancel_after_a_pending_one_stops_what_runs(void **state)
{
    netpool *pool = pool_of(state);
    netpool_result result;
    struct gates gates;
    gates_close(&gates, pool, "pass_gate", 1, NULL);
    assert_int_equal(netpool_cancel_pending(gates.futures[0]), NETPOOL_OK);
    assert_int_equal(netpool_cancel(gates.futures[0]), NETPOOL_OK);
    assert_int_equal(netpool_wait(gates.futures[0], 60000, &result), NETPOOL_CANCELLED); /* by force: it is deaf */
    assert_true(result.failure->started);
    assert_int_equal(result.failure->attempt, 1);
    gates_open(&gates, NETPOOL_CANCELLED);
    netpool_close(&pool);
}

static void a24_progress_of_a_running_task_can_be_seen(void **state)
{
    netpool *pool = pool_of(state);
    struct gates gates;
    uint64_t done = 0;
    uint64_t total = 0;
    int64_t deadline = np_clock_now() + 60 * NP_NS_PER_S;
    gates_close(&gates, pool, "tell_and_wait", 1, NULL);
    while (total == 0) {
        assert_int_equal(netpool_wait(gates.futures[0], 20, NULL), NETPOOL_TIMEOUT);
        netpool_get_progress(gates.futures[0], &done, &total);
        assert_true(np_clock_now() < deadline);
    }
    assert_int_equal(done, 30);
    assert_int_equal(total, 100);
    gates_open(&gates, NETPOOL_OK);
    netpool_close(&pool);
}

const struct CMUnitTest control_cases[] = {
    cmocka_unit_test(a15_pending_cancel_ends_what_waits_and_lets_alone_what_runs),
    cmocka_unit_test(a15_plain_cancel_after_a_pending_one_stops_what_runs),
    cmocka_unit_test(a24_progress_of_a_running_task_can_be_seen),
};
const size_t control_case_count = sizeof control_cases / sizeof control_cases[0];
