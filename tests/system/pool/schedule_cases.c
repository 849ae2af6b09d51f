/* What tasks ask of the scheduler: lanes (A22), labels and slots, and to be tried again after a failure (A17). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/system/pool/pool_cases.h"

enum { CLUSTER_WORKER_SLOTS = 2 }; /* of each of the fixture's workers */

/* Slots of the largest worker. */
static unsigned worker_slots(const struct pool_fixture *fixture)
{
    return fixture->has_cluster ? CLUSTER_WORKER_SLOTS : fixture->slots;
}

/* A directory of the case's own. */
struct place {
    char directory[64];
};

static void place_init(struct place *place)
{
    const char *base = getenv("TMPDIR");
    int length = snprintf(place->directory, sizeof place->directory, "%.40s/netpool-test-XXXXXX",
                          base != NULL ? base : "/tmp");
    assert_in_range(length, 1, sizeof place->directory - 1);
    assert_non_null(mkdtemp(place->directory));
}

static void place_fini(const struct place *place)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r -- '%s'", place->directory);
    assert_int_equal(system(command), 0);
}

static netpool_future *submit_text(netpool *pool, const char *function, const char *text,
                                   const netpool_task_options *options)
{
    netpool_future *future = NULL;
    if (netpool_submit(pool, function, bytes_of(text, strlen(text)), options, &future) != NETPOOL_OK) {
        fail_msg("%s", netpool_last_error());
    }
    return future;
}

static void expect_ok(netpool_future **future)
{
    netpool_result result;
    if (netpool_wait(*future, 60000, &result) != NETPOOL_OK) {
        fail_msg("%s", netpool_last_error());
    }
    netpool_future_free(future);
}

static pid_t parent_of(pid_t pid)
{
    char path[64];
    long parent = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d (%*[^)]) %*c %ld", &parent), 1);
    assert_int_equal(fclose(file), 0);
    return (pid_t)parent;
}

/* The index of the worker that an executor belongs to; over TLS all have the certificate's name. */
static unsigned worker_of(const struct cluster *cluster, uint32_t executor)
{
    for (pid_t pid = (pid_t)executor; pid > 1; pid = parent_of(pid)) {
        for (unsigned i = 0; i < cluster->worker_count; i++) {
            if (cluster->workers[i] == pid) {
                return i;
            }
        }
    }
    fail_msg("process %lu is no worker's", (unsigned long)executor);
    return 0;
}

/* The file has the lines 0 to count - 1, in this order; a line may be repeated by a later attempt. */
static void check_log(const char *path, unsigned count)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    unsigned next = 0;
    unsigned line;
    while (fscanf(file, "%u", &line) == 1) {
        if (line + 1 != next) {
            assert_int_equal(line, next);
            next++;
        }
    }
    assert_int_equal(next, count);
    assert_int_equal(fclose(file), 0);
}

static void a22_tasks_of_a_lane_run_one_at_a_time_in_the_order_of_submission(void **state)
{
    enum { LANES = 3, COUNT = 60 };
    netpool *pool = pool_of(state);
    struct place place;
    netpool_future *futures[COUNT][LANES][2];
    char path[LANES][80];
    place_init(&place);
    for (int lane = 0; lane < LANES; lane++) {
        (void)snprintf(path[lane], sizeof path[lane], "%s/lane%d", place.directory, lane);
    }
    for (int i = 0; i < COUNT; i++) {
        for (int lane = 0; lane < LANES; lane++) {
            char name[16];
            char text[112];
            (void)snprintf(name, sizeof name, "lane %d", lane);
            const netpool_task_options options = {.lane = name};
            (void)snprintf(text, sizeof text, "%.79s %d", path[lane], i);
            futures[i][lane][0] = submit_text(pool, "log_line", text, &options);
            (void)snprintf(text, sizeof text, "x %.79s.lock", path[lane]);
            futures[i][lane][1] = submit_text(pool, "exclusive", text, &options);
        }
    }
    for (int i = 0; i < COUNT; i++) {
        for (int lane = 0; lane < LANES; lane++) {
            expect_ok(&futures[i][lane][0]);
            expect_ok(&futures[i][lane][1]);
        }
    }
    for (int lane = 0; lane < LANES; lane++) {
        check_log(path[lane], COUNT);
    }
    netpool_close(&pool);
    place_fini(&place);
}

static void a22_lane_keeps_its_order_when_its_worker_is_lost(void **state)
{
    struct pool_fixture *fixture = *state;
    if (!fixture->has_cluster) {
        skip(); /* elsewhere there is one worker, and it lives as long as the pool */
    }
    enum { COUNT = 100, LOST_AT = 30 };
    netpool *pool = pool_of(state);
    struct place place;
    netpool_future *futures[COUNT];
    netpool_future *pauses[COUNT]; /* between them, so that the loss comes before the end */
    char path[80];
    char text[112];
    netpool_result result;
    place_init(&place);
    (void)snprintf(path, sizeof path, "%s/lane", place.directory);
    const netpool_task_options options = {.lane = "the only one", .max_attempts = 64};
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(text, sizeof text, "%.79s %d", path, i);
        futures[i] = submit_text(pool, "log_line", text, &options);
        pauses[i] = submit_number(pool, "sleep_ms", 2, &options);
    }
    assert_int_equal(netpool_wait(futures[LOST_AT], 60000, &result), NETPOOL_OK);
    cluster_kill_worker(&fixture->cluster, worker_of(&fixture->cluster, result.pid));
    for (int i = 0; i < COUNT; i++) {
        expect_ok(&futures[i]);
        expect_ok(&pauses[i]);
    }
    check_log(path, COUNT);
    netpool_close(&pool);
    cluster_add_worker(&fixture->cluster);
    place_fini(&place);
}

/* Waits until the pool says that tasks wait because of `words`. Each answer is a round trip, so this does not spin.
 */
static void wait_for_reason(netpool *pool, const char *words)
{
    int64_t deadline = np_clock_now() + 60 * NP_NS_PER_S;
    bool found = false;
    while (!found) {
        netpool_info *info;
        netpool_error error;
        if (netpool_get_info(pool, &info, 10000, &error) != NETPOOL_OK) {
            fail_msg("%s", error.message);
        }
        for (size_t i = 0; i < info->waiting_count; i++) {
            found |= strstr(info->waiting[i], words) != NULL;
        }
        netpool_info_free(&info);
        assert_true(found || np_clock_now() < deadline);
    }
}

static void task_with_a_label_waits_for_a_worker_that_has_it_and_the_reason_is_told(void **state)
{
    struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    netpool_result result;
    const netpool_task_options options = {.labels = "gpu=7,fast"};
    netpool_future *special = submit_number(pool, "square", 7, &options);
    netpool_future *plain = submit_number(pool, "square", 8, NULL);
    assert_int_equal(netpool_wait(plain, 60000, &result), NETPOOL_OK); /* is not held up */
    netpool_future_free(&plain);
    wait_for_reason(pool, "gpu=7");
    assert_int_equal(netpool_wait(special, 0, NULL), NETPOOL_TIMEOUT);
    if (fixture->has_cluster) {
        unsigned wrong = cluster_add_worker_with(&fixture->cluster, 1, "gpu=1,fast=yes");
        unsigned right = cluster_add_worker_with(&fixture->cluster, 1, "gpu=7,fast=yes");
        assert_int_equal(netpool_wait(special, 60000, &result), NETPOOL_OK);
        assert_int_equal(number_of(&result), 49);
        assert_int_equal(worker_of(&fixture->cluster, result.pid), right);
        cluster_remove_worker(&fixture->cluster, wrong);
        cluster_remove_worker(&fixture->cluster, right);
    } else {
        assert_int_equal(netpool_cancel(special), NETPOOL_OK);
        assert_int_equal(netpool_wait(special, 60000, &result), NETPOOL_CANCELLED);
        assert_int_equal(result.failure->attempt, 0);
    }
    netpool_future_free(&special);
    netpool_close(&pool);
}

static void wide_task_has_its_slots_for_itself(void **state)
{
    const struct pool_fixture *fixture = *state;
    enum { COUNT = 40 };
    netpool *pool = pool_of(state);
    struct place place;
    netpool_future *futures[COUNT];
    char narrow[96];
    char wide[96];
    place_init(&place);
    (void)snprintf(narrow, sizeof narrow, "s %s/lock", place.directory);
    (void)snprintf(wide, sizeof wide, "x %s/lock", place.directory);
    const netpool_task_options all_slots = {.slots = worker_slots(fixture)};
    for (int i = 0; i < COUNT; i++) {
        futures[i] = submit_text(pool, "exclusive", i % 4 == 0 ? wide : narrow, i % 4 == 0 ? &all_slots : NULL);
    }
    for (int i = 0; i < COUNT; i++) {
        expect_ok(&futures[i]);
    }
    netpool_close(&pool);
    place_fini(&place);
}

static void task_wider_than_any_worker_waits_and_the_reason_is_told(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    const netpool_task_options options = {.slots = worker_slots(fixture) + 1};
    netpool_future *future = submit_number(pool, "square", 7, &options);
    wait_for_reason(pool, "slots");
    assert_int_equal(netpool_wait(future, 0, NULL), NETPOOL_TIMEOUT);
    netpool_terminate(&pool);
    assert_int_equal(netpool_wait(future, 0, NULL), NETPOOL_CANCELLED);
    netpool_future_free(&future);
}

static void a17_failing_task_is_tried_again_when_that_is_asked_for(void **state)
{
    netpool *pool = pool_of(state);
    netpool_result result;
    netpool_task_options options = {.max_attempts = 4, .retry_failures = true, .retry_delay_ms = 20};
    int64_t before = np_clock_now();
    netpool_future *future = submit_number(pool, "fail_until", 4, &options);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_OK);
    assert_int_equal(number_of(&result), 4);
    assert_int_equal(result.attempt, 4);
    assert_true(np_clock_now() - before >= (20 + 40 + 80) * NP_NS_PER_MS);
    netpool_future_free(&future);
    options.max_attempts = 3; /* not enough */
    options.retry_delay_ms = 0;
    future = submit_number(pool, "fail_until", 4, &options);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_FAILED);
    assert_string_equal(result.failure->message, "attempt 3 is too early");
    assert_int_equal(result.failure->attempt, 3);
    assert_int_equal(result.failure->attempt_count, 3);
    assert_int_equal(result.failure->attempts[0].attempt, 1);
    assert_int_equal(result.failure->attempts[0].status, NETPOOL_FAILED);
    assert_string_equal(result.failure->attempts[1].message, "attempt 2 is too early");
    netpool_future_free(&future);
    future = submit_number(pool, "fail_until", 2, NULL); /* not asked for */
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_FAILED);
    assert_int_equal(result.failure->attempt, 1);
    assert_int_equal(result.failure->attempt_count, 0);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a17_attempt_stopped_by_its_timeout_is_tried_again(void **state)
{
    netpool *pool = pool_of(state);
    netpool_result result;
    const netpool_task_options options = {.max_attempts = 2, .retry_failures = true, .timeout_ms = 50};
    netpool_future *future = submit_number(pool, "sleep_ms", 60000, &options);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_DEADLINE);
    assert_int_equal(result.failure->attempt, 2);
    assert_int_equal(result.failure->attempt_count, 2);
    assert_int_equal(result.failure->attempts[0].status, NETPOOL_DEADLINE);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a21_times_of_a_result_add_up(void **state)
{
    netpool *pool = pool_of(state);
    netpool_result result;
    netpool_future *futures[20];
    for (int i = 0; i < 20; i++) {
        futures[i] = submit_number(pool, "sleep_ms", 5, NULL);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(netpool_wait(futures[i], 60000, &result), NETPOOL_OK);
        assert_true(result.compute_ns >= 5 * NP_NS_PER_MS);
        assert_true(result.transfer_ns <= result.total_ns);
        if (result.transfer_ns > 0) {
            assert_int_equal(result.queue_ns + result.compute_ns + result.transfer_ns, result.total_ns);
        }
        netpool_future_free(&futures[i]);
    }
    netpool_close(&pool);
}

static void a16_expired_task_says_so_whoever_ended_it(void **state)
{
    netpool *pool = pool_of(state);
    netpool_result result;
    const netpool_task_options options = {.expiry_ms = 100};
    netpool_future *future = submit_number(pool, "sleep_ms", 60000, &options);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_DEADLINE);
    if (strstr(result.failure->message, "cancelled") != NULL) {
        fail_msg("%s", result.failure->message);
    }
    netpool_future_free(&future);
    netpool_close(&pool);
}

const struct CMUnitTest schedule_cases[] = {
    cmocka_unit_test(a22_tasks_of_a_lane_run_one_at_a_time_in_the_order_of_submission),
    cmocka_unit_test(a22_lane_keeps_its_order_when_its_worker_is_lost),
    cmocka_unit_test(task_with_a_label_waits_for_a_worker_that_has_it_and_the_reason_is_told),
    cmocka_unit_test(wide_task_has_its_slots_for_itself),
    cmocka_unit_test(task_wider_than_any_worker_waits_and_the_reason_is_told),
    cmocka_unit_test(a17_failing_task_is_tried_again_when_that_is_asked_for),
    cmocka_unit_test(a17_attempt_stopped_by_its_timeout_is_tried_again),
    cmocka_unit_test(a21_times_of_a_result_add_up),
    cmocka_unit_test(a16_expired_task_says_so_whoever_ended_it),
};
const size_t schedule_case_count = sizeof schedule_cases / sizeof schedule_cases[0];
