/* What tasks ask for beyond being run, and a pool of its executors: that the client's half of the protocol says it,
 * as often as it must, and hears the answers. */
#include <string.h>

#include "common/clock.h"
#include "tests/unit/dialogue_lab.h"

static const struct np_task_kind square = {.function = "square"};
static const struct lab_welcome generous = {.credit_tasks = 1 << 20, .credit_bytes = 1 << 30};
static const struct lab_welcome resumed = {
    .resumed = true, .received_seq = 1000, .credit_tasks = 1 << 20, .credit_bytes = 1 << 30};

static int set_up(void **state)
{
    static struct lab lab;
    lab_init(&lab);
    *state = &lab;
    return 0;
}

static int set_up_prepared(void **state)
{
    static struct lab lab;
    lab_init_prepared(&lab,
                      (struct dialogue_preparation){
                          .initializer = "warm_up", .input = "model", .input_size = 5, .max_tasks_per_executor = 7});
    *state = &lab;
    return 0;
}

static int tear_down(void **state)
{
    lab_fini(*state);
    return 0;
}

static const Np__Submit *submit_at(const struct lab *lab, size_t i)
{
    return lab_sent(lab, i, NP__ENVELOPE__KIND_SUBMIT)->submit;
}

static const Np__Cancel *cancel_at(const struct lab *lab, size_t i)
{
    return lab_sent(lab, i, NP__ENVELOPE__KIND_CANCEL)->cancel;
}

static void a22_lanes_are_a_column_that_tasks_without_lanes_do_without(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    lab_submit(lab, 1, &square, "b", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(submit_at(lab, 0)->n_lanes, 0);
    lab_submit(lab, 2, &square, "c", 1);
    lab_submit_in_lane(lab, 3, &square, 77);
    lab_submit_in_lane(lab, 4, &square, UINT64_MAX);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 1);
    const Np__Submit *submit = submit_at(lab, 0);
    assert_int_equal(submit->n_lanes, 3);
    assert_int_equal(submit->lanes[0], 0);
    assert_int_equal(submit->lanes[1], 77);
    assert_true(submit->lanes[2] == UINT64_MAX);
}

static void a22_lane_keeps_its_numbers_and_order_with_a_new_broker(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    for (size_t i = 0; i < 4; i++) {
        lab_submit_in_lane(lab, i, &square, 5 + i % 2);
    }
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_result(lab, 2, "x"), NETPOOL_OK);
    dialogue_disconnect(lab->dialogue);
    lab_submit_in_lane(lab, 5, &square, 5);
    assert_int_equal(lab_welcome(lab, generous), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 2);
    const Np__Submit *again = submit_at(lab, 0);
    assert_true(again->resumed);
    assert_int_equal(again->n_seqs, 3);
    assert_int_equal(again->n_lanes, 3);
    const uint64_t seqs[] = {1, 3, 4};
    const uint64_t lanes[] = {5, 5, 6};
    assert_memory_equal(again->seqs, seqs, sizeof seqs);
    assert_memory_equal(again->lanes, lanes, sizeof lanes);
    assert_false(submit_at(lab, 1)->resumed); /* behind them, as it was never sent */
    assert_int_equal(submit_at(lab, 1)->seqs[0], 5);
    assert_int_equal(submit_at(lab, 1)->lanes[0], 5);
}

static void a17_wishes_of_a_kind_are_said_and_part_batches(void **state)
{
    struct lab *lab = *state;
    static const char *const labels[] = {"gpu=1", "fast"};
    static const struct np_task_kind kinds[] = {
        {.function = "square"},
        {.function = "square", .labels = labels, .label_count = 2},
        {.function = "square", .slots = 3},
        {.function = "square", .retry_delay_ms = 250},
        {.function = "square", .retry_delay_ms = 250, .retry_failures = true},
        {.function = "square", .retry_delay_ms = 250, .retry_failures = true},
    };
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    lab_open(lab);
    for (size_t i = 0; i < KINDS; i++) {
        lab_submit(lab, i, &kinds[i], "a", 1);
    }
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, KINDS - 1); /* the last two are alike */
    assert_int_equal(submit_at(lab, 0)->n_labels, 0);
    assert_int_equal(submit_at(lab, 1)->n_labels, 2);
    assert_string_equal(submit_at(lab, 1)->labels[0], "gpu=1");
    assert_string_equal(submit_at(lab, 1)->labels[1], "fast");
    assert_int_equal(submit_at(lab, 2)->slots, 3);
    assert_int_equal(submit_at(lab, 2)->n_labels, 0);
    assert_int_equal(submit_at(lab, 3)->retry_delay_ms, 250);
    assert_false(submit_at(lab, 3)->retry_failures);
    assert_true(submit_at(lab, 4)->retry_failures);
    assert_int_equal(submit_at(lab, 4)->n_seqs, 2);
}

static void a9_a10_preparation_goes_before_any_task_and_with_each_link(void **state)
{
    struct lab *lab = *state;
    lab_submit(lab, 0, &square, "a", 1);
    for (int link = 0; link < 3; link++) {
        assert_int_equal(lab_welcome(lab, link == 1 ? resumed : generous), NETPOOL_OK);
        assert_true(dialogue_has_output(lab->dialogue));
        assert_int_equal(lab_flush(lab), NETPOOL_OK);
        const Np__Prepare *prepare = lab_sent(lab, 0, NP__ENVELOPE__KIND_PREPARE)->prepare;
        assert_string_equal(prepare->initializer, "warm_up");
        assert_int_equal(prepare->max_tasks_per_executor, 7);
        assert_int_equal(prepare->session.len, 0);
        assert_int_equal(lab->sent[0].body_size, 5);
        assert_memory_equal(lab->sent[0].body, "model", 5);
        assert_int_equal(lab->sent_count, link == 1 ? 1 : 2);
        assert_int_equal(lab_flush(lab), NETPOOL_OK);
        assert_int_equal(lab->sent_count, 0); /* once a link */
        dialogue_disconnect(lab->dialogue);
    }
}

static void a9_preparation_that_could_not_be_sent_holds_back_the_tasks(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    lab->output = NETPOOL_NO_MEMORY;
    assert_int_equal(lab_flush(lab), NETPOOL_NO_MEMORY);
    lab->output = NETPOOL_OK;
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    (void)lab_sent(lab, 0, NP__ENVELOPE__KIND_PREPARE);
    (void)submit_at(lab, 1);
}

static void a9_nothing_to_prepare_is_not_said(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    assert_false(dialogue_has_output(lab->dialogue));
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 0);
}

static void a15_gentle_and_plain_cancels_travel_apart_and_plain_is_the_stronger(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    for (size_t i = 0; i < 3; i++) {
        lab_submit(lab, i, &square, "a", 1);
    }
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_UNSTARTED, lab->now);
    dialogue_cancel(lab->dialogue, &lab->tasks[1].task, NP_CANCEL_ALWAYS, lab->now);
    dialogue_cancel(lab->dialogue, &lab->tasks[1].task, NP_CANCEL_UNSTARTED, lab->now); /* weaker: nothing new */
    assert_true(dialogue_has_output(lab->dialogue));
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 2);
    assert_true(cancel_at(lab, 0)->unstarted_only);
    assert_int_equal(cancel_at(lab, 0)->n_seqs, 1);
    assert_int_equal(cancel_at(lab, 0)->seqs[0], 1);
    assert_false(cancel_at(lab, 1)->unstarted_only);
    assert_int_equal(cancel_at(lab, 1)->n_seqs, 1);
    assert_int_equal(cancel_at(lab, 1)->seqs[0], 2);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_ALWAYS, lab->now); /* stronger: said as well */
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 1);
    assert_false(cancel_at(lab, 0)->unstarted_only);
    assert_int_equal(lab->tasks[0].ended, 0);
    assert_int_equal(lab_result(lab, 1, "it ran"), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].status, NETPOOL_OK);
}

static void a15_gentle_cancel_of_an_unsent_task_ends_it_at_once(void **state)
{
    struct lab *lab = *state;
    lab_submit(lab, 0, &square, "a", 1);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_UNSTARTED, lab->now);
    assert_int_equal(lab->tasks[0].status, NETPOOL_CANCELLED);
    assert_int_equal(lab->tasks[0].attempt, 0);
}

static void a15_gentle_cancel_is_said_again_to_a_broker_that_knows_the_session(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_UNSTARTED, lab->now);
    dialogue_disconnect(lab->dialogue);
    assert_int_equal(lab_welcome(lab, resumed), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 1);
    assert_true(cancel_at(lab, 0)->unstarted_only);
    assert_int_equal(lab->tasks[0].ended, 0);
}

static void a15_gentle_cancel_follows_a_task_to_a_new_broker_as_a_worker_may_run_it(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    lab_submit(lab, 1, &square, "b", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    dialogue_disconnect(lab->dialogue);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_UNSTARTED, lab->now);
    assert_int_equal(lab_welcome(lab, (struct lab_welcome){.credit_tasks = 1, .credit_bytes = 100}), NETPOOL_OK);
    dialogue_cancel(lab->dialogue, &lab->tasks[1].task, NP_CANCEL_ALWAYS, lab->now); /* waits for credit */
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 2);
    assert_int_equal(submit_at(lab, 0)->n_seqs, 1);
    assert_true(cancel_at(lab, 1)->unstarted_only);
    assert_int_equal(cancel_at(lab, 1)->seqs[0], 1);
    assert_int_equal(lab_credit(lab, 2, 100), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 2);
    assert_int_equal(submit_at(lab, 0)->seqs[0], 2);
    assert_false(cancel_at(lab, 1)->unstarted_only);
    assert_int_equal(cancel_at(lab, 1)->seqs[0], 2);
}

static void a15_gentle_cancel_of_all_ends_what_waits_and_lets_workers_decide_the_rest(void **state)
{
    struct lab *lab = *state;
    assert_int_equal(lab_welcome(lab, (struct lab_welcome){.credit_tasks = 2, .credit_bytes = 100}), NETPOOL_OK);
    for (size_t i = 0; i < 4; i++) {
        lab_submit(lab, i, &square, "a", 1);
    }
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    dialogue_disconnect(lab->dialogue);
    assert_int_equal(lab_welcome(lab, (struct lab_welcome){.credit_tasks = 1, .credit_bytes = 100}), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK); /* task 0 again; task 1 may be running and waits for credit */
    dialogue_cancel_all(lab->dialogue, NP_CANCEL_UNSTARTED, lab->now);
    assert_int_equal(lab->tasks[0].ended + lab->tasks[1].ended, 0);
    assert_int_equal(lab->tasks[2].status, NETPOOL_CANCELLED);
    assert_int_equal(lab->tasks[3].status, NETPOOL_CANCELLED);
    assert_int_equal(lab_credit(lab, 9, 100), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(submit_at(lab, 0)->seqs[0], 2);
    assert_true(cancel_at(lab, 1)->unstarted_only);
    assert_int_equal(cancel_at(lab, 1)->n_seqs, 2);
}

static void a24_progress_reaches_its_task_and_is_reset_when_it_is_submitted_again(void **state)
{
    struct lab *lab = *state;
    uint64_t done = 9;
    uint64_t total = 9;
    lab_open(lab);
    lab_submit_in_lane(lab, 0, &square, 1);
    lab_submit(lab, 1, &square, "without a hook", 14);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    np_task_progress(&lab->tasks[0].task, &done, &total);
    assert_int_equal(done + total, 0);
    assert_int_equal(lab_progress(lab, 1, 30, 100), NETPOOL_OK);
    assert_int_equal(lab_progress(lab, 2, 1, 2), NETPOOL_OK);
    assert_int_equal(lab_progress(lab, 77, 1, 2), NETPOOL_OK); /* nobody's */
    np_task_progress(&lab->tasks[0].task, &done, &total);
    assert_int_equal(done, 30);
    assert_int_equal(total, 100);
    np_task_progress(&lab->tasks[1].task, &done, &total);
    assert_int_equal(total, 2);
    assert_int_equal(lab->tasks[0].progressed, 1);
    assert_int_equal(lab->tasks[0].done, 30);
    assert_int_equal(lab->tasks[0].total, 100);
    lab->tasks[0].submit_again = true;
    assert_int_equal(lab_result(lab, 1, "x"), NETPOOL_OK);
    assert_int_equal(lab_progress(lab, 1, 99, 100), NETPOOL_OK); /* too late */
    assert_int_equal(lab->tasks[0].progressed, 1);
    np_task_progress(&lab->tasks[0].task, &done, &total);
    assert_int_equal(done + total, 0);
}

static void a24_progress_before_welcome_breaks_the_rules(void **state)
{
    struct lab *lab = *state;
    dialogue_connect(lab->dialogue, lab->now);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_progress(lab, 1, 1, 2), NETPOOL_PROTOCOL);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define PREPARED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_prepared, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_TEST(a22_lanes_are_a_column_that_tasks_without_lanes_do_without),
        LAB_TEST(a22_lane_keeps_its_numbers_and_order_with_a_new_broker),
        LAB_TEST(a17_wishes_of_a_kind_are_said_and_part_batches),
        PREPARED_TEST(a9_a10_preparation_goes_before_any_task_and_with_each_link),
        PREPARED_TEST(a9_preparation_that_could_not_be_sent_holds_back_the_tasks),
        LAB_TEST(a9_nothing_to_prepare_is_not_said),
        LAB_TEST(a15_gentle_and_plain_cancels_travel_apart_and_plain_is_the_stronger),
        LAB_TEST(a15_gentle_cancel_of_an_unsent_task_ends_it_at_once),
        LAB_TEST(a15_gentle_cancel_is_said_again_to_a_broker_that_knows_the_session),
        LAB_TEST(a15_gentle_cancel_follows_a_task_to_a_new_broker_as_a_worker_may_run_it),
        LAB_TEST(a15_gentle_cancel_of_all_ends_what_waits_and_lets_workers_decide_the_rest),
        LAB_TEST(a24_progress_reaches_its_task_and_is_reset_when_it_is_submitted_again),
        LAB_TEST(a24_progress_before_welcome_breaks_the_rules),
    };
    return cmocka_run_group_tests_name("dialogue_wishes", tests, NULL, NULL);
}
