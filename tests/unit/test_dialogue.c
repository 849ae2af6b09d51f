/* The client's half of the protocol: batches, credit, results, cancellation. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/support/block_of.h"
#include "tests/unit/dialogue_lab.h"

static const struct np_task_kind square = {.function = "square"};
static const struct np_task_kind square_again = {.function = "square", .priority = 3};

static int set_up(void **state)
{
    static struct lab lab;
    lab_init(&lab);
    *state = &lab;
    return 0;
}

static int tear_down(void **state)
{
    lab_fini(*state);
    return 0;
}

static void hello_says_who_we_are_and_nothing_else_goes_before_welcome(void **state)
{
    struct lab *lab = *state;
    lab_submit(lab, 0, &square, "a", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 0); /* no link */
    dialogue_connect(lab->dialogue, lab->now);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 1);
    const Np__Hello *hello = lab_sent(lab, 0, NP__ENVELOPE__KIND_HELLO)->hello;
    assert_int_equal(hello->role, NP__ROLE__CLIENT);
    assert_string_equal(hello->name, "lab");
    assert_int_equal(hello->session.len, NP_SESSION_SIZE);
    assert_int_equal(hello->session.data[2], 3);
    assert_false(hello->resume);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 0);
    assert_false(dialogue_is_welcome(lab->dialogue));
}

static void tasks_of_one_kind_travel_in_one_batch(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "one", 3);
    lab_submit(lab, 1, &square, "", 0);
    lab_submit(lab, 2, &square, "three", 5);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 1);
    const Np__Submit *submit = lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit;
    assert_string_equal(submit->function, "square");
    assert_int_equal(submit->n_seqs, 3);
    assert_int_equal(submit->seqs[0], 1);
    assert_int_equal(submit->seqs[2], 3);
    assert_int_equal(submit->sizes[2], 5);
    assert_int_equal(lab->sent[0].body_size, 8);
    assert_memory_equal(lab->sent[0].body, "onethree", 8);
    assert_false(submit->resumed);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 0); /* nothing twice */
}

static void another_kind_begins_another_batch_and_the_order_is_kept(void **state)
{
    struct lab *lab = *state;
    struct np_task_kind equal = square; /* equal, not the same */
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    lab_submit(lab, 1, &equal, "b", 1);
    lab_submit(lab, 2, &square_again, "c", 1);
    lab_submit(lab, 3, &square, "d", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 3);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit->n_seqs, 2);
    assert_int_equal(lab_sent(lab, 1, NP__ENVELOPE__KIND_SUBMIT)->submit->priority, 3);
    assert_int_equal(lab_sent(lab, 1, NP__ENVELOPE__KIND_SUBMIT)->submit->seqs[0], 3);
    assert_int_equal(lab_sent(lab, 2, NP__ENVELOPE__KIND_SUBMIT)->submit->seqs[0], 4);
}

static void batches_hold_4096_tasks_and_64_kib_at_most(void **state)
{
    struct lab *lab = *state;
    static char block[100000];
    lab_open(lab);
    for (size_t i = 0; i < 5000; i++) {
        lab_submit(lab, i, &square, "a", 1);
    }
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 2);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit->n_seqs, 4096);
    assert_int_equal(lab_sent(lab, 1, NP__ENVELOPE__KIND_SUBMIT)->submit->n_seqs, 904);
    lab_submit(lab, 5000, &square, block, 40000);
    lab_submit(lab, 5001, &square, block, 25536);
    lab_submit(lab, 5002, &square, block, 1);
    lab_submit(lab, 5003, &square, block, 100000);
    lab_submit(lab, 5004, &square, block, 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 4);
    assert_int_equal(lab->sent[0].body_size, 65536);
    assert_int_equal(lab->sent[1].body_size, 1);
    assert_int_equal(lab->sent[2].body_size, 100000); /* alone */
    assert_int_equal(lab->sent[3].body_size, 1);
}

static void credit_bounds_tasks_and_bytes_and_never_shrinks(void **state)
{
    struct lab *lab = *state;
    assert_int_equal(lab_welcome(lab, (struct lab_welcome){.credit_tasks = 2, .credit_bytes = 10}), NETPOOL_OK);
    for (size_t i = 0; i < 5; i++) {
        lab_submit(lab, i, &square, "abcd", 4);
    }
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit->n_seqs, 2);
    assert_false(dialogue_has_output(lab->dialogue));
    assert_int_equal(lab_credit(lab, 10, 13), NETPOOL_OK); /* bytes for one more */
    assert_true(dialogue_has_output(lab->dialogue));
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit->n_seqs, 1);
    assert_int_equal(lab_credit(lab, 1, 1), NETPOOL_OK); /* an old one, late */
    assert_int_equal(lab_credit(lab, 10, 20), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit->n_seqs, 2);
}

static void room_bounds_what_one_flush_submits(void **state)
{
    struct lab *lab = *state;
    static char block[60000];
    lab_open(lab);
    for (size_t i = 0; i < 4; i++) {
        lab_submit(lab, i, &square, block, sizeof block);
    }
    assert_int_equal(lab_flush_room(lab, 0), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 0);
    assert_int_equal(lab_flush_room(lab, 1), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 1);
    assert_int_equal(lab_flush_room(lab, 100000), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 2);
}

static void result_ends_its_task_and_is_acknowledged(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    lab_submit(lab, 1, &square, "b", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_result(lab, 2, "second"), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].ended, 0);
    assert_int_equal(lab->tasks[1].ended, 1);
    assert_int_equal(lab->tasks[1].status, NETPOOL_OK);
    assert_int_equal(lab->tasks[1].attempt, 1);
    assert_string_equal(lab->tasks[1].result, "second");
    assert_int_equal(dialogue_unfinished(lab->dialogue), 1);
    assert_true(dialogue_has_output(lab->dialogue));
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    const Np__Acknowledge *acknowledge = lab_sent(lab, 0, NP__ENVELOPE__KIND_ACKNOWLEDGE)->acknowledge;
    assert_true(lab->sent[0].urgent);
    assert_int_equal(acknowledge->n_seqs, 1);
    assert_int_equal(acknowledge->seqs[0], 2);
}

static void b10_duplicate_result_is_dropped_and_acknowledged_again(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_result(lab, 1, "x"), NETPOOL_OK);
    assert_int_equal(lab_result(lab, 1, "y"), NETPOOL_OK);
    assert_int_equal(lab_result(lab, 999, "z"), NETPOOL_OK); /* never asked for */
    assert_int_equal(lab->tasks[0].ended, 1);
    assert_string_equal(lab->tasks[0].result, "x");
    assert_int_equal(dialogue_counters(lab->dialogue)->duplicates, 2);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_ACKNOWLEDGE)->acknowledge->n_seqs, 3);
}

static void columns_of_a_batch_of_results_reach_their_tasks(void **state)
{
    struct lab *lab = *state;
    uint64_t seqs[3] = {3, 1, 2};
    uint32_t sizes[3] = {2, 0, 3};
    uint32_t statuses[3] = {NETPOOL_OK, NETPOOL_FAILED, NETPOOL_OK};
    uint32_t attempts[3] = {1, 2, 3};
    Np__Failure failure = NP__FAILURE__INIT;
    Np__Failure *failures[1] = {&failure};
    Np__Results results = NP__RESULTS__INIT;
    lab_open(lab);
    for (size_t i = 0; i < 3; i++) {
        lab_submit(lab, i, &square, "a", 1);
    }
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    failure.index = 1;
    failure.item = 5;
    results.seqs = seqs;
    results.sizes = sizes;
    results.statuses = statuses;
    results.attempts = attempts;
    results.n_seqs = results.n_sizes = results.n_statuses = results.n_attempts = 3;
    results.failures = failures;
    results.n_failures = 1;
    assert_int_equal(lab_results(lab, &results, "hello", 5), NETPOOL_OK);
    assert_string_equal(lab->tasks[2].result, "he");
    assert_string_equal(lab->tasks[1].result, "llo");
    assert_int_equal(lab->tasks[1].attempt, 3);
    assert_int_equal(lab->tasks[0].status, NETPOOL_FAILED);
    assert_int_equal(lab->tasks[0].attempt, 2);
    assert_int_equal(lab->tasks[0].item, 5);
}

static void large_results_are_shared_and_not_copied(void **state)
{
    struct lab *lab = *state;
    static char text[100000];
    memset(text, 'x', sizeof text - 1);
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_result(lab, 1, text), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].size, sizeof text - 1);
    assert_memory_equal(lab->tasks[0].taken, text, sizeof text - 1);
    assert_ptr_equal(lab->tasks[0].taken, lab->given);
}

static void large_inputs_are_shared_and_not_copied_if_they_are_blocks(void **state)
{
    struct lab *lab = *state;
    static char text[100000];
    void *block = block_of(text, sizeof text);
    lab_open(lab);
    lab_submit(lab, 0, &square, block, sizeof text);
    lab->tasks[0].task.is_input_block = true;
    lab_submit(lab, 1, &square, text, sizeof text);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 2);
    assert_ptr_equal(lab->sent[0].body, block);
    assert_ptr_not_equal(lab->sent[1].body, text); /* a slice of somebody's array */
    assert_memory_equal(lab->sent[1].body, text, sizeof text);
    assert_int_equal(lab_result(lab, 1, ""), NETPOOL_OK);
    np_block_free(block); /* what was sent lives as long as somebody has it */
}

static void b42_status_that_does_not_exist_is_a_protocol_error_of_the_task(void **state)
{
    struct lab *lab = *state;
    uint64_t seq = 1;
    uint32_t size = 0;
    uint32_t status = 12345;
    Np__Results results = NP__RESULTS__INIT;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    results.seqs = &seq;
    results.sizes = &size;
    results.statuses = &status;
    results.n_seqs = results.n_sizes = results.n_statuses = 1;
    assert_int_equal(lab_results(lab, &results, NULL, 0), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].status, NETPOOL_PROTOCOL);
}

static void a15_cancel_of_an_unsent_task_ends_it_at_once(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_ALWAYS, lab->now);
    assert_int_equal(lab->tasks[0].status, NETPOOL_CANCELLED);
    assert_int_equal(lab->tasks[0].attempt, 0);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 0);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_ALWAYS, lab->now); /* harmless */
    assert_int_equal(lab->tasks[0].ended, 1);
}

static void a15_cancel_of_a_sent_task_asks_the_broker_once(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_ALWAYS, lab->now);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_ALWAYS, lab->now);
    assert_int_equal(lab->tasks[0].ended, 0); /* the answer is the task's result */
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 1);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_CANCEL)->cancel->n_seqs, 1);
    assert_int_equal(lab_result(lab, 1, "won the race"), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].status, NETPOOL_OK);
}

static void cancel_of_all_ends_what_waits_and_asks_for_the_rest(void **state)
{
    struct lab *lab = *state;
    assert_int_equal(lab_welcome(lab, (struct lab_welcome){.credit_tasks = 2, .credit_bytes = 100}), NETPOOL_OK);
    for (size_t i = 0; i < 5; i++) {
        lab_submit(lab, i, &square, "a", 1);
    }
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    dialogue_cancel_all(lab->dialogue, NP_CANCEL_ALWAYS, lab->now);
    assert_int_equal(dialogue_unfinished(lab->dialogue), 2);
    assert_int_equal(lab->tasks[4].status, NETPOOL_CANCELLED);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_CANCEL)->cancel->n_seqs, 2);
}

static void failing_output_loses_nothing(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_result(lab, 1, "x"), NETPOOL_OK);
    lab_submit(lab, 1, &square, "b", 1);
    lab->output = NETPOOL_NO_MEMORY;
    for (size_t successes = 0; successes < 2; successes++) {
        lab->outputs_left = 0;
        assert_int_equal(lab_flush(lab), NETPOOL_NO_MEMORY);
        assert_int_equal(lab->sent_count, 0);
    }
    lab->outputs_left = 1; /* the acknowledgement goes, the task does not */
    assert_int_equal(lab_flush(lab), NETPOOL_NO_MEMORY);
    (void)lab_sent(lab, 0, NP__ENVELOPE__KIND_ACKNOWLEDGE);
    lab->output = NETPOOL_OK;
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 1);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit->seqs[0], 2);
    assert_int_equal(lab_result(lab, 2, "y"), NETPOOL_OK);
    assert_int_equal(lab->tasks[1].ended, 1);
}

static void finished_task_may_be_submitted_again_from_its_callback(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    lab_submit(lab, 0, &square, "a", 1);
    lab->tasks[0].submit_again = true;
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_result(lab, 1, "x"), NETPOOL_OK);
    assert_int_equal(dialogue_unfinished(lab->dialogue), 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_sent(lab, 1, NP__ENVELOPE__KIND_SUBMIT)->submit->seqs[0],
                     2); /* behind the acknowledgement */
    assert_int_equal(lab_result(lab, 2, "y"), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].ended, 2);
}

static void expiry_ends_what_waits_here(void **state)
{
    struct lab *lab = *state;
    static const struct np_task_kind brief = {.function = "square", .expiry_ms = 50};
    netpool_error error;
    lab_submit(lab, 0, &brief, "a", 1);
    lab_submit(lab, 1, &square, "b", 1);
    assert_int_equal(dialogue_deadline(lab->dialogue), lab->now + 50 * NP_NS_PER_MS);
    lab->now += 49 * NP_NS_PER_MS;
    assert_int_equal(dialogue_tick(lab->dialogue, lab->now, &error), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].ended, 0);
    lab->now += 20 * NP_NS_PER_MS;
    assert_int_equal(dialogue_tick(lab->dialogue, lab->now, &error), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].status, NETPOOL_DEADLINE);
    assert_int_equal(lab->tasks[1].ended, 0);
    assert_int_equal(dialogue_deadline(lab->dialogue), NP_NEVER);
}

static void time_spent_waiting_counts_towards_the_expiry(void **state)
{
    struct lab *lab = *state;
    static const struct np_task_kind brief = {.function = "square", .expiry_ms = 500};
    lab_submit(lab, 0, &brief, "a", 1);
    lab->now += 200 * NP_NS_PER_MS;
    lab_submit(lab, 1, &brief, "a", 1);
    lab_open(lab);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 2);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit->expiry_ms, 300);
    assert_int_equal(lab_sent(lab, 1, NP__ENVELOPE__KIND_SUBMIT)->submit->expiry_ms, 500);
}

static void status_is_asked_for_once_and_again_after_a_new_link(void **state)
{
    struct lab *lab = *state;
    Np__Status status = NP__STATUS__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_STATUS;
    envelope.status = &status;
    lab_open(lab);
    assert_int_equal(lab_receive(lab, &envelope, NULL, 0), NETPOOL_OK); /* not asked for */
    assert_int_equal(lab->statuses, 0);
    dialogue_request_status(lab->dialogue);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    (void)lab_sent(lab, 0, NP__ENVELOPE__KIND_STATUS_REQUEST);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 0);
    dialogue_disconnect(lab->dialogue);
    lab_open(lab);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    (void)lab_sent(lab, 0, NP__ENVELOPE__KIND_STATUS_REQUEST);
    assert_int_equal(lab_receive(lab, &envelope, NULL, 0), NETPOOL_OK);
    assert_int_equal(lab->statuses, 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 0);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_TEST(hello_says_who_we_are_and_nothing_else_goes_before_welcome),
        LAB_TEST(tasks_of_one_kind_travel_in_one_batch),
        LAB_TEST(another_kind_begins_another_batch_and_the_order_is_kept),
        LAB_TEST(batches_hold_4096_tasks_and_64_kib_at_most),
        LAB_TEST(credit_bounds_tasks_and_bytes_and_never_shrinks),
        LAB_TEST(room_bounds_what_one_flush_submits),
        LAB_TEST(result_ends_its_task_and_is_acknowledged),
        LAB_TEST(b10_duplicate_result_is_dropped_and_acknowledged_again),
        LAB_TEST(columns_of_a_batch_of_results_reach_their_tasks),
        LAB_TEST(large_results_are_shared_and_not_copied),
        LAB_TEST(large_inputs_are_shared_and_not_copied_if_they_are_blocks),
        LAB_TEST(b42_status_that_does_not_exist_is_a_protocol_error_of_the_task),
        LAB_TEST(a15_cancel_of_an_unsent_task_ends_it_at_once),
        LAB_TEST(a15_cancel_of_a_sent_task_asks_the_broker_once),
        LAB_TEST(cancel_of_all_ends_what_waits_and_asks_for_the_rest),
        LAB_TEST(failing_output_loses_nothing),
        LAB_TEST(finished_task_may_be_submitted_again_from_its_callback),
        LAB_TEST(expiry_ends_what_waits_here),
        LAB_TEST(time_spent_waiting_counts_towards_the_expiry),
        LAB_TEST(status_is_asked_for_once_and_again_after_a_new_link),
    };
    return cmocka_run_group_tests_name("dialogue", tests, NULL, NULL);
}
