/* The client's half of the protocol across broken links, restarted brokers, brokers that break the rules, and without
 * memory. */
#include <string.h>

#include "client/dialogue/outstanding.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "tests/unit/dialogue_lab.h"

static const struct np_task_kind square = {.function = "square"};
static const struct lab_welcome generous = {.credit_tasks = 1 << 20, .credit_bytes = 1 << 30};

/* The n-th call from now on that takes memory fails; 0: none does. Linked with --wrap (see client.cmake). */
static unsigned long fail_at;

netpool_status __real_outstanding_put(struct outstanding *tasks, uint64_t number, struct np_task *task);
netpool_status __real_np_buffer_append(struct np_buffer *buffer, const void *data, size_t size);
netpool_status __wrap_outstanding_put(struct outstanding *tasks, uint64_t number, struct np_task *task);
netpool_status __wrap_np_buffer_append(struct np_buffer *buffer, const void *data, size_t size);

static bool is_due(void)
{
    return fail_at > 0 && --fail_at == 0;
}

netpool_status __wrap_outstanding_put(struct outstanding *tasks, uint64_t number, struct np_task *task)
{
    return is_due() ? NETPOOL_NO_MEMORY : __real_outstanding_put(tasks, number, task);
}

netpool_status __wrap_np_buffer_append(struct np_buffer *buffer, const void *data, size_t size)
{
    return is_due() ? NETPOOL_NO_MEMORY : __real_np_buffer_append(buffer, data, size);
}

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

static void submit_and_flush(struct lab *lab, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        lab_submit(lab, i, &square, "abcd", 4);
    }
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
}

/* What the first message of the last flush submits. */
static const Np__Submit *submitted(const struct lab *lab)
{
    return lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit;
}

static void resumed_session_submits_only_what_was_not_received(void **state)
{
    struct lab *lab = *state;
    struct lab_welcome first = {.credit_tasks = 10, .credit_bytes = 40};
    assert_int_equal(lab_welcome(lab, first), NETPOOL_OK);
    submit_and_flush(lab, 0, 10);
    assert_int_equal(lab_result(lab, 2, "x"), NETPOOL_OK);
    dialogue_disconnect(lab->dialogue);
    assert_false(dialogue_is_welcome(lab->dialogue));
    dialogue_connect(lab->dialogue, lab->now);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_true(lab_sent(lab, 0, NP__ENVELOPE__KIND_HELLO)->hello->resume);
    struct lab_welcome second = {.resumed = true, .received_seq = 7, .credit_tasks = 10, .credit_bytes = 40};
    assert_int_equal(lab_welcome(lab, second), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 1);
    assert_int_equal(submitted(lab)->n_seqs, 3); /* what was lost does not count against the credit twice */
    assert_int_equal(submitted(lab)->seqs[0], 8);
    assert_int_equal(submitted(lab)->seqs[2], 10);
    assert_false(submitted(lab)->resumed);
    for (uint64_t seq = 1; seq <= 10; seq++) {
        assert_int_equal(lab_result(lab, seq, "y"), NETPOOL_OK);
    }
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(lab->tasks[i].ended, 1);
    }
    assert_int_equal(dialogue_counters(lab->dialogue)->duplicates, 1);
}

static void b4_new_broker_gets_everything_that_has_no_result(void **state)
{
    struct lab *lab = *state;
    struct lab_welcome first = {.credit_tasks = 6, .credit_bytes = 1000};
    assert_int_equal(lab_welcome(lab, first), NETPOOL_OK);
    submit_and_flush(lab, 0, 8); /* six go, two wait for credit */
    assert_int_equal(lab_result(lab, 3, "x"), NETPOOL_OK);
    dialogue_disconnect(lab->dialogue);
    assert_int_equal(lab_welcome(lab, (struct lab_welcome){.credit_tasks = 100, .credit_bytes = 1000}), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 2);
    const Np__Submit *again = submitted(lab);
    assert_true(again->resumed);
    assert_int_equal(again->n_seqs, 5);
    static const uint64_t expected[5] = {1, 2, 4, 5, 6};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(again->seqs[i], expected[i]);
    }
    const Np__Submit *fresh = lab_sent(lab, 1, NP__ENVELOPE__KIND_SUBMIT)->submit;
    assert_false(fresh->resumed);
    assert_int_equal(fresh->seqs[0], 7);
    assert_int_equal(fresh->n_seqs, 2);
}

static void credit_starts_again_at_zero_with_a_new_broker(void **state)
{
    struct lab *lab = *state;
    assert_int_equal(lab_welcome(lab, (struct lab_welcome){.credit_tasks = 100, .credit_bytes = 1000}), NETPOOL_OK);
    submit_and_flush(lab, 0, 10);
    dialogue_disconnect(lab->dialogue);
    assert_int_equal(lab_welcome(lab, (struct lab_welcome){.credit_tasks = 4, .credit_bytes = 1000}), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(submitted(lab)->n_seqs, 4);
    dialogue_disconnect(lab->dialogue);
    assert_int_equal(lab_welcome(lab, generous),
                     NETPOOL_OK); /* and a third one, with some tasks never sent to the second */
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(submitted(lab)->n_seqs, 10);
    assert_int_equal(submitted(lab)->seqs[0], 1);
    assert_int_equal(submitted(lab)->seqs[9], 10);
}

static void link_that_breaks_before_welcome_changes_nothing(void **state)
{
    struct lab *lab = *state;
    lab_submit(lab, 0, &square, "abcd", 4);
    dialogue_connect(lab->dialogue, lab->now);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    dialogue_disconnect(lab->dialogue);
    dialogue_connect(lab->dialogue, lab->now);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_false(lab_sent(lab, 0, NP__ENVELOPE__KIND_HELLO)->hello->resume);
    lab_open(lab);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(submitted(lab)->seqs[0], 1);
}

static void acknowledgements_do_not_outlive_their_link(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    submit_and_flush(lab, 0, 1);
    assert_int_equal(lab_result(lab, 1, "x"), NETPOOL_OK);
    dialogue_disconnect(lab->dialogue);
    assert_int_equal(lab_welcome(lab, generous), NETPOOL_OK);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab->sent_count, 0);
}

static void cancel_without_a_link_is_said_later_or_needs_not_be(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    submit_and_flush(lab, 0, 4);
    dialogue_disconnect(lab->dialogue);
    dialogue_cancel(lab->dialogue, &lab->tasks[0].task, NP_CANCEL_ALWAYS, lab->now); /* the broker has it */
    dialogue_cancel(lab->dialogue, &lab->tasks[3].task, NP_CANCEL_ALWAYS, lab->now); /* it was lost on the way */
    assert_int_equal(lab->tasks[3].ended, 0);
    assert_int_equal(
        lab_welcome(
            lab, (struct lab_welcome){.resumed = true, .received_seq = 2, .credit_tasks = 100, .credit_bytes = 1000}),
        NETPOOL_OK);
    assert_int_equal(lab->tasks[3].status, NETPOOL_CANCELLED);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(lab_sent(lab, 0, NP__ENVELOPE__KIND_SUBMIT)->submit->seqs[0], 3);
    assert_int_equal(lab_sent(lab, 1, NP__ENVELOPE__KIND_CANCEL)->cancel->seqs[0], 1);
    dialogue_disconnect(lab->dialogue);
    assert_int_equal(lab_welcome(lab, generous), NETPOOL_OK); /* a new broker: not submitted to it at all */
    assert_int_equal(lab->tasks[0].status, NETPOOL_CANCELLED);
}

static void expiry_is_watched_while_there_is_no_broker(void **state)
{
    struct lab *lab = *state;
    static const struct np_task_kind brief = {.function = "square", .expiry_ms = 50};
    netpool_error error;
    lab_open(lab);
    lab_submit(lab, 0, &brief, "a", 1);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    lab->now += 100 * NP_NS_PER_MS;
    assert_int_equal(dialogue_tick(lab->dialogue, lab->now, &error), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].ended, 0); /* the broker watches it */
    dialogue_disconnect(lab->dialogue);
    lab->now += 20 * NP_NS_PER_MS;
    assert_int_equal(dialogue_tick(lab->dialogue, lab->now, &error), NETPOOL_OK);
    assert_int_equal(lab->tasks[0].status, NETPOOL_DEADLINE);
}

static void hello_without_an_answer_is_given_up(void **state)
{
    struct lab *lab = *state;
    netpool_error error = {0};
    dialogue_connect(lab->dialogue, lab->now);
    assert_int_equal(lab_flush(lab), NETPOOL_OK);
    assert_int_equal(dialogue_deadline(lab->dialogue), lab->now + NP_HELLO_TIMEOUT_MS * NP_NS_PER_MS);
    lab->now += NP_HELLO_TIMEOUT_MS * NP_NS_PER_MS;
    assert_int_equal(dialogue_tick(lab->dialogue, lab->now, &error), NETPOOL_UNREACHABLE);
    assert_non_null(strstr(error.message, "HELLO"));
}

static void b5_failed_session_ends_every_task(void **state)
{
    struct lab *lab = *state;
    lab_open(lab);
    submit_and_flush(lab, 0, 100);
    for (size_t i = 100; i < 200; i++) {
        lab_submit(lab, i, &square, "a", 1);
    }
    lab->tasks[5].submit_again = true;
    dialogue_fail(lab->dialogue, NETPOOL_UNREACHABLE, "gone", lab->now);
    assert_int_equal(dialogue_unfinished(lab->dialogue), 0);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(lab->tasks[i].ended, i == 5 ? 2 : 1);
        assert_int_equal(lab->tasks[i].status, NETPOOL_UNREACHABLE);
        assert_string_equal(lab->tasks[i].reason, "gone");
    }
}

static void b23_b42_broker_that_breaks_the_rules_is_found_out(void **state)
{
    struct lab *lab = *state;
    assert_int_equal(lab_credit(lab, 1, 1), NETPOOL_PROTOCOL);
    assert_int_equal(lab_result(lab, 1, "x"), NETPOOL_PROTOCOL);
    struct lab_welcome wrong_version = {.version = 99};
    assert_int_equal(lab_welcome(lab, wrong_version), NETPOOL_PROTOCOL); /* b41: names both versions */
    dialogue_disconnect(lab->dialogue);
    assert_int_equal(lab_welcome(lab, (struct lab_welcome){.resumed = true}), NETPOOL_PROTOCOL);
    dialogue_disconnect(lab->dialogue);
    lab_open(lab);
    Np__Ready ready = NP__READY__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_READY;
    envelope.ready = &ready;
    assert_int_equal(lab_receive(lab, &envelope, NULL, 0), NETPOOL_PROTOCOL);
    Np__Welcome welcome = NP__WELCOME__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_WELCOME;
    envelope.welcome = &welcome;
    assert_int_equal(lab_receive(lab, &envelope, NULL, 0), NETPOOL_PROTOCOL); /* a second one */
}

/* Submits, gets results, cancels, breaks the link and comes again, while one step on the way finds no memory. Returns
 * whether one did. */
static bool live_without_memory(struct lab *lab, unsigned long n)
{
    enum { COUNT = 20 };
    lab_init(lab);
    for (size_t i = 0; i < COUNT; i++) {
        lab_submit(lab, i, &square, "abcd", 4);
    }
    fail_at = n;
    for (int round = 0; round < 3; round++) { /* an owner that sees NO_MEMORY gives the link up and comes again */
        netpool_status status = lab_welcome(lab, generous);
        if (status == NETPOOL_OK) {
            status = lab_flush(lab);
        }
        dialogue_cancel(lab->dialogue, &lab->tasks[COUNT - 1].task, NP_CANCEL_ALWAYS, lab->now);
        for (uint64_t seq = 1; seq <= 10 + 10 * (uint64_t)round && status == NETPOOL_OK; seq++) {
            status = lab_result(lab, seq, "x");
        }
        dialogue_disconnect(lab->dialogue);
    }
    bool was_short = fail_at == 0;
    fail_at = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(lab->tasks[i].ended, 1);
    }
    lab_fini(lab);
    return was_short;
}

static void b40_each_step_may_find_no_memory_in_turn(void **state)
{
    (void)state;
    static struct lab lab;
    unsigned long n = 1;
    while (live_without_memory(&lab, n)) {
        n++;
    }
    assert_true(n > 50); /* there were as many steps */
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_TEST(resumed_session_submits_only_what_was_not_received),
        LAB_TEST(b4_new_broker_gets_everything_that_has_no_result),
        LAB_TEST(credit_starts_again_at_zero_with_a_new_broker),
        LAB_TEST(link_that_breaks_before_welcome_changes_nothing),
        LAB_TEST(acknowledgements_do_not_outlive_their_link),
        LAB_TEST(cancel_without_a_link_is_said_later_or_needs_not_be),
        LAB_TEST(expiry_is_watched_while_there_is_no_broker),
        LAB_TEST(hello_without_an_answer_is_given_up),
        LAB_TEST(b5_failed_session_ends_every_task),
        LAB_TEST(b23_b42_broker_that_breaks_the_rules_is_found_out),
        cmocka_unit_test(b40_each_step_may_find_no_memory_in_turn),
    };
    return cmocka_run_group_tests_name("dialogue_resume", tests, NULL, NULL);
}
