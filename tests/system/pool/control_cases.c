/* What a program can do about tasks on their way: take back those that have not started (A15), and see how far others
 * are (A24). Gates (FIFOs that executors wait at) say exactly when a task runs. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/system/pool/pool_cases.h"

enum { GATES_MAX = 8 };

/* Tasks that run until their gates are opened. */
struct gates {
    char directory[64];
    char path[GATES_MAX][80];
    netpool_future *futures[GATES_MAX];
    int opened[GATES_MAX]; /* our ends */
    unsigned count;
};

/* Returns when all of them run. */
static void gates_close(struct gates *gates, netpool *pool, const char *function, unsigned count)
{
    const char *base = getenv("TMPDIR");
    *gates = (struct gates){.count = count};
    assert_in_range(count, 1, GATES_MAX);
    (void)snprintf(gates->directory, sizeof gates->directory, "%.40s/netpool-test-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(gates->directory));
    for (unsigned i = 0; i < count; i++) {
        char *path = gates->path[i];
        (void)snprintf(path, sizeof gates->path[i], "%s/%u", gates->directory, i);
        assert_int_equal(mkfifo(path, 0600), 0);
        assert_int_equal(netpool_submit(pool, function, bytes_of(path, strlen(path)), NULL, &gates->futures[i]),
                         NETPOOL_OK);
    }
    for (unsigned i = 0; i < count; i++) {
        gates->opened[i] = open(gates->path[i], O_WRONLY | O_CLOEXEC); /* waits for the other end */
        assert_true(gates->opened[i] >= 0);
    }
}

/* Lets them go; each must end with this status. */
static void gates_open(struct gates *gates, netpool_status expected)
{
    for (unsigned i = 0; i < gates->count; i++) {
        close(gates->opened[i]);
    }
    for (unsigned i = 0; i < gates->count; i++) {
        assert_int_equal(netpool_wait(gates->futures[i], 60000, NULL), expected);
        netpool_future_free(&gates->futures[i]);
        assert_int_equal(unlink(gates->path[i]), 0);
    }
    assert_int_equal(rmdir(gates->directory), 0);
}

static void a15_pending_cancel_ends_what_waits_and_lets_alone_what_runs(void **state)
{
    const struct pool_fixture *fixture = *state;
    enum { WAITING = 50 };
    netpool *pool = pool_of(state);
    struct gates gates;
    netpool_future *waiting[WAITING];
    netpool_result result;
    gates_close(&gates, pool, "pass_gate", fixture->slots);
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
    gates_close(&gates, pool, "pass_gate", 1);
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
    gates_close(&gates, pool, "tell_and_wait", 1);
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
