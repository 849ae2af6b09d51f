/* What executors do for a client's session beside its tasks: initializers, replacement after a number of tasks, and
 * what is told about tasks while they wait and run. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fake_broker.h"

enum { PIDS_MAX = 64 };

static const char *const modules[] = {FAULTS_MODULE};

static struct supervisor_options options_for(unsigned slots)
{
    return (struct supervisor_options){.name = "tested",
                                       .slots = slots,
                                       .modules = modules,
                                       .module_count = 1,
                                       .drain_grace_ms = 60000,
                                       .cancel_grace_ms = 200};
}

static void start(struct fake_broker *broker, unsigned slots)
{
    *broker = (struct fake_broker){.keeps_results = true, .is_greedy = true};
    struct supervisor_options options = options_for(slots);
    fake_broker_start(broker, &options);
}

/* Executors announce themselves, then sleep. */
static void prepare_to_announce(struct fake_broker *broker, const char *sleep_us)
{
    char input[256];
    size_t size = fake_broker_announcement(broker, sleep_us, input);
    fake_broker_prepare(broker, "announce", input, size, 0);
}

/* How often the process announced itself. */
static int announcements_of(struct fake_broker *broker, uint32_t pid)
{
    pid_t pids[PIDS_MAX];
    int count = fake_broker_announced(broker, pids, PIDS_MAX);
    int found = 0;
    for (int i = 0; i < count; i++) {
        found += (uint32_t)pids[i] == pid ? 1 : 0;
    }
    return found;
}

static void a9_initializer_runs_once_in_each_executor_before_its_first_task(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 2);
    pid_t pids[PIDS_MAX];
    fake_broker_assign(&broker, "noop", 1000, 50, "", 0); /* of the time before */
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 50);
    assert_int_equal(fake_broker_announced(&broker, pids, PIDS_MAX), 0);
    prepare_to_announce(&broker, "0");
    fake_broker_assign(&broker, "upper", 1, 200, "abc", 3);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 250);
    for (uint64_t seq = 1; seq <= 200; seq++) {
        struct fake_result *result = fake_broker_result(&broker, seq);
        assert_int_equal(result->count, 1);
        assert_memory_equal(result->data, "ABC", 3);
        assert_int_equal(announcements_of(&broker, result->pid), 1);
    }
    prepare_to_announce(&broker, "0"); /* the same again, as on a new link */
    fake_broker_assign(&broker, "upper", 201, 200, "abc", 3);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 450);
    for (uint64_t seq = 1; seq <= 400; seq++) {
        assert_int_equal(announcements_of(&broker, fake_broker_result(&broker, seq)->pid), 1);
    }
    assert_true(fake_broker_announced(&broker, pids, PIDS_MAX) <= 2);
    fake_broker_stop(&broker);
}

static void a9_replaced_executor_is_initialized_again(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    prepare_to_announce(&broker, "0");
    fake_broker_assign(&broker, "noop", 1, 5, "", 0);
    fake_broker_assign(&broker, "crash_segv", 6, 1, "", 0);
    fake_broker_assign(&broker, "noop", 7, 5, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 11);
    assert_int_equal(fake_broker_result(&broker, 6)->status, NETPOOL_CRASHED);
    assert_true(fake_broker_result(&broker, 6)->has_started);
    uint32_t before = fake_broker_result(&broker, 1)->pid;
    uint32_t after = fake_broker_result(&broker, 11)->pid;
    assert_int_not_equal(before, after);
    assert_int_equal(announcements_of(&broker, before), 1);
    assert_int_equal(announcements_of(&broker, after), 1);
    fake_broker_stop(&broker);
}

static void assert_refused(struct fake_broker *broker, uint64_t seq, const char *words)
{
    struct fake_result *result = fake_broker_result(broker, seq);
    assert_int_equal(result->count, 1);
    assert_int_equal(result->status, NETPOOL_NOT_INITIALIZED);
    assert_string_equal(result->message, words);
    assert_false(result->has_started);
}

static void a9_failing_initializer_answers_the_tasks_with_its_words(void **state)
{
    (void)state;
    static const struct {
        const char *initializer;
        const char *input;
        const char *words;
    } cases[] = {
        {"fail", "no such file", "initializer fail: no such file"},
        {"fail_silently", "16", "initializer fail_silently: function crashed its executor"},
        {"crash_segv", "", "initializer crash_segv crashed: SIGSEGV"},
        {"exit_now", "3", "initializer exit_now crashed: exit code 3"},
        {"no_such", "", "initializer no_such: this worker does not have that function"},
    };
    struct fake_broker broker;
    start(&broker, 2);
    uint64_t seq = 1;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_broker_prepare(&broker, cases[i].initializer, cases[i].input, strlen(cases[i].input), 0);
        fake_broker_assign(&broker, "noop", seq, 20, "", 0);
        FAKE_BROKER_UNTIL(&broker, broker.result_count == seq + 19);
        fake_broker_assign(&broker, "noop", seq + 20, 5, "", 0); /* on their way when it failed */
        FAKE_BROKER_UNTIL(&broker, broker.result_count == seq + 24);
        for (uint64_t end = seq + 25; seq < end; seq++) {
            assert_refused(&broker, seq, cases[i].words);
        }
    }
    fake_broker_prepare(&broker, "", "", 0, 0); /* forgotten */
    fake_broker_assign(&broker, "noop", seq, 1, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == seq);
    assert_int_equal(fake_broker_result(&broker, seq)->status, NETPOOL_OK);
    fake_broker_stop(&broker);
}

static void a9_failed_initializer_tells_how_its_executor_ended_and_what_it_printed(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_prepare(&broker, "crash_segv", "", 0, 0);
    fake_broker_assign(&broker, "noop", 1, 1, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 1);
    struct fake_result *result = fake_broker_result(&broker, 1);
    assert_int_equal(result->status, NETPOOL_NOT_INITIALIZED);
    assert_int_equal(result->signal, SIGSEGV);
    assert_string_equal(result->output, "about to crash\n");
    fake_broker_stop(&broker);
}

static void a9_deadline_of_a_task_does_not_count_its_initializer(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    prepare_to_announce(&broker, "3000000");
    const struct fake_assignment task = {
        .function = "noop", .first_seq = 1, .count = 1, .input = "", .timeout_ms = 2500};
    fake_broker_assign_as(&broker, &task);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 1);
    assert_int_equal(fake_broker_result(&broker, 1)->status, NETPOOL_OK);
    assert_true(fake_broker_result(&broker, 1)->wait_ns >= 3000 * NP_NS_PER_MS); /* a21: but it was waited for */
    fake_broker_stop(&broker);
}

static void a15_task_whose_initializer_runs_can_be_cancelled(void **state)
{
    (void)state;
    const uint64_t first = 1;
    pid_t pids[PIDS_MAX];
    struct fake_broker broker;
    start(&broker, 1);
    for (int round = 0; round < 2; round++) {
        const uint64_t seq = first + (uint64_t)round;
        prepare_to_announce(&broker, "600000000");
        fake_broker_assign(&broker, "noop", seq, 1, "", 0);
        FAKE_BROKER_UNTIL(&broker, fake_broker_announced(&broker, pids, PIDS_MAX) == 1 + round);
        if (round == 0) {
            fake_broker_cancel(&broker, &seq, 1);
        } else {
            fake_broker_cancel_unstarted(&broker, &seq, 1);
        }
        FAKE_BROKER_UNTIL(&broker, broker.result_count == seq);
        assert_int_equal(fake_broker_result(&broker, seq)->status, NETPOOL_CANCELLED);
        assert_false(fake_broker_result(&broker, seq)->has_started);
    }
    fake_broker_prepare(&broker, "", "", 0, 0);
    fake_broker_assign(&broker, "pid", 3, 1, "", 0); /* the initializer has been killed */
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 3);
    assert_int_equal(fake_broker_result(&broker, 3)->status, NETPOOL_OK);
    assert_int_not_equal(fake_broker_result(&broker, 3)->pid, pids[1]);
    fake_broker_stop(&broker);
}

static void initializer_that_no_task_waits_for_ends_with_its_session(void **state)
{
    (void)state;
    pid_t pids[PIDS_MAX];
    struct fake_broker broker;
    start(&broker, 1);
    prepare_to_announce(&broker, "600000000");
    fake_broker_assign(&broker, "noop", 1, 1, "", 0);
    FAKE_BROKER_UNTIL(&broker, fake_broker_announced(&broker, pids, PIDS_MAX) == 1);
    fake_broker_take_back(&broker, 1);
    FAKE_BROKER_UNTIL(&broker, broker.returned_ends == 1);
    assert_int_equal(broker.returned_count, 1);
    prepare_to_announce(&broker, "0"); /* another one instead */
    fake_broker_assign(&broker, "noop", 2, 1, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 1);
    assert_int_equal(fake_broker_result(&broker, 2)->status, NETPOOL_OK);
    assert_int_equal(announcements_of(&broker, fake_broker_result(&broker, 2)->pid), 1);
    fake_broker_stop(&broker);
}

static void b30_drain_gives_back_the_task_whose_initializer_runs(void **state)
{
    (void)state;
    pid_t pids[PIDS_MAX];
    struct fake_broker broker;
    start(&broker, 1);
    prepare_to_announce(&broker, "600000000");
    fake_broker_assign(&broker, "noop", 1, 3, "", 0);
    FAKE_BROKER_UNTIL(&broker, fake_broker_announced(&broker, pids, PIDS_MAX) == 1);
    assert_int_equal(kill(broker.supervisor, SIGTERM), 0);
    FAKE_BROKER_UNTIL(&broker, broker.is_closed);
    assert_int_equal(broker.returned_count, 3);
    assert_int_equal(broker.result_count, 0);
    assert_int_equal(fake_broker_reap(&broker), 0);
    fake_broker_stop(&broker);
}

/* All tasks are done, and consecutive ones had one executor `each` at a time. */
static void assert_executors_did(struct fake_broker *broker, uint64_t count, uint64_t each)
{
    for (uint64_t seq = 1; seq <= count; seq++) {
        struct fake_result *result = fake_broker_result(broker, seq);
        assert_int_equal(result->count, 1);
        assert_int_equal(result->status, NETPOOL_OK);
        if (seq > 1) {
            bool is_same = result->pid == fake_broker_result(broker, seq - 1)->pid;
            assert_int_equal(is_same, (seq - 1) % each != 0);
        }
    }
}

static void a10_executor_is_replaced_after_its_number_of_tasks_and_none_is_lost(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign(&broker, "noop", 1000, 100, "", 0); /* known to be quick: fed far ahead */
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 100);
    fake_broker_prepare(&broker, "", "", 0, 3);
    fake_broker_assign(&broker, "noop", 1, 40, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 140);
    assert_executors_did(&broker, 40, 3);
    fake_broker_stop(&broker);
}

static void a10_each_replacement_is_initialized_and_a_block_is_one_task(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    char input[256];
    size_t size = fake_broker_announcement(&broker, "0", input);
    fake_broker_prepare(&broker, "announce", input, size, 2);
    for (uint64_t seq = 1; seq <= 6; seq++) {
        fake_broker_assign_as(&broker, &(struct fake_assignment){.function = "upper",
                                                                 .first_seq = seq,
                                                                 .count = 1,
                                                                 .input = "abcdefgh",
                                                                 .size = 8,
                                                                 .item_in_size = 1,
                                                                 .item_out_size = 1});
    }
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 6);
    assert_executors_did(&broker, 6, 2);
    for (uint64_t seq = 1; seq <= 6; seq++) {
        assert_int_equal(announcements_of(&broker, fake_broker_result(&broker, seq)->pid), 1);
    }
    fake_broker_stop(&broker);
}

static void a10_worker_may_limit_its_executors_for_all_sessions(void **state)
{
    (void)state;
    struct fake_broker broker = {.keeps_results = true, .is_greedy = true};
    struct supervisor_options options = options_for(1);
    options.max_tasks_per_executor = 2;
    fake_broker_start(&broker, &options);
    fake_broker_assign(&broker, "noop", 1, 9, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 9);
    assert_executors_did(&broker, 9, 2);
    fake_broker_stop(&broker);
}

static void a15_only_what_has_not_started_is_cancelled(void **state)
{
    (void)state;
    const uint64_t seqs[] = {1, 2, 4};
    struct fake_broker broker;
    start(&broker, 1);
    char input[256];
    pid_t pids[PIDS_MAX];
    size_t size = fake_broker_announcement(&broker, "3000000", input); /* much longer than the grace */
    fake_broker_assign(&broker, "announce", 1, 1, input, size);
    FAKE_BROKER_UNTIL(&broker, fake_broker_announced(&broker, pids, PIDS_MAX) == 1);
    fake_broker_assign(&broker, "noop", 2, 3, "", 0);
    fake_broker_cancel_unstarted(&broker, seqs, 3);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 2);
    for (uint64_t seq = 2; seq <= 4; seq += 2) {
        assert_int_equal(fake_broker_result(&broker, seq)->status, NETPOOL_CANCELLED);
        assert_false(fake_broker_result(&broker, seq)->has_started);
    }
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 4);
    assert_int_equal(fake_broker_result(&broker, 1)->status, NETPOOL_OK); /* neither told nor killed */
    assert_int_equal(fake_broker_result(&broker, 3)->status, NETPOOL_OK);
    fake_broker_stop(&broker);
}

static void a15_failures_say_whether_the_task_had_started(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign(&broker, "fail", 1, 1, "bad luck", 8);
    fake_broker_assign(&broker, "no_such", 2, 1, "", 0);
    fake_broker_assign_as(
        &broker,
        &(struct fake_assignment){.function = "spin", .first_seq = 3, .count = 1, .input = "", .timeout_ms = 50});
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 3);
    assert_true(fake_broker_result(&broker, 1)->has_started);
    assert_false(fake_broker_result(&broker, 2)->has_started);
    assert_int_equal(fake_broker_result(&broker, 3)->status, NETPOOL_DEADLINE);
    assert_true(fake_broker_result(&broker, 3)->has_started);
    fake_broker_stop(&broker);
}

static void a21_wait_counts_from_arrival_to_start(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign(&broker, "sleep_us", 1, 3, "50000", 5); /* one message: they arrive together */
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 3);
    uint64_t before = 0;
    for (uint64_t seq = 1; seq <= 3; seq++) {
        struct fake_result *result = fake_broker_result(&broker, seq);
        assert_true(result->compute_ns >= 50 * NP_NS_PER_MS);
        assert_true(result->wait_ns >= before); /* what ran before it was waited for */
        before += result->compute_ns;
    }
    fake_broker_stop(&broker);
}

static void a21_executor_that_lies_about_its_start_has_waited_no_longer_than_possible(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    int64_t start = np_clock_now();
    fake_broker_assign(&broker, "scribble", 1, 1, "255", 3);
    fake_broker_assign(&broker, "scribble", 2, 1, "127", 3);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 2);
    uint64_t possible = (uint64_t)(np_clock_now() - start);
    assert_true(fake_broker_result(&broker, 1)->wait_ns <= possible);
    assert_true(fake_broker_result(&broker, 2)->wait_ns <= possible);
    fake_broker_stop(&broker);
}

static void a24_progress_of_what_runs_is_told_a_few_times_a_second(void **state)
{
    (void)state;
    const uint64_t seqs[] = {1, 2, 3};
    struct fake_broker broker;
    start(&broker, 3);
    int64_t start = np_clock_now();
    fake_broker_assign(&broker, "report", 1, 1, "30 100", 6);
    fake_broker_assign(&broker, "report", 2, 1, "1+ 1000000", 10);
    fake_broker_assign(&broker, "spin", 3, 1, "", 0); /* tells nothing */
    (void)fake_broker_result(&broker, 100);           /* makes room: the results stay where they are */
    struct fake_result *still = fake_broker_result(&broker, 1);
    struct fake_result *moving = fake_broker_result(&broker, 2);
    FAKE_BROKER_UNTIL(&broker, still->progress > 0 && moving->progress > 0);
    assert_int_equal(still->done, 30);
    assert_int_equal(still->total, 100);
    uint64_t first = moving->done;
    FAKE_BROKER_UNTIL(&broker, moving->progress >= 5);
    assert_true(moving->done > first);
    assert_int_equal(moving->total, 1000000);
    assert_true(moving->progress <= (np_clock_now() - start) / (200 * NP_NS_PER_MS) + 1);
    assert_int_equal(still->progress, 1); /* nothing has changed */
    assert_int_equal(fake_broker_result(&broker, 3)->progress, 0);
    fake_broker_cancel(&broker, seqs, 3);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 3);
    fake_broker_stop(&broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a9_initializer_runs_once_in_each_executor_before_its_first_task),
        cmocka_unit_test(a9_replaced_executor_is_initialized_again),
        cmocka_unit_test(a9_failing_initializer_answers_the_tasks_with_its_words),
        cmocka_unit_test(a9_failed_initializer_tells_how_its_executor_ended_and_what_it_printed),
        cmocka_unit_test(a9_deadline_of_a_task_does_not_count_its_initializer),
        cmocka_unit_test(a15_task_whose_initializer_runs_can_be_cancelled),
        cmocka_unit_test(initializer_that_no_task_waits_for_ends_with_its_session),
        cmocka_unit_test(b30_drain_gives_back_the_task_whose_initializer_runs),
        cmocka_unit_test(a10_executor_is_replaced_after_its_number_of_tasks_and_none_is_lost),
        cmocka_unit_test(a10_each_replacement_is_initialized_and_a_block_is_one_task),
        cmocka_unit_test(a10_worker_may_limit_its_executors_for_all_sessions),
        cmocka_unit_test(a15_only_what_has_not_started_is_cancelled),
        cmocka_unit_test(a15_failures_say_whether_the_task_had_started),
        cmocka_unit_test(a21_wait_counts_from_arrival_to_start),
        cmocka_unit_test(a21_executor_that_lies_about_its_start_has_waited_no_longer_than_possible),
        cmocka_unit_test(a24_progress_of_what_runs_is_told_a_few_times_a_second),
    };
    return cmocka_run_group_tests_name("worker sessions", tests, NULL, NULL);
}
