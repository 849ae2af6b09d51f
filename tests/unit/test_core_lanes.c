/* Ordered lanes, and attempts that wait for their time. */
#include "tests/unit/core_rig.h"

enum { CLIENT = 1 };

static size_t take_seqs(struct rig *rig, uint64_t worker, uint64_t *seqs)
{
    size_t count = 0;
    const struct rig_message *message;
    while ((message = rig_take(rig, worker, NP__ENVELOPE__KIND_ASSIGN)) != NULL) {
        for (size_t i = 0; i < message->envelope->assign->n_seqs; i++) {
            seqs[count++] = message->envelope->assign->seqs[i];
        }
    }
    return count;
}

/* The only task assigned to that worker since it was asked last; 0: none. */
static uint64_t take_one(struct rig *rig, uint64_t worker)
{
    uint64_t seqs[64];
    rig_flush(rig);
    size_t count = take_seqs(rig, worker, seqs);
    assert_in_range(count, 0, 1);
    return count == 1 ? seqs[0] : 0;
}

static void answer(struct rig *rig, uint64_t worker, uint64_t seq, uint32_t attempt, netpool_status status)
{
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = seq, .attempt = attempt, .status = status});
}

static void submit_lane(struct rig *rig, uint64_t client, uint64_t first, uint64_t count, uint64_t lane)
{
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = first, .count = count, .lane = lane});
}

static void a22_tasks_of_a_lane_run_one_at_a_time_in_the_order_of_their_seqs(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 4, "f");
    submit_lane(rig, client, 1, 20, 7);
    for (uint64_t seq = 1; seq <= 20; seq++) {
        assert_int_equal(take_one(rig, worker), seq);
        assert_int_equal(rig_stats(rig).queued, 20 - seq);
        answer(rig, worker, seq, 1, NETPOOL_OK);
    }
    rig_free(rig);
}

static void a22_priority_and_function_do_not_overtake_within_a_lane(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .lane = 7, .priority = -5});
    rig_submit(rig, client, (struct rig_task){.function = "g", .first = 2, .count = 1, .lane = 7, .priority = 5});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 3, .count = 1, .lane = 7});
    uint64_t worker = rig_worker(rig, 2, 4, "f g");
    for (uint64_t seq = 1; seq <= 3; seq++) {
        assert_int_equal(take_one(rig, worker), seq);
        answer(rig, worker, seq, 1, seq == 2 ? NETPOOL_FAILED : NETPOOL_OK);
    }
    rig_free(rig);
}

static void a22_lanes_do_not_hold_up_each_other_or_other_tasks(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t other = rig_client(rig, 3, false);
    uint64_t worker = rig_worker(rig, 2, 8, "f");
    submit_lane(rig, client, 1, 2, 7);
    submit_lane(rig, client, 3, 2, 8);
    submit_lane(rig, client, 5, 2, 0);
    submit_lane(rig, other, 1, 2, 7); /* another client's lane of the same number */
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 5);
    assert_int_equal(rig_task_of(rig, CLIENT, 2)->state, TASK_QUEUED);
    assert_int_equal(rig_task_of(rig, CLIENT, 4)->state, TASK_QUEUED);
    assert_int_equal(rig_task_of(rig, 3, 2)->state, TASK_QUEUED);
    rig_free(rig);
}

static void a22_a_lane_survives_the_loss_of_its_worker_and_keeps_its_order(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t lost = rig_worker(rig, 2, 4, "f");
    submit_lane(rig, client, 1, 3, 7);
    assert_int_equal(take_one(rig, lost), 1);
    rig_disconnect(rig, lost, false);
    rig_flush(rig);
    uint64_t next = rig_worker(rig, 4, 4, "f");
    assert_int_equal(take_one(rig, next), 1);
    assert_int_equal(rig_task_of(rig, CLIENT, 1)->attempt, 2);
    answer(rig, next, 1, 2, NETPOOL_CRASHED);
    assert_int_equal(take_one(rig, next), 1); /* its successors wait for its third attempt, too */
    answer(rig, next, 1, 3, NETPOOL_CRASHED);
    assert_int_equal(take_one(rig, next), 2); /* poison is an end */
    assert_result(rig, client, 1, NETPOOL_POISON);
    rig_free(rig);
}

static void a22_cancel_reaches_the_head_and_those_that_wait(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 4, "f");
    submit_lane(rig, client, 1, 5, 7);
    assert_int_equal(take_one(rig, worker), 1);
    rig_cancel(rig, client, 2);
    rig_flush(rig);
    assert_result(rig, client, 2, NETPOOL_CANCELLED);
    rig_cancel(rig, client, 1);
    assert_int_equal(take_one(rig, worker), 0); /* it may still be running */
    answer(rig, worker, 1, 1, NETPOOL_CANCELLED);
    assert_int_equal(take_one(rig, worker), 3);
    rig_returned(rig, worker, CLIENT, 3, 1, false);
    rig_cancel(rig, client, 3); /* the head while it is queued */
    assert_int_equal(take_one(rig, worker), 4);
    answer(rig, worker, 4, 1, NETPOOL_OK);
    assert_int_equal(take_one(rig, worker), 5);
    rig_free(rig);
}

static void a22_expiry_ends_tasks_that_wait_in_a_lane(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 4, "f");
    submit_lane(rig, client, 1, 1, 7);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 1, .lane = 7, .expiry_ms = 100});
    submit_lane(rig, client, 3, 1, 7);
    assert_int_equal(take_one(rig, worker), 1);
    rig_advance(rig, 100);
    assert_result(rig, client, 2, NETPOOL_DEADLINE);
    answer(rig, worker, 1, 1, NETPOOL_OK);
    assert_int_equal(take_one(rig, worker), 3);
    rig_free(rig);
}

static void a22_tasks_of_a_lane_without_their_function_end_and_the_lane_goes_on(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "gone", .first = 1, .count = 2, .lane = 7});
    submit_lane(rig, client, 3, 1, 7);
    rig_submit(rig, client, (struct rig_task){.function = "gone", .first = 4, .count = 2, .lane = 7});
    submit_lane(rig, client, 6, 1, 7);
    uint64_t worker = rig_worker(rig, 2, 4, "f");
    assert_int_equal(take_one(rig, worker), 3);
    assert_int_equal(rig_stats(rig).failed, 4);
    rig_submit(rig, client, (struct rig_task){.function = "gone", .first = 7, .count = 1, .lane = 7});
    rig_flush(rig);
    assert_result(rig, client, 7, NETPOOL_NO_SUCH_FUNCTION);
    answer(rig, worker, 3, 1, NETPOOL_OK);
    assert_int_equal(take_one(rig, worker), 6);
    rig_free(rig);
}

static void a22_a_restarted_broker_keeps_the_order_of_a_lane(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = NP_NS_PER_S};
    struct rig *rig = rig_new(&config);
    uint64_t worker = rig_joining_worker(rig, 2, 4, "f");
    uint64_t client = rig_client(rig, CLIENT, true);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 5, .count = 2, .lane = 7, .resumed = true});
    submit_lane(rig, client, 7, 1, 7); /* new, but behind those that some worker may have */
    rig_held(rig, worker, CLIENT, 3, 5, 2);
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    assert_int_equal(take_one(rig, worker), 0);
    assert_int_equal(rig_task_of(rig, CLIENT, 5)->state, TASK_LEASED);
    rig_advance(rig, 1000);
    assert_int_equal(take_one(rig, worker), 0);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 5, .attempt = 2, .epoch = 3});
    assert_int_equal(take_one(rig, worker), 6);
    answer(rig, worker, 6, 1, NETPOOL_OK);
    assert_int_equal(take_one(rig, worker), 7);
    rig_free(rig);
}

/* The result of 5 was on its way to the client when the broker went; 6 was running already. */
static void a22_a_task_whose_successor_runs_on_waits_for_that(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = NP_NS_PER_S};
    struct rig *rig = rig_new(&config);
    uint64_t worker = rig_joining_worker(rig, 2, 4, "f");
    uint64_t client = rig_client(rig, CLIENT, true);
    rig_held(rig, worker, CLIENT, 3, 6, 1);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 5, .count = 3, .lane = 7, .resumed = true});
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    rig_advance(rig, 1000);
    assert_int_equal(take_one(rig, worker), 0);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 6, .epoch = 3});
    assert_int_equal(take_one(rig, worker), 5);
    answer(rig, worker, 5, 1, NETPOOL_OK);
    assert_int_equal(take_one(rig, worker), 7);
    rig_free(rig);
}

static void a22_of_two_workers_with_tasks_of_one_lane_the_second_gives_way(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = NP_NS_PER_S};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, CLIENT, true);
    uint64_t first = rig_joining_worker(rig, 2, 4, "f");
    uint64_t second = rig_joining_worker(rig, 3, 4, "f");
    rig_held(rig, first, CLIENT, 3, 5, 1); /* both before the client has said what they are */
    rig_held(rig, second, CLIENT, 3, 6, 1);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 5, .count = 3, .lane = 7, .resumed = true});
    rig_held(rig, second, CLIENT, 3, 7, 1); /* and one after */
    rig_flush(rig);
    const struct rig_message *withdraw = rig_take(rig, second, NP__ENVELOPE__KIND_WITHDRAW);
    assert_non_null(withdraw);
    assert_int_equal(withdraw->envelope->withdraw->n_seqs, 2);
    assert_int_equal(withdraw->envelope->withdraw->seqs[0], 6);
    assert_int_equal(withdraw->envelope->withdraw->seqs[1], 7);
    assert_null(rig_take(rig, first, NP__ENVELOPE__KIND_WITHDRAW));
    rig_say(rig, first, NP__ENVELOPE__KIND_READY);
    rig_advance(rig, 1000);
    rig_result(rig, second, (struct rig_result){.session = CLIENT, .seq = 6, .epoch = 3});
    assert_int_equal(rig_stats(rig).late, 1);
    rig_result(rig, first, (struct rig_result){.session = CLIENT, .seq = 5, .epoch = 3});
    assert_int_equal(take_one(rig, first), 6);
    assert_int_equal(rig_task_of(rig, CLIENT, 6)->attempt, 2);
    rig_free(rig);
}

static void a22_a_client_that_goes_takes_its_lanes_along(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 4, "f");
    submit_lane(rig, client, 1, 5, 7);
    submit_lane(rig, client, 6, 5, 8);
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 2);
    rig_disconnect(rig, client, true);
    rig_flush(rig);
    assert_int_equal(rig_stats(rig).queued, 0);
    answer(rig, worker, 1, 1, NETPOOL_CANCELLED);
    answer(rig, worker, 6, 1, NETPOOL_CANCELLED);
    assert_int_equal(rig_stats(rig).running, 0);
    assert_null(rig_task_of(rig, CLIENT, 1));
    rig_free(rig);
}

static void a17_attempts_wait_twice_as_long_each_time_up_to_a_minute(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(
        rig, client,
        (struct rig_task){.function = "f", .first = 1, .count = 1, .max_attempts = 8, .retry_delay_ms = 10000});
    static const int64_t delays_ms[] = {10000, 20000, 40000, 60000, 60000, 60000};
    for (uint32_t attempt = 1; attempt <= 6; attempt++) {
        assert_int_equal(take_one(rig, worker), 1);
        answer(rig, worker, 1, attempt, NETPOOL_CRASHED);
        assert_int_equal(core_deadline(rig->core), rig->now + delays_ms[attempt - 1] * NP_NS_PER_MS);
        rig_advance(rig, delays_ms[attempt - 1] - 1);
        assert_int_equal(take_one(rig, worker), 0);
        rig_advance(rig, 1);
    }
    assert_int_equal(take_one(rig, worker), 1);
    rig_free(rig);
}

static void a17_the_delay_counts_for_lost_workers_and_the_lane_waits_along(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t lost = rig_worker(rig, 2, 4, "f");
    rig_submit(rig, client,
               (struct rig_task){.function = "f", .first = 1, .count = 2, .lane = 7, .retry_delay_ms = 500});
    assert_int_equal(take_one(rig, lost), 1);
    rig_disconnect(rig, lost, false);
    uint64_t worker = rig_worker(rig, 4, 4, "f");
    assert_int_equal(take_one(rig, worker), 0);
    rig_advance(rig, 500);
    assert_int_equal(take_one(rig, worker), 1);
    answer(rig, worker, 1, 2, NETPOOL_OK);
    assert_int_equal(take_one(rig, worker), 2);
    rig_free(rig);
}

static void a17_a_worker_that_comes_back_has_its_task_at_once(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .retry_delay_ms = 60000});
    assert_int_equal(take_one(rig, worker), 1);
    rig_disconnect(rig, worker, false);
    worker = rig_joining_worker(rig, 2, 1, "f");
    rig_held(rig, worker, CLIENT, 7, 1, 1);
    assert_int_equal(rig_task_of(rig, CLIENT, 1)->state, TASK_LEASED);
    assert_int_equal(core_deadline(rig->core), NP_NEVER);
    answer(rig, worker, 1, 1, NETPOOL_OK);
    rig_flush(rig);
    assert_result(rig, client, 1, NETPOOL_OK);
    rig_free(rig);
}

static void a17_cancel_and_expiry_reach_a_task_that_waits_for_its_time(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 4, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .retry_delay_ms = 1000});
    rig_submit(rig, client,
               (struct rig_task){.function = "f", .first = 2, .count = 1, .retry_delay_ms = 1000, .expiry_ms = 600});
    rig_submit(rig, client,
               (struct rig_task){.function = "f", .first = 3, .count = 1, .retry_delay_ms = 300, .expiry_ms = 600});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 3);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        answer(rig, worker, seq, 1, NETPOOL_OUT_OF_MEMORY);
    }
    assert_int_equal(take_one(rig, worker), 0);
    rig_cancel(rig, client, 1);
    rig_flush(rig);
    assert_result(rig, client, 1, NETPOOL_CANCELLED);
    rig_advance(rig, 300);
    assert_int_equal(take_one(rig, worker), 3);
    rig_advance(rig, 300);
    assert_result(rig, client, 2, NETPOOL_DEADLINE);
    assert_int_equal(rig_task_of(rig, CLIENT, 3)->state, TASK_CANCELLING); /* its expiry outlived the delay */
    rig_free(rig);
}

static const Np__Failure *last_failure(struct rig *rig, uint64_t client, netpool_status status)
{
    const struct rig_message *message = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS);
    assert_non_null(message);
    const Np__Results *results = message->envelope->results;
    assert_int_equal(results->n_seqs, 1);
    assert_int_equal(results->statuses[0], status);
    return results->failures[0];
}

static void a17_failures_and_deadlines_are_tried_again_when_asked_for(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .retry_failures = true});
    static const netpool_status ends[] = {NETPOOL_DEADLINE, NETPOOL_CRASHED, NETPOOL_FAILED};
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        assert_int_equal(take_one(rig, worker), 1);
        answer(rig, worker, 1, attempt, ends[attempt - 1]);
    }
    rig_flush(rig);
    const Np__Failure *failure = last_failure(rig, client, NETPOOL_FAILED);
    assert_string_equal(failure->message, "it went wrong");
    assert_int_equal(failure->n_attempts, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(failure->attempts[i]->attempt, i + 1);
        assert_int_equal(failure->attempts[i]->status, ends[i]);
        assert_string_equal(failure->attempts[i]->worker, "worker-2");
    }
    assert_int_equal(rig_stats(rig).retried, 2);
    rig_free(rig);
}

static void a17_failures_are_final_otherwise(void **state)
{
    (void)state;
    static const struct rig_task kinds[] = {
        {.function = "f", .first = 1, .count = 1},
        {.function = "f", .first = 1, .count = 1, .retry_failures = true, .max_attempts = 1},
        {.function = "f", .first = 1, .count = 1, .retry_failures = true, .at_most_once = true},
    };
    for (size_t i = 0; i < 3; i++) {
        struct rig *rig = rig_new(NULL);
        uint64_t client = rig_client(rig, CLIENT, false);
        uint64_t worker = rig_worker(rig, 2, 1, "f");
        rig_submit(rig, client, kinds[i]);
        assert_int_equal(take_one(rig, worker), 1);
        answer(rig, worker, 1, 1, i == 1 ? NETPOOL_DEADLINE : NETPOOL_FAILED);
        rig_flush(rig);
        const Np__Failure *failure = last_failure(rig, client, i == 1 ? NETPOOL_DEADLINE : NETPOOL_FAILED);
        assert_int_equal(failure->n_attempts, 0);
        rig_free(rig);
    }
}

static void a17_a_success_after_failures_has_no_record_of_them(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(
        rig, client,
        (struct rig_task){.function = "f", .first = 1, .count = 1, .retry_failures = true, .retry_delay_ms = 5});
    assert_int_equal(take_one(rig, worker), 1);
    answer(rig, worker, 1, 1, NETPOOL_FAILED);
    rig_advance(rig, 5);
    assert_int_equal(take_one(rig, worker), 1);
    answer(rig, worker, 1, 2, NETPOOL_OK);
    rig_flush(rig);
    const Np__Results *results = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS)->envelope->results;
    assert_int_equal(results->attempts[0], 2);
    assert_int_equal(results->n_failures, 0);
    rig_free(rig);
}

/* The worker's result was there before the client's word that failures are to be tried again. */
static void a17_a_failure_that_came_before_its_client_is_tried_again(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = NP_NS_PER_S};
    struct rig *rig = rig_new(&config);
    uint64_t worker = rig_joining_worker(rig, 2, 1, "f");
    rig_held(rig, worker, CLIENT, 3, 1, 1);
    rig_held(rig, worker, CLIENT, 3, 2, 1);
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    for (uint64_t seq = 1; seq <= 2; seq++) {
        rig_result(rig, worker,
                   (struct rig_result){.session = CLIENT, .seq = seq, .epoch = 3, .status = NETPOOL_FAILED});
    }
    uint64_t client = rig_client(rig, CLIENT, true);
    rig_submit(rig, client,
               (struct rig_task){.function = "f", .first = 1, .count = 1, .resumed = true, .retry_failures = true});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 1, .resumed = true});
    rig_flush(rig);
    assert_result(rig, client, 2, NETPOOL_FAILED);
    rig_advance(rig, 1000);
    assert_int_equal(take_one(rig, worker), 1);
    answer(rig, worker, 1, 1, NETPOOL_OK);
    rig_flush(rig);
    assert_result(rig, client, 1, NETPOOL_OK);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a22_tasks_of_a_lane_run_one_at_a_time_in_the_order_of_their_seqs),
        cmocka_unit_test(a22_priority_and_function_do_not_overtake_within_a_lane),
        cmocka_unit_test(a22_lanes_do_not_hold_up_each_other_or_other_tasks),
        cmocka_unit_test(a22_a_lane_survives_the_loss_of_its_worker_and_keeps_its_order),
        cmocka_unit_test(a22_cancel_reaches_the_head_and_those_that_wait),
        cmocka_unit_test(a22_expiry_ends_tasks_that_wait_in_a_lane),
        cmocka_unit_test(a22_tasks_of_a_lane_without_their_function_end_and_the_lane_goes_on),
        cmocka_unit_test(a22_a_restarted_broker_keeps_the_order_of_a_lane),
        cmocka_unit_test(a22_a_task_whose_successor_runs_on_waits_for_that),
        cmocka_unit_test(a22_of_two_workers_with_tasks_of_one_lane_the_second_gives_way),
        cmocka_unit_test(a22_a_client_that_goes_takes_its_lanes_along),
        cmocka_unit_test(a17_attempts_wait_twice_as_long_each_time_up_to_a_minute),
        cmocka_unit_test(a17_the_delay_counts_for_lost_workers_and_the_lane_waits_along),
        cmocka_unit_test(a17_a_worker_that_comes_back_has_its_task_at_once),
        cmocka_unit_test(a17_cancel_and_expiry_reach_a_task_that_waits_for_its_time),
        cmocka_unit_test(a17_failures_and_deadlines_are_tried_again_when_asked_for),
        cmocka_unit_test(a17_failures_are_final_otherwise),
        cmocka_unit_test(a17_a_success_after_failures_has_no_record_of_them),
        cmocka_unit_test(a17_a_failure_that_came_before_its_client_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
