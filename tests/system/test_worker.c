/* A supervisor with its executors does what a broker asks: results, batches, cancellation, withdrawal, draining, and
 * coming back after a broken link. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fake_broker.h"

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

static void worker_introduces_itself_and_returns_results(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 2);
    assert_int_equal(broker.hello_slots, 2);
    assert_true(broker.hello_functions >= 18);
    assert_false(broker.hello_resume);
    fake_broker_assign(&broker, "upper", 1, 10, "hello", 5);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 10);
    for (uint64_t seq = 1; seq <= 10; seq++) {
        struct fake_result *result = fake_broker_result(&broker, seq);
        assert_int_equal(result->count, 1);
        assert_int_equal(result->status, NETPOOL_OK);
        assert_int_equal(result->size, 5);
        assert_memory_equal(result->data, "HELLO", 5);
        assert_true(result->pid > 0);
    }
    fake_broker_stop(&broker);
}

static void failures_carry_their_words_and_are_not_crashes(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign(&broker, "fail", 1, 1, "bad luck", 8);
    fake_broker_assign(&broker, "fail_silently", 2, 1, "16", 2); /* CRASHED is not a function's to say */
    fake_broker_assign(&broker, "no_such", 3, 2, "", 0);
    fake_broker_assign(&broker, "noop", 5, 1, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 5);
    assert_int_equal(fake_broker_result(&broker, 1)->status, NETPOOL_FAILED);
    assert_string_equal(fake_broker_result(&broker, 1)->message, "bad luck");
    assert_int_equal(fake_broker_result(&broker, 2)->status, NETPOOL_FAILED);
    assert_string_equal(fake_broker_result(&broker, 2)->message, netpool_status_text(NETPOOL_CRASHED));
    assert_int_equal(fake_broker_result(&broker, 3)->status, NETPOOL_NO_SUCH_FUNCTION);
    assert_int_equal(fake_broker_result(&broker, 4)->status, NETPOOL_NO_SUCH_FUNCTION);
    assert_int_equal(fake_broker_result(&broker, 5)->status, NETPOOL_OK); /* b33: no result is an empty result */
    assert_int_equal(fake_broker_result(&broker, 5)->size, 0);
    fake_broker_stop(&broker);
}

static void payloads_of_every_size_come_back_as_they_went(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 2);
    const size_t sizes[] = {0, 1, 15, 16, 17, 4095, 65535, 65536, 65537, 131072, 262144, 262145, 1 << 20, 9999999};
    const size_t count = sizeof sizes / sizeof sizes[0];
    uint8_t *bytes = malloc(sizes[count - 1]);
    for (size_t i = 0; i < sizes[count - 1]; i++) {
        bytes[i] = (uint8_t)(i * 31 + i / 4096);
    }
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < count; i++) {
            fake_broker_assign(&broker, "echo", 1 + round * count + i, 1, bytes, sizes[i]);
        }
    }
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 3 * count);
    for (size_t i = 0; i < 3 * count; i++) {
        struct fake_result *result = fake_broker_result(&broker, 1 + i);
        assert_int_equal(result->size, sizes[i % count]);
        assert_memory_equal(result->data, bytes, result->size);
    }
    free(bytes);
    fake_broker_stop(&broker);
}

static void many_small_results_travel_in_batches(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 2);
    fake_broker_assign(&broker, "noop", 1, 50000, "", 0);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 50000);
    for (uint64_t seq = 1; seq <= 50000; seq++) {
        assert_int_equal(fake_broker_result(&broker, seq)->count, 1);
    }
    assert_true(broker.batch_count < 50000);
    fake_broker_stop(&broker);
}

static void blocks_of_items_are_computed_item_by_item(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign_as(&broker, &(struct fake_assignment){.function = "upper",
                                                             .first_seq = 1,
                                                             .count = 1,
                                                             .input = "abcdefgh",
                                                             .size = 8,
                                                             .item_in_size = 2,
                                                             .item_out_size = 2});
    fake_broker_assign_as(&broker, &(struct fake_assignment){.function = "upper",
                                                             .first_seq = 2,
                                                             .count = 1,
                                                             .input = "abcdefgh",
                                                             .size = 8,
                                                             .item_in_size = 2,
                                                             .item_out_size = 3});
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 2);
    assert_int_equal(fake_broker_result(&broker, 1)->status, NETPOOL_OK);
    assert_memory_equal(fake_broker_result(&broker, 1)->data, "ABCDEFGH", 8);
    assert_int_equal(fake_broker_result(&broker, 2)->status, NETPOOL_FAILED);
    fake_broker_stop(&broker);
}

static void cancelled_tasks_end_whether_they_run_or_wait(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign(&broker, "sleep_politely", 1, 1, "20000000", 8);
    fake_broker_assign(&broker, "noop", 2, 3, "", 0);
    const uint64_t first[] = {3, 1};
    fake_broker_cancel(&broker, first, 2);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 4);
    assert_int_equal(fake_broker_result(&broker, 1)->status, NETPOOL_CANCELLED);
    assert_int_equal(fake_broker_result(&broker, 2)->status, NETPOOL_OK);
    assert_int_equal(fake_broker_result(&broker, 3)->status, NETPOOL_CANCELLED);
    assert_int_equal(fake_broker_result(&broker, 4)->status, NETPOOL_OK);
    fake_broker_assign(&broker, "spin", 10, 1, "", 0); /* does not listen: killed after the grace */
    fake_broker_assign(&broker, "pid", 11, 1, "", 0);
    const uint64_t second[] = {10};
    fake_broker_cancel(&broker, second, 1);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 6);
    assert_int_equal(fake_broker_result(&broker, 10)->status, NETPOOL_CANCELLED);
    assert_int_equal(fake_broker_result(&broker, 11)->status, NETPOOL_OK);
    fake_broker_stop(&broker);
}

static void deadline_kills_what_runs_too_long_and_nothing_else(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    const struct fake_assignment spin = {
        .function = "spin", .first_seq = 1, .count = 1, .input = "", .timeout_ms = 100};
    const struct fake_assignment quick = {
        .function = "sleep_us", .first_seq = 2, .count = 5, .input = "30000", .size = 5, .timeout_ms = 5000};
    int64_t start = np_clock_now();
    fake_broker_assign_as(&broker, &spin);
    fake_broker_assign_as(&broker, &quick);
    FAKE_BROKER_UNTIL(&broker, broker.result_count >= 1);
    assert_int_equal(fake_broker_result(&broker, 1)->status, NETPOOL_DEADLINE);
    assert_true(np_clock_now() - start >= 100 * NP_NS_PER_MS);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 6);
    for (uint64_t seq = 2; seq <= 6; seq++) {
        assert_int_equal(fake_broker_result(&broker, seq)->status, NETPOOL_OK);
    }
    fake_broker_stop(&broker);
}

static void withdrawn_count_gives_back_unstarted_tasks_last_first(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_assign(&broker, "noop", 1000, 100, "", 0); /* its time is known: more will be fed ahead */
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 100);
    fake_broker_start_long(&broker, 1);
    fake_broker_assign(&broker, "noop", 2, 9, "", 0);
    fake_broker_take_back(&broker, 4);
    FAKE_BROKER_UNTIL(&broker, broker.returned_ends == 1);
    assert_int_equal(broker.returned_count, 4);
    for (uint64_t seq = 7; seq <= 10; seq++) {
        assert_true(fake_broker_result(&broker, seq)->is_returned);
    }
    fake_broker_end_long(&broker, 1);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 106);
    fake_broker_take_back(&broker, 5);
    FAKE_BROKER_UNTIL(&broker, broker.returned_ends == 2);
    assert_int_equal(broker.returned_count, 4);
    fake_broker_stop(&broker);
}

static void straggler_holds_nothing_back_from_an_idle_executor(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 2);
    fake_broker_assign(&broker, "sleep_politely", 1000, 400, "0", 1); /* now it is thought to be quick */
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 400);
    fake_broker_assign(&broker, "sleep_politely", 1, 1, "600000000", 9); /* longer than this test waits */
    fake_broker_assign(&broker, "sleep_politely", 2, 20, "0", 1);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 420);
    assert_int_equal(fake_broker_result(&broker, 1)->count, 0);
    fake_broker_end_long(&broker, 1);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 421);
    fake_broker_stop(&broker);
}

static void results_wait_for_credit_and_none_is_lost(void **state)
{
    (void)state;
    struct fake_broker broker = {.keeps_results = true, .credit_bytes = 100000};
    struct supervisor_options options = options_for(2);
    fake_broker_start(&broker, &options);
    fake_broker_assign(&broker, "produce", 1, 3000, "40000", 5);
    FAKE_BROKER_UNTIL(&broker, broker.result_count >= 2);
    for (int i = 0; i < 20; i++) {
        fake_broker_turn(&broker, 10);
        assert_true(broker.result_bytes <= 100000);
    }
    broker.is_greedy = true; /* from now on it grants more with each batch, starting here */
    broker.credit_bytes = 1 << 20;
    Np__Credit credit = NP__CREDIT__INIT;
    credit.bytes = broker.credit_bytes;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CREDIT;
    envelope.credit = &credit;
    assert_int_equal(channel_send(broker.channel, &envelope, NULL, 0, CHANNEL_URGENT), NETPOOL_OK);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 3000);
    fake_broker_stop(&broker);
}

static void b30_sigterm_drains_and_gives_back_what_has_not_started(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 2);
    char input[256];
    pid_t pids[4];
    size_t size = fake_broker_announcement(&broker, "400000", input);
    fake_broker_assign(&broker, "announce", 1, 52, input, size);
    fake_broker_assign(&broker, "noop", 100, 1, "", 0);
    FAKE_BROKER_UNTIL(&broker, fake_broker_announced(&broker, pids, 4) == 2);
    assert_int_equal(kill(broker.supervisor, SIGTERM), 0);
    FAKE_BROKER_UNTIL(&broker, broker.is_closed);
    assert_true(broker.has_drained);
    assert_int_equal(broker.closed_status, NETPOOL_CLOSED);
    assert_true(broker.result_count >= 2); /* more where the machine was slower than the functions */
    assert_true(broker.returned_count >= 1);
    assert_int_equal(broker.result_count + broker.returned_count, 53);
    assert_int_equal(fake_broker_reap(&broker), 0);
    fake_broker_stop(&broker);
}

static void second_sigterm_ends_at_once(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    char input[256];
    pid_t pids[4];
    size_t size = fake_broker_announcement(&broker, "60000000", input);
    fake_broker_assign(&broker, "announce", 1, 1, input, size);
    FAKE_BROKER_UNTIL(&broker, fake_broker_announced(&broker, pids, 4) == 1);
    assert_int_equal(kill(broker.supervisor, SIGTERM), 0);
    FAKE_BROKER_UNTIL(&broker, broker.has_drained);
    assert_int_equal(kill(broker.supervisor, SIGTERM), 0);
    assert_int_equal(fake_broker_reap(&broker), 1); /* which waits for half as long as the drain's grace */
    fake_broker_stop(&broker);
}

static void worker_that_comes_back_says_what_it_holds_and_delivers_it(void **state)
{
    (void)state;
    struct fake_broker broker;
    start(&broker, 1);
    fake_broker_start_long(&broker, 1);
    fake_broker_assign(&broker, "noop", 2, 3, "", 0);
    fake_broker_take_back(&broker, 1);
    FAKE_BROKER_UNTIL(&broker, broker.returned_ends == 1); /* so the others have arrived */
    fake_broker_cut(&broker);
    FAKE_BROKER_UNTIL(&broker, broker.ready_count == 2);
    assert_true(broker.hello_resume);
    assert_int_equal(broker.held_count, 3);
    fake_broker_assign(&broker, "noop", 4, 1, "", 0);
    fake_broker_end_long(&broker, 1);
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 4);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        assert_int_equal(fake_broker_result(&broker, seq)->count, 1);
    }
    fake_broker_stop(&broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worker_introduces_itself_and_returns_results),
        cmocka_unit_test(failures_carry_their_words_and_are_not_crashes),
        cmocka_unit_test(payloads_of_every_size_come_back_as_they_went),
        cmocka_unit_test(many_small_results_travel_in_batches),
        cmocka_unit_test(blocks_of_items_are_computed_item_by_item),
        cmocka_unit_test(cancelled_tasks_end_whether_they_run_or_wait),
        cmocka_unit_test(deadline_kills_what_runs_too_long_and_nothing_else),
        cmocka_unit_test(withdrawn_count_gives_back_unstarted_tasks_last_first),
        cmocka_unit_test(straggler_holds_nothing_back_from_an_idle_executor),
        cmocka_unit_test(results_wait_for_credit_and_none_is_lost),
        cmocka_unit_test(b30_sigterm_drains_and_gives_back_what_has_not_started),
        cmocka_unit_test(second_sigterm_ends_at_once),
        cmocka_unit_test(worker_that_comes_back_says_what_it_holds_and_delivers_it),
    };
    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
