/* What becomes of a task: attempts, crashes, losses, poison, cancellation, expiry, late and refused results. */
#include "tests/unit/core_rig.h"

enum { CLIENT = 1 };

static const Np__Failure *failure_of(struct rig *rig, uint64_t client, uint64_t seq, netpool_status expected)
{
    const struct rig_message *message;
    while ((message = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS)) != NULL) {
        const Np__Results *results = message->envelope->results;
        for (size_t i = 0; i < results->n_failures; i++) {
            if (results->seqs[results->failures[i]->index] == seq) {
                assert_int_equal(results->statuses[results->failures[i]->index], expected);
                return results->failures[i];
            }
        }
    }
    fail_msg("no failure of task %d", (int)seq);
    return NULL;
}

static void b1_worker_loss_requeues_the_running_task_with_the_next_attempt(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t first = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .size = 16});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, first), 1);
    rig_disconnect(rig, first, false);
    uint64_t second = rig_worker(rig, 3, 1, "f");
    const struct rig_message *assign = rig_take(rig, second, NP__ENVELOPE__KIND_ASSIGN);
    assert_non_null(assign);
    assert_int_equal(assign->envelope->assign->attempts[0], 2);
    assert_int_equal(assign->body_size, 16);
    assert_int_equal(assign->body[0], 1);
    rig_result(rig, second, (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 2, .size = 4});
    rig_flush(rig);
    netpool_status status;
    uint32_t attempt;
    assert_true(rig_take_result(rig, client, 1, &status, &attempt));
    assert_int_equal(status, NETPOOL_OK);
    assert_int_equal(attempt, 2);
    assert_int_equal(rig_stats(rig).retried, 1);
    rig_acknowledge(rig, client, 1, 1);
    assert_int_equal(rig_stats(rig).memory_bytes, 0);
    rig_free(rig);
}

static void tasks_of_a_lost_worker_stand_before_younger_ones_in_the_order_of_their_seqs(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t a = rig_worker(rig, 2, 4, "f");
    uint64_t b = rig_worker(rig, 3, 4, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 100, .size = 8});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, a) + rig_take_assigned(rig, b), 16);
    rig_disconnect(rig, a, false);
    rig_disconnect(rig, b, false);
    uint64_t c = rig_worker(rig, 4, 50, "f");
    uint64_t next = 1;
    const struct rig_message *message;
    while ((message = rig_take(rig, c, NP__ENVELOPE__KIND_ASSIGN)) != NULL) {
        for (size_t i = 0; i < message->envelope->assign->n_seqs; i++) {
            assert_int_equal(message->envelope->assign->seqs[i], next++);
        }
    }
    assert_int_equal(next, 101);
    rig_free(rig);
}

static void b8_a_task_that_crashes_each_executor_ends_as_poison_with_all_records(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .size = 8, .max_attempts = 3});
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        rig_flush(rig);
        assert_int_equal(rig_take_assigned(rig, worker), 1);
        rig_result(rig, worker,
                   (struct rig_result){.session = CLIENT, .seq = 1, .attempt = attempt, .status = NETPOOL_CRASHED});
    }
    rig_flush(rig);
    const Np__Failure *failure = failure_of(rig, client, 1, NETPOOL_POISON);
    assert_int_equal(failure->n_attempts, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(failure->attempts[i]->attempt, i + 1);
        assert_int_equal(failure->attempts[i]->status, NETPOOL_CRASHED);
        assert_int_equal(failure->attempts[i]->signal, 11);
        assert_string_equal(failure->attempts[i]->worker, "worker-2");
        assert_string_equal(failure->attempts[i]->message, "it went wrong");
    }
    assert_string_equal(failure->message, "it went wrong");
    rig_free(rig);
}

static void b2_a_crash_with_one_attempt_or_at_most_once_is_final(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 4, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .max_attempts = 1});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 1, .at_most_once = true});
    rig_flush(rig);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CRASHED});
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 2, .status = NETPOOL_OUT_OF_MEMORY});
    rig_flush(rig);
    const struct rig_message *message = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS);
    assert_int_equal(message->envelope->results->statuses[0], NETPOOL_CRASHED);
    assert_int_equal(message->envelope->results->statuses[1], NETPOOL_OUT_OF_MEMORY);
    assert_int_equal(message->envelope->results->failures[0]->n_attempts, 0);
    rig_free(rig);
}

static void at_most_once_tasks_of_a_lost_worker_end_as_lost(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .at_most_once = true});
    rig_flush(rig);
    rig_disconnect(rig, worker, false);
    rig_flush(rig);
    const Np__Failure *failure = failure_of(rig, client, 1, NETPOOL_LOST);
    assert_int_equal(failure->n_attempts, 1);
    assert_string_equal(failure->attempts[0]->message, "the worker was lost");
    rig_free(rig);
}

static void losses_up_to_the_limit_end_as_lost_with_records(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .max_attempts = 2});
    for (uint8_t i = 0; i < 2; i++) {
        uint64_t worker = rig_worker(rig, (uint8_t)(10 + i), 1, "f");
        assert_int_equal(rig_take_assigned(rig, worker), 1);
        rig_disconnect(rig, worker, false);
    }
    rig_flush(rig);
    const Np__Failure *failure = failure_of(rig, client, 1, NETPOOL_LOST);
    assert_int_equal(failure->n_attempts, 2);
    assert_string_equal(failure->attempts[1]->worker, "worker-11");
    rig_free(rig);
}

static void b30_an_orderly_goodbye_does_not_count_the_attempt_of_what_was_not_started(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 2, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 4});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 4);
    rig_disconnect(rig, worker, true);
    assert_int_equal(rig_task_of(rig, CLIENT, 1)->attempt, 1);
    assert_int_equal(rig_task_of(rig, CLIENT, 2)->attempt, 1);
    assert_int_equal(rig_task_of(rig, CLIENT, 3)->attempt, 0);
    assert_int_equal(rig_task_of(rig, CLIENT, 4)->attempt, 0);
    rig_free(rig);
}

static void returned_tasks_are_assigned_again_with_the_same_attempt(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    rig_say(rig, worker, NP__ENVELOPE__KIND_DRAIN);
    rig_returned(rig, worker, CLIENT, 1, 1, false);
    uint64_t other = rig_worker(rig, 3, 8, "f");
    rig_disconnect(rig, worker, false);
    rig_flush(rig);
    assert_int_equal(rig_task_of(rig, CLIENT, 1)->attempt, 1);
    assert_int_equal(rig_take_assigned(rig, worker) + rig_take_assigned(rig, other), 2);
    assert_int_equal(rig_stats(rig).retried, 0);
    rig_free(rig);
}

static void a_retry_that_comes_back_unstarted_is_counted_once(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t lost = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    rig_disconnect(rig, lost, false);
    uint64_t drained = rig_worker(rig, 3, 1, "f");
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, drained), 1);
    rig_say(rig, drained, NP__ENVELOPE__KIND_DRAIN);
    rig_returned(rig, drained, CLIENT, 1, 2, false);
    uint64_t other = rig_worker(rig, 4, 1, "f");
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, other), 1);
    assert_int_equal(rig_task_of(rig, CLIENT, 1)->attempt, 2);
    assert_int_equal(rig_stats(rig).retried, 1);
    rig_free(rig);
}

static void b10_a_late_result_is_dropped_and_counted(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    rig_disconnect(rig, worker, false);
    uint64_t other = rig_worker(rig, 3, 1, "f");
    uint64_t back = rig_worker(rig, 2, 1, "f"); /* the same worker, with its old result */
    rig_result(rig, back, (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 1, .size = 3});
    assert_int_equal(rig_stats(rig).late, 1);
    assert_int_equal(rig_stats(rig).refused, 0);
    rig_result(rig, other, (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 2, .size = 4});
    rig_result(rig, other, (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 2, .size = 4});
    assert_int_equal(rig_stats(rig).late, 2);
    rig_flush(rig);
    assert_result(rig, client, 1, NETPOOL_OK);
    assert_false(rig_take_result(rig, client, 1, &(netpool_status){0}, NULL)); /* once */
    assert_int_equal(rig_stats(rig).memory_bytes, 4);
    rig_free(rig);
}

static void b11_a_result_from_a_worker_without_the_lease_is_refused(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t holder = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    uint64_t thief = rig_worker(rig, 3, 1, "f");
    rig_result(rig, thief, (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 1});
    rig_result(rig, thief, (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 2});
    assert_int_equal(rig_stats(rig).refused, 2);
    assert_int_equal(rig_task_of(rig, CLIENT, 1)->state, TASK_LEASED);
    rig_result(rig, holder, (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 1});
    assert_int_equal(rig_stats(rig).done, 1);
    rig_free(rig);
}

static void b23_results_without_a_session_close_the_worker(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    uint64_t seq = 1;
    uint32_t size = 0;
    Np__Results results = NP__RESULTS__INIT;
    results.seqs = &seq;
    results.sizes = &size;
    results.n_seqs = results.n_sizes = 1;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    rig_give(rig, worker, &envelope, NULL, 0);
    rig_flush(rig);
    assert_int_equal(rig->closed_peer, worker);
    assert_int_equal(rig->closed_status, NETPOOL_PROTOCOL);
    rig_free(rig);
}

static void cancel_ends_tasks_in_every_state(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 5, .size = 8});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 2);
    rig_cancel(rig, client, 5);  /* queued */
    rig_cancel(rig, client, 1);  /* leased */
    rig_cancel(rig, client, 1);  /* again */
    rig_cancel(rig, client, 99); /* never heard of */
    rig_flush(rig);
    assert_result(rig, client, 5, NETPOOL_CANCELLED);
    const struct rig_message *withdraw = rig_take(rig, worker, NP__ENVELOPE__KIND_WITHDRAW);
    assert_non_null(withdraw);
    assert_int_equal(withdraw->envelope->withdraw->n_seqs, 1);
    assert_int_equal(withdraw->envelope->withdraw->seqs[0], 1);
    assert_null(rig_take(rig, worker, NP__ENVELOPE__KIND_WITHDRAW));
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CANCELLED});
    rig_flush(rig);
    assert_result(rig, client, 1, NETPOOL_CANCELLED);
    rig_cancel(rig, client, 1); /* finished */
    rig_cancel(rig, client, 2);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 2}); /* it finished first */
    rig_flush(rig);
    assert_result(rig, client, 2, NETPOOL_OK);
    rig_cancel(rig, client, 3);
    rig_disconnect(rig, worker, false); /* cancelling, and its worker is lost */
    rig_flush(rig);
    assert_result(rig, client, 3, NETPOOL_CANCELLED);
    assert_int_equal(rig_stats(rig).cancelled, 3);
    rig_free(rig);
}

static void expiry_ends_queued_tasks_at_once_and_withdraws_leased_ones(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .expiry_ms = 50});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 3, .expiry_ms = 40});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 5, .count = 1});
    rig_flush(rig);
    assert_int_equal(core_deadline(rig->core), rig->now + 40 * NP_NS_PER_MS);
    rig_advance(rig, 40);
    assert_result(rig, client, 3, NETPOOL_DEADLINE);
    assert_int_equal(rig_task_of(rig, CLIENT, 2)->state, TASK_CANCELLING);
    assert_int_equal(core_deadline(rig->core), rig->now + 10 * NP_NS_PER_MS);
    rig_advance(rig, 10);
    assert_int_equal(core_deadline(rig->core), NP_NEVER);
    assert_non_null(rig_take(rig, worker, NP__ENVELOPE__KIND_WITHDRAW));
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CANCELLED});
    rig_disconnect(rig, worker, false);
    rig_flush(rig);
    assert_int_equal(rig_task_of(rig, CLIENT, 1)->status, NETPOOL_DEADLINE);
    assert_int_equal(rig_task_of(rig, CLIENT, 2)->status, NETPOOL_DEADLINE);
    assert_int_equal(rig_task_of(rig, CLIENT, 5)->state, TASK_QUEUED);
    rig_free(rig);
}

static void b32_a_function_that_no_worker_has_ends_its_tasks_by_name_once_a_worker_is_ready(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "nowhere", .first = 1, .count = 2});
    uint64_t joining = rig_joining_worker(rig, 2, 1, "f");
    rig_flush(rig);
    assert_int_equal(rig_stats(rig).queued, 2); /* while no worker is ready, it waits */
    rig_say(rig, joining, NP__ENVELOPE__KIND_READY);
    rig_flush(rig);
    assert_result(rig, client, 1, NETPOOL_NO_SUCH_FUNCTION);
    rig_submit(rig, client, (struct rig_task){.function = "nowhere", .first = 3, .count = 1});
    rig_flush(rig);
    assert_result(rig, client, 3, NETPOOL_NO_SUCH_FUNCTION);
    rig_joining_worker(rig, 3, 1, "somewhere");
    rig_submit(rig, client, (struct rig_task){.function = "somewhere", .first = 4, .count = 1});
    rig_flush(rig);
    assert_int_equal(rig_stats(rig).queued, 1); /* a connected worker has it and will be ready */
    rig_free(rig);
}

static void b33_results_of_any_size_come_back_byte_for_byte(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    static const uint32_t sizes[] = {0, 1, 15, 16, 17, 255, 256, 257, 65536, 65537, 300000};
    for (uint64_t seq = 1; seq <= sizeof sizes / sizeof *sizes; seq++) {
        uint32_t size = sizes[seq - 1];
        rig_submit(rig, client, (struct rig_task){.function = "f", .first = seq, .count = 1, .size = size});
        rig_flush(rig);
        const struct rig_message *assign = rig_take(rig, worker, NP__ENVELOPE__KIND_ASSIGN);
        assert_int_equal(assign->body_size, size);
        for (uint32_t i = 0; i < size; i++) {
            assert_int_equal(assign->body[i], (uint8_t)seq);
        }
        rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = seq, .size = size});
        rig_flush(rig);
        const struct rig_message *results = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS);
        assert_int_equal(results->body_size, size);
        assert_int_equal(results->urgent, size <= NP_FRAME_BODY_MAX);
        rig_acknowledge(rig, client, seq, 1);
        assert_int_equal(rig_stats(rig).memory_bytes, 0);
    }
    rig_free(rig);
}

static void failures_of_a_batch_stay_within_the_cap(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 300});
    for (uint64_t seq = 1; seq <= 300; seq++) {
        rig_cancel(rig, client, seq);
    }
    rig_flush(rig);
    size_t rows = 0;
    const struct rig_message *message;
    while ((message = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS)) != NULL) {
        assert_true(message->envelope->results->n_failures <= NP_BATCH_FAILURES_MAX);
        assert_int_equal(message->envelope->results->n_failures, message->envelope->results->n_seqs);
        assert_string_equal(message->envelope->results->failures[0]->message, "cancelled");
        rows += message->envelope->results->n_seqs;
    }
    assert_int_equal(rows, 300);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b1_worker_loss_requeues_the_running_task_with_the_next_attempt),
        cmocka_unit_test(tasks_of_a_lost_worker_stand_before_younger_ones_in_the_order_of_their_seqs),
        cmocka_unit_test(b8_a_task_that_crashes_each_executor_ends_as_poison_with_all_records),
        cmocka_unit_test(b2_a_crash_with_one_attempt_or_at_most_once_is_final),
        cmocka_unit_test(at_most_once_tasks_of_a_lost_worker_end_as_lost),
        cmocka_unit_test(losses_up_to_the_limit_end_as_lost_with_records),
        cmocka_unit_test(b30_an_orderly_goodbye_does_not_count_the_attempt_of_what_was_not_started),
        cmocka_unit_test(returned_tasks_are_assigned_again_with_the_same_attempt),
        cmocka_unit_test(a_retry_that_comes_back_unstarted_is_counted_once),
        cmocka_unit_test(b10_a_late_result_is_dropped_and_counted),
        cmocka_unit_test(b11_a_result_from_a_worker_without_the_lease_is_refused),
        cmocka_unit_test(b23_results_without_a_session_close_the_worker),
        cmocka_unit_test(cancel_ends_tasks_in_every_state),
        cmocka_unit_test(expiry_ends_queued_tasks_at_once_and_withdraws_leased_ones),
        cmocka_unit_test(b32_a_function_that_no_worker_has_ends_its_tasks_by_name_once_a_worker_is_ready),
        cmocka_unit_test(b33_results_of_any_size_come_back_byte_for_byte),
        cmocka_unit_test(failures_of_a_batch_stay_within_the_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
