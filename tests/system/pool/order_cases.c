/* When tasks run: deadlines from the start and from submission (A16), lanes whose tasks fail, crash or are taken back
 * (A22), priorities (A23). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/system/pool/gates.h"
#include "tests/system/pool/pool_cases.h"
#include "tests/system/pool/tally.h"

static void expect_end(netpool_future **future, netpool_status expected)
{
    netpool_result result = {0};
    netpool_status status = netpool_wait(*future, 60000, &result);
    if (status != expected) {
        fail_msg("%s: %s", netpool_status_name(status), result.failure != NULL ? result.failure->message : "");
    }
    netpool_future_free(future);
}

static void a16_timeout_counts_from_the_start_and_expiry_from_submission(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    struct gates gates;
    netpool_result result;
    const netpool_task_options from_start = {.timeout_ms = 1500};
    const netpool_task_options from_submission = {.expiry_ms = 200};
    gates_close(&gates, pool, "pass_gate", fixture->slots, NULL);
    netpool_future *patient = submit_number(pool, "square", 3, &from_start);
    netpool_future *expiring = submit_number(pool, "square", 4, &from_submission);
    assert_int_equal(netpool_wait(expiring, 60000, &result), NETPOOL_DEADLINE);
    assert_false(result.failure->started);
    assert_int_equal(netpool_wait(patient, 1600, NULL), NETPOOL_TIMEOUT); /* longer than it may run */
    gates_open(&gates, NETPOOL_OK);
    expect_end(&patient, NETPOOL_OK);
    netpool_future_free(&expiring);
    netpool_close(&pool);
}

static void a16_what_ended_a_task_at_its_deadline_is_said(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    struct gates gates;
    netpool_result result;
    const netpool_task_options deadline = {.timeout_ms = 1500};
    gates_close(&gates, pool, "pass_gate", 1, &deadline);
    assert_int_equal(netpool_wait(gates.futures[0], 60000, &result), NETPOOL_DEADLINE); /* the gate is still closed */
    assert_true(result.failure->started);
    assert_int_equal(result.failure->attempt, 1);
    const char *words = fixture->has_processes ? "deadline" : "its thread goes on until it does";
    if (strstr(result.failure->message, words) == NULL) {
        fail_msg("'%s' is not in '%s'", words, result.failure->message);
    }
    if (!fixture->has_processes) {
        gates_open(&gates, NETPOOL_DEADLINE); /* a thread serves again when its function has returned */
    }
    netpool_future *next = submit_number(pool, "square", 5, NULL); /* a process has been replaced */
    expect_end(&next, NETPOOL_OK);
    if (fixture->has_processes) {
        gates_open(&gates, NETPOOL_DEADLINE);
    }
    netpool_close(&pool);
}

/* A file in a directory of the case's own. */
struct log {
    char directory[64];
    char path[80];
};

static void log_init(struct log *log)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(log->directory, sizeof log->directory, "%.40s/netpool-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(log->directory));
    (void)snprintf(log->path, sizeof log->path, "%s/log", log->directory);
}

/* It must have the numbers from 0 on, each once. */
static void log_fini(const struct log *log, unsigned count)
{
    FILE *file = fopen(log->path, "r");
    unsigned next = 0;
    unsigned line;
    assert_non_null(file);
    while (fscanf(file, "%u", &line) == 1) {
        assert_int_equal(line, next);
        next++;
    }
    assert_int_equal(next, count);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(unlink(log->path), 0);
    assert_int_equal(rmdir(log->directory), 0);
}

static netpool_future *submit_line(netpool *pool, const struct log *log, char mode, unsigned line,
                                   const netpool_task_options *options)
{
    char text[128];
    netpool_future *future = NULL;
    int length = snprintf(text, sizeof text, "%c %s %u", mode, log->path, line);
    assert_int_equal(netpool_submit(pool, "log_late", bytes_of(text, (size_t)length), options, &future), NETPOOL_OK);
    return future;
}

static void a22_lane_keeps_its_order_while_its_tasks_fail_crash_and_are_tried_again(void **state)
{
    const struct pool_fixture *fixture = *state;
    enum { COUNT = 60 };
    netpool *pool = pool_of(state);
    netpool_future *futures[COUNT];
    struct log log;
    const netpool_task_options options = {
        .lane = "stumbling", .retry_failures = true, .retry_delay_ms = 3, .max_attempts = 4};
    log_init(&log);
    for (unsigned i = 0; i < COUNT; i++) {
        char crash = fixture->has_processes ? 'c' : 'f';
        futures[i] = submit_line(pool, &log, i % 12 == 5 ? crash : i % 4 == 0 ? 'f' : '-', i, &options);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        expect_end(&futures[i], NETPOOL_OK);
    }
    netpool_close(&pool);
    log_fini(&log, COUNT);
}

static void a22_lane_goes_on_after_tasks_that_end_without_a_result(void **state)
{
    netpool *pool = pool_of(state);
    struct gates gates;
    struct log log;
    const netpool_task_options lane = {.lane = "the lane"};
    const netpool_task_options expiring = {.lane = "the lane", .expiry_ms = 50};
    log_init(&log);
    gates_close(&gates, pool, "pass_gate", 1, &lane);
    netpool_future *cancelled = submit_line(pool, &log, '-', 77, &lane);
    netpool_future *first = submit_line(pool, &log, '-', 0, &lane);
    netpool_future *expired = submit_line(pool, &log, '-', 78, &expiring);
    netpool_future *failed = submit_line(pool, &log, 'f', 79, &lane);
    netpool_future *second = submit_line(pool, &log, '-', 1, &lane);
    netpool_future *beside = submit_number(pool, "square", 3, &(netpool_task_options){.lane = "another lane"});
    assert_int_equal(netpool_cancel(cancelled), NETPOOL_OK);
    expect_end(&cancelled, NETPOOL_CANCELLED);
    expect_end(&expired, NETPOOL_DEADLINE);
    assert_int_equal(netpool_wait(first, 20, NULL), NETPOOL_TIMEOUT);
    gates_open(&gates, NETPOOL_OK);
    expect_end(&first, NETPOOL_OK);
    expect_end(&failed, NETPOOL_FAILED);
    expect_end(&second, NETPOOL_OK);
    expect_end(&beside, NETPOOL_OK);
    netpool_close(&pool);
    log_fini(&log, 2);
}

static void a22_lanes_of_two_pools_are_two_lanes(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool_options options = fixture->options;
    netpool *pools[2];
    struct gates gates;
    const netpool_task_options lane = {.lane = "one name"};
    options.start_method = NETPOOL_START_SPAWN; /* on local: a second pool cannot be forked beside the first one */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(netpool_open(&pools[i], fixture->url, &options, NULL), NETPOOL_OK);
    }
    gates_close(&gates, pools[0], "pass_gate", 1, &lane);
    netpool_future *other = submit_number(pools[1], "square", 3, &lane);
    expect_end(&other, NETPOOL_OK); /* while the first one's lane is taken */
    gates_open(&gates, NETPOOL_OK);
    for (int i = 0; i < 2; i++) {
        netpool_close(&pools[i]);
    }
}

struct race {
    struct tally tally; /* of all tasks, in the order in which they finish */
    uint64_t urgent_at; /* how many had finished when the urgent one had, itself included */
};

static void count_finished(netpool_future *future, const netpool_result *result, void *context)
{
    struct race *race = context;
    (void)future;
    tally_add(&race->tally, result);
    if (result->size == sizeof(uint64_t) && number_of(result) == 9) {
        race->urgent_at = race->tally.called;
    }
}

static void a23_urgent_task_overtakes_what_waits(void **state)
{
    const struct pool_fixture *fixture = *state;
    enum { EACH = 20 }; /* tasks a slot, of 100 ms: no pause of the machine makes the urgent one the last */
    netpool *pool = pool_of(state);
    struct race race = {.tally = TALLY_INIT};
    struct gates gates;
    unsigned count = EACH * fixture->slots;
    const netpool_task_options ordinary = {.on_done = count_finished, .context = &race};
    const netpool_task_options urgent = {.on_done = count_finished, .context = &race, .priority = 10};
    const uint64_t ms = 100;
    const uint64_t three = 3;
    gates_close(&gates, pool, "pass_gate", fixture->slots, NULL);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(netpool_submit(pool, "sleep_ms", bytes_of(&ms, sizeof ms), &ordinary, NULL), NETPOOL_OK);
    }
    assert_int_equal(netpool_submit(pool, "square", bytes_of(&three, sizeof three), &urgent, NULL), NETPOOL_OK);
    gates_open(&gates, NETPOOL_OK);
    tally_wait(&race.tally, count + 1);
    netpool_close(&pool);
    assert_in_range(race.urgent_at, 1, count);
}

enum { SHORT_TASKS = 300 };

/* Of the function that also comes to gates: this one is open. */
static void submit_short(netpool *pool, netpool_future **futures)
{
    for (int i = 0; i < SHORT_TASKS; i++) {
        assert_int_equal(netpool_submit(pool, "pass_gate", bytes_of("/dev/null", 9), NULL, &futures[i]), NETPOOL_OK);
    }
}

static void expect_short(netpool_future **futures)
{
    for (int i = 0; i < SHORT_TASKS; i++) {
        expect_end(&futures[i], NETPOOL_OK);
    }
}

/* The long ones end after the last short one has: a single executor is left for these, wherever they have been sent.
 */
static void a23_short_tasks_do_not_wait_behind_long_ones_of_their_function(void **state)
{
    enum { ROUNDS = 5, WAVES = 3 };
    const struct pool_fixture *fixture = *state;
    if (fixture->slots == 1) {
        skip(); /* who should run them? */
    }
    netpool *pool = pool_of(state);
    netpool_future *futures[2 + WAVES][SHORT_TASKS];
    for (int round = 0; round < ROUNDS; round++) {
        struct gates gates;
        submit_short(pool, futures[0]);
        expect_short(futures[0]); /* now it is known as short */
        submit_short(pool, futures[0]);
        gates_submit(&gates, pool, "pass_gate", fixture->slots - 1, NULL);
        submit_short(pool, futures[1]);
        gates_reach(&gates);
        for (int i = 0; i < WAVES; i++) {
            submit_short(pool, futures[2 + i]);
        }
        for (int i = 0; i < 2 + WAVES; i++) {
            expect_short(futures[i]);
        }
        gates_open(&gates, NETPOOL_OK);
    }
    netpool_close(&pool);
}

const struct CMUnitTest order_cases[] = {
    cmocka_unit_test(a16_timeout_counts_from_the_start_and_expiry_from_submission),
    cmocka_unit_test(a16_what_ended_a_task_at_its_deadline_is_said),
    cmocka_unit_test(a22_lane_keeps_its_order_while_its_tasks_fail_crash_and_are_tried_again),
    cmocka_unit_test(a22_lane_goes_on_after_tasks_that_end_without_a_result),
    cmocka_unit_test(a22_lanes_of_two_pools_are_two_lanes),
    cmocka_unit_test(a23_urgent_task_overtakes_what_waits),
    cmocka_unit_test(a23_short_tasks_do_not_wait_behind_long_ones_of_their_function),
};
const size_t order_case_count = sizeof order_cases / sizeof order_cases[0];
