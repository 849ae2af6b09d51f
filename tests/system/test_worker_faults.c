/* What executors do wrong costs the task that did it and nothing else. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/random.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fake_broker.h"

static const char *const modules[] = {FAULTS_MODULE};

static void start(struct fake_broker *broker, unsigned slots)
{
    *broker = (struct fake_broker){.keeps_results = true, .is_greedy = true};
    struct supervisor_options options = {
        .name = "tested", .slots = slots, .modules = modules, .module_count = 1, .drain_grace_ms = 60000};
    fake_broker_start(broker, &options);
}

static void b2_crash_costs_one_attempt_of_the_running_task_only(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign(&broker, "noop", 1000, 100, "", 0); /* known to be quick: fed far ahead */
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 100);
    fake_broker_assign(&broker, "noop", 1, 5, "", 0);
    fake_broker_assign(&broker, "crash_segv", 6, 1, "", 0);
    fake_broker_assign(&broker, "noop", 7, 50, "", 0);
    fake_broker_assign(&broker, "crash_abort", 57, 1, "", 0);
    fake_broker_assign(&broker, "exit_now", 58, 1, "3", 1);
    fake_broker_assign(&broker, "exit_now", 59, 1, "0", 1);
    fake_broker_assign(&broker, "upper", 60, 1, "x", 1);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 160);
    for (uint64_t seq = 1; seq <= 60; seq++) {
        struct fake_result *result = fake_broker_result(&broker, seq);
        assert_int_equal(result->count, 1);
        bool crashes = seq == 6 || (seq >= 57 && seq <= 59);
        assert_int_equal(result->status, crashes ? NETPOOL_CRASHED : NETPOOL_OK);
    }
    struct fake_result *segv = fake_broker_result(&broker, 6);
    assert_int_equal(segv->signal, SIGSEGV);
    assert_non_null(strstr(segv->message, "SIGSEGV"));
    assert_string_equal(segv->output, "about to crash\n");
    assert_int_equal(fake_broker_result(&broker, 57)->signal, SIGABRT);
    assert_int_equal(fake_broker_result(&broker, 58)->signal, 0);
    assert_int_equal(fake_broker_result(&broker, 58)->exit_code, 3);
    assert_non_null(strstr(fake_broker_result(&broker, 59)->message, "exited with code 0"));
    fake_broker_stop(&broker);
}

static void b35_flood_of_output_keeps_a_bounded_tail_and_blocks_nothing(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 2);
    fake_broker_assign(&broker, "flood", 1, 2, "20000000", 8);
    fake_broker_assign(&broker, "flood", 3, 1, "1000", 4);
    fake_broker_assign(&broker, "fail", 4, 8, "quiet", 5);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 11);
    for (uint64_t seq = 1; seq <= 2; seq++) {
        struct fake_result *result = fake_broker_result(&broker, seq);
        assert_int_equal(result->status, NETPOOL_FAILED);
        assert_int_equal(result->output_size, NP_ERROR_OUTPUT_MAX);
        assert_true(result->is_output_truncated);
        assert_string_equal(result->output + result->output_size - 7, "the end");
    }
    struct fake_result *small = fake_broker_result(&broker, 3);
    assert_false(small->is_output_truncated);
    assert_int_equal(small->output_size, 1007);
    fake_broker_stop(&broker);
}

static void b34_grandchildren_and_deaf_functions_end_with_their_group(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    char input[256];
    pid_t children[4] = {0};
    size_t size = fake_broker_announcement(&broker, "", input);
    const uint64_t deaf = 1;
    fake_broker_assign(&broker, "fork_and_hang", deaf, 1, input, size);
    FAKE_BROKER_UNTIL(&broker, fake_broker_announced(&broker, children, 4) == 1);
    fake_broker_cancel(&broker, &deaf, 1);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 1);
    assert_int_equal(fake_broker_result(&broker, deaf)->status, NETPOOL_CANCELLED);
    assert_int_equal(fake_broker_result(&broker, deaf)->signal, SIGKILL);
    FAKE_BROKER_UNTIL(&broker, !process_exists(children[0]));
    fake_broker_stop(&broker);
}

static void b34_executor_without_descriptors_is_replaced_and_directory_is_restored(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign(&broker, "pid", 1, 1, "", 0);
    fake_broker_assign(&broker, "close_all", 2, 1, "kept", 4);
    fake_broker_assign(&broker, "pid", 3, 1, "", 0);
    fake_broker_assign(&broker, "directory", 4, 1, "", 0);
    fake_broker_assign(&broker, "directory", 5, 1, "/proc", 5);
    fake_broker_assign(&broker, "directory", 6, 1, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 6);
    assert_int_equal(fake_broker_result(&broker, 2)->status, NETPOOL_OK); /* its result was out already */
    assert_memory_equal(fake_broker_result(&broker, 2)->data, "kept", 4);
    assert_int_not_equal(fake_broker_result(&broker, 1)->pid, fake_broker_result(&broker, 3)->pid);
    struct fake_result *before = fake_broker_result(&broker, 4);
    struct fake_result *after = fake_broker_result(&broker, 6);
    assert_int_equal(before->size, after->size);
    assert_memory_equal(before->data, after->data, after->size);
    fake_broker_stop(&broker);
}

static void b33_function_that_writes_over_shared_memory_costs_itself_only(void **state)
{
    (void)state;
    static const char *const bytes[] = {"255", "0", "1", "127"};
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign(&broker, "noop", 1000, 100, "", 0); /* quick: others are fed behind */
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 100);
    for (size_t i = 0; i < 4; i++) {
        fake_broker_assign(&broker, "scribble", 1 + 20 * i, 1, bytes[i], strlen(bytes[i]));
        fake_broker_assign(&broker, "upper", 2 + 20 * i, 19, "abc", 3);
    }
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 180);
    for (uint64_t seq = 1; seq <= 80; seq++) {
        struct fake_result *result = fake_broker_result(&broker, seq);
        assert_int_equal(result->count, 1);
        if (seq % 20 == 1) {
            assert_true(result->status == NETPOOL_CRASHED || result->status == NETPOOL_OK);
        } else {
            assert_int_equal(result->status, NETPOOL_OK);
            assert_memory_equal(result->data, "ABC", 3);
        }
    }
    fake_broker_stop(&broker);
}

/* Assigns again, with the next attempt, what crashed: what the broker would do. */
static void retry_crashed(struct fake_broker *broker, uint64_t count, size_t *retries)
{
    for (uint64_t seq = 1; seq <= count; seq++) {
        struct fake_result *result = fake_broker_result(broker, seq);
        if (result->count > 0 && result->status == NETPOOL_CRASHED) {
            struct fake_assignment again = {
                .function = "noop", .first_seq = seq, .count = 1, .input = "", .attempt = result->attempt + 1};
            result->count = 0;
            result->status = NETPOOL_OK;
            (*retries)++;
            fake_broker_assign_as(broker, &again);
        }
    }
}

static void b36_executors_killed_at_random_lose_no_task_and_leave_nothing_behind(void **state)
{
    (void)state;
    enum { PORTION = 1000, PORTIONS = 100, TASKS = PORTION * PORTIONS, SLOTS = 4 };
    struct fake_broker broker;
    start(&broker, SLOTS);
    broker.keeps_results = false;
    const char *seed = getenv("NETPOOL_TEST_SEED");
    struct np_random random = {.state = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)np_clock_now()};
    print_message("NETPOOL_TEST_SEED=%llu\n", (unsigned long long)random.state);
    pid_t zygote = 0;
    assert_int_equal(process_children(broker.supervisor, &zygote, 1), 1);
    fake_broker_assign(&broker, "sleep_us", TASKS + 1, 100, "10", 2);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 100);
    int descriptors = process_descriptors(broker.supervisor);
    int zygote_descriptors = process_descriptors(zygote);
    size_t kills = 0;
    size_t retries = 0;
    for (size_t sent = 0; broker.result_count - 100 < TASKS + retries || sent < TASKS;) {
        if (broker.result_count - 100 == sent + retries) {
            bool is_quick = sent / PORTION % 2 == 0; /* else likely to be killed while it runs */
            fake_broker_assign(&broker, is_quick ? "noop" : "sleep_us", 1 + sent, PORTION, "50", 2);
            sent += PORTION;
            fake_broker_turn(&broker, 20);
            pid_t executors[SLOTS + 1];
            int count = process_children(zygote, executors, SLOTS + 1);
            kills += count > 0 && kill(executors[np_random_below(&random, (uint64_t)count)], SIGKILL) == 0;
        }
        fake_broker_turn(&broker, 20);
        if (broker.result_count - 100 == sent + retries) {
            retry_crashed(&broker, sent, &retries);
        }
    }
    for (uint64_t seq = 1; seq <= TASKS; seq++) {
        assert_int_equal(fake_broker_result(&broker, seq)->count, 1);
        assert_int_equal(fake_broker_result(&broker, seq)->status, NETPOOL_OK);
    }
    print_message("%zu executors killed, %zu tasks cost an attempt\n", kills, retries);
    assert_true(kills > 10);
    assert_true(retries <= kills);
    FAKE_BROKER_UNTIL(&broker, process_descriptors(broker.supervisor) == descriptors);
    FAKE_BROKER_UNTIL(&broker, process_zombies(broker.supervisor) == 0);
    FAKE_BROKER_UNTIL(&broker, process_descriptors(zygote) == zygote_descriptors);
    fake_broker_stop(&broker);
}

static void executors_and_zygote_end_with_a_killed_supervisor(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 2);
    char input[256];
    pid_t executors[4] = {0};
    size_t size = fake_broker_announcement(&broker, "60000000", input);
    fake_broker_assign(&broker, "announce", 1, 2, input, size);
    FAKE_BROKER_UNTIL(&broker, fake_broker_announced(&broker, executors, 4) == 2);
    pid_t zygote = 0;
    assert_int_equal(process_children(broker.supervisor, &zygote, 1), 1);
    assert_int_equal(kill(broker.supervisor, SIGKILL), 0);
    assert_int_equal(fake_broker_reap(&broker), 128 + SIGKILL);
    FAKE_BROKER_UNTIL(&broker, !process_exists(zygote));
    FAKE_BROKER_UNTIL(&broker, !process_exists(executors[0]) && !process_exists(executors[1]));
    fake_broker_stop(&broker);
}

/* Memory for large payloads is a matter of speed only. */
static void descriptors_that_are_few_are_for_executors(void **state)
{
    (void)state;
    enum { SLOTS = 24 };
    struct rlimit before;
    struct fake_broker broker;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){80, before.rlim_max}), 0);
    start(&broker, SLOTS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    pid_t zygote = 0;
    pid_t executors[SLOTS + 1];
    assert_int_equal(process_children(broker.supervisor, &zygote, 1), 1);
    FAKE_BROKER_UNTIL(&broker, process_children(zygote, executors, SLOTS + 1) == SLOTS);
    fake_broker_stop(&broker);
}

/* Other workers may do its tasks. */
static void worker_that_can_start_no_executor_gives_its_tasks_back_and_ends(void **state)
{
    (void)state;
    const struct rlimit none = {0, 0};
    struct fake_broker broker;
    start(&broker, 2);
    fake_broker_assign(&broker, "noop", 1, 10, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 10);
    assert_int_equal(prlimit(broker.supervisor, RLIMIT_NOFILE, &none, NULL), 0);
    fake_broker_assign(&broker, "exit_now", 11, 2, "3", 1);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 12);
    fake_broker_assign(&broker, "noop", 13, 5, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.is_closed);
    assert_true(broker.has_drained);
    assert_int_equal(broker.returned_count, 5);
    assert_int_equal(broker.closed_status, NETPOOL_SYSTEM);
    assert_int_equal(fake_broker_reap(&broker), 1);
    fake_broker_stop(&broker);
}

static void b32_module_that_does_not_load_is_refused_with_its_name(void **state)
{
    (void)state;
    const char *const missing[] = {"/nonexistent/module.so"};
    struct supervisor_options options = {.slots = 1, .modules = missing, .module_count = 1, .ready_fd = -1};
    struct supervisor *supervisor = NULL;
    netpool_error error;
    assert_int_equal(supervisor_new(&supervisor, &options, &error), NETPOOL_BAD_MODULE);
    assert_null(supervisor);
    assert_non_null(strstr(error.message, "/nonexistent/module.so"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b2_crash_costs_one_attempt_of_the_running_task_only),
        cmocka_unit_test(b35_flood_of_output_keeps_a_bounded_tail_and_blocks_nothing),
        cmocka_unit_test(b34_grandchildren_and_deaf_functions_end_with_their_group),
        cmocka_unit_test(b34_executor_without_descriptors_is_replaced_and_directory_is_restored),
        cmocka_unit_test(b33_function_that_writes_over_shared_memory_costs_itself_only),
        cmocka_unit_test(b36_executors_killed_at_random_lose_no_task_and_leave_nothing_behind),
        cmocka_unit_test(executors_and_zygote_end_with_a_killed_supervisor),
        cmocka_unit_test(descriptors_that_are_few_are_for_executors),
        cmocka_unit_test(worker_that_can_start_no_executor_gives_its_tasks_back_and_ends),
        cmocka_unit_test(b32_module_that_does_not_load_is_refused_with_its_name),
    };
    return cmocka_run_group_tests_name("worker faults", tests, NULL, NULL);
}
