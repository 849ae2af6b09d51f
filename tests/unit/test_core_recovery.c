/* After a broker's start: what workers still hold is adopted, whoever comes back first. */
#include "tests/unit/core_rig.h"

enum { CLIENT = 1, OLD_EPOCH = 3 };

static struct rig *restarted(void)
{
    struct core_config config = {.recovery_ns = 5 * NP_NS_PER_S};
    return rig_new(&config);
}

static void b4_a_held_task_is_adopted_when_the_client_was_first(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    uint64_t client = rig_client(rig, CLIENT, true);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 4, .count = 2, .resumed = true, .size = 9});
    uint64_t worker = rig_joining_worker(rig, 2, 1, "f");
    rig_held(rig, worker, CLIENT, OLD_EPOCH, 4, 2);
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    rig_flush(rig);
    assert_int_equal(rig_task_of(rig, CLIENT, 4)->state, TASK_LEASED);
    assert_int_equal(rig_task_of(rig, CLIENT, 5)->state, TASK_RECOVERING);
    assert_int_equal(rig_take_assigned(rig, worker), 0);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .epoch = OLD_EPOCH, .seq = 4, .attempt = 2});
    rig_flush(rig);
    assert_result(rig, client, 4, NETPOOL_OK);
    rig_advance(rig, 5000);
    assert_int_equal(rig_take_assigned(rig, worker), 1); /* nobody had the other one */
    assert_int_equal(rig_stats(rig).adopted, 1);
    rig_free(rig);
}

static void an_adopted_retry_that_comes_back_unstarted_is_counted_once(void **state)
{
    (void)state;
    for (int worker_first = 0; worker_first < 2; worker_first++) {
        struct rig *rig = restarted();
        uint64_t worker = 0;
        for (int step = 0; step < 2; step++) {
            if (step == worker_first) {
                uint64_t client = rig_client(rig, CLIENT, true);
                rig_submit(rig, client, (struct rig_task){.function = "f", .first = 4, .count = 1, .resumed = true});
            } else {
                worker = rig_joining_worker(rig, 2, 1, "f");
                rig_held(rig, worker, CLIENT, OLD_EPOCH, 4, 2);
                rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
            }
        }
        rig_flush(rig);
        assert_int_equal(rig_stats(rig).retried, 1);
        rig_say(rig, worker, NP__ENVELOPE__KIND_DRAIN);
        rig_returned(rig, worker, CLIENT, 4, 2, false);
        assert_int_equal(rig_stats(rig).retried, 0);
        uint64_t other = rig_worker(rig, 3, 1, "f");
        rig_flush(rig);
        assert_int_equal(rig_take_assigned(rig, other), 1);
        assert_int_equal(rig_task_of(rig, CLIENT, 4)->attempt, 2);
        assert_int_equal(rig_stats(rig).retried, 1);
        rig_free(rig);
    }
}

static void b4_a_held_task_is_adopted_when_the_worker_was_first(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    uint64_t worker = rig_joining_worker(rig, 2, 2, "f");
    rig_held(rig, worker, CLIENT, OLD_EPOCH, 4, 1);
    rig_held(rig, worker, CLIENT, OLD_EPOCH, 5, 1);
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .epoch = OLD_EPOCH, .seq = 4, .size = 5});
    rig_flush(rig);
    assert_null(rig_take(rig, worker, NP__ENVELOPE__KIND_WITHDRAW));
    uint64_t client = rig_client(rig, CLIENT, true);
    assert_false(rig_take(rig, client, NP__ENVELOPE__KIND_WELCOME)->envelope->welcome->resumed);
    assert_null(rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS)); /* not before it asks */
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 4, .count = 2, .resumed = true, .size = 9});
    rig_flush(rig);
    assert_result(rig, client, 4, NETPOOL_OK); /* kept for it */
    assert_int_equal(rig_task_of(rig, CLIENT, 5)->state, TASK_LEASED);
    assert_int_equal(rig_take_assigned(rig, worker), 0);
    assert_int_equal(rig_stats(rig).adopted, 2);
    rig_disconnect(rig, worker, false); /* its payload is there: it can run elsewhere */
    uint64_t other = rig_worker(rig, 3, 1, "f");
    const struct rig_message *assign = rig_take(rig, other, NP__ENVELOPE__KIND_ASSIGN);
    assert_non_null(assign);
    assert_int_equal(assign->body_size, 9);
    rig_free(rig);
}

static void at_most_once_tasks_that_nobody_holds_are_lost_when_recovery_is_over(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    uint64_t client = rig_client(rig, CLIENT, true);
    rig_submit(rig, client,
               (struct rig_task){.function = "f", .first = 1, .count = 1, .resumed = true, .at_most_once = true});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 1, .at_most_once = true});
    assert_int_equal(core_deadline(rig->core), rig->now + 5 * NP_NS_PER_S);
    rig_advance(rig, 4999);
    assert_int_equal(rig_task_of(rig, CLIENT, 1)->state, TASK_RECOVERING);
    rig_advance(rig, 1);
    assert_result(rig, client, 1, NETPOOL_LOST);
    assert_int_equal(rig_task_of(rig, CLIENT, 2)->state, TASK_QUEUED); /* this one is new */
    rig_submit(rig, client,
               (struct rig_task){.function = "f", .first = 3, .count = 1, .resumed = true, .at_most_once = true});
    rig_flush(rig);
    assert_result(rig, client, 3, NETPOOL_LOST); /* too late for anybody to report it */
    assert_int_equal(core_deadline(rig->core), NP_NEVER);
    rig_free(rig);
}

static void what_is_held_for_nobody_is_withdrawn_when_recovery_is_over(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    uint64_t worker = rig_joining_worker(rig, 2, 1, "f");
    rig_held(rig, worker, 42, OLD_EPOCH, 1, 1);
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    rig_flush(rig);
    assert_int_equal(rig_stats(rig).running, 1);
    rig_advance(rig, 5000);
    const struct rig_message *withdraw = rig_take(rig, worker, NP__ENVELOPE__KIND_WITHDRAW);
    assert_non_null(withdraw);
    assert_int_equal(withdraw->envelope->withdraw->session.data[0], 42);
    rig_result(rig, worker,
               (struct rig_result){.session = 42, .epoch = OLD_EPOCH, .seq = 1, .status = NETPOOL_CANCELLED});
    assert_int_equal(rig_stats(rig).running, 0);
    assert_int_equal(rig_stats(rig).memory_bytes, 0);
    rig_free(rig);
}

static void held_after_recovery_or_by_a_second_worker_is_withdrawn(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t worker = rig_joining_worker(rig, 2, 1, "f");
    rig_held(rig, worker, 42, OLD_EPOCH, 1, 1);
    rig_flush(rig);
    assert_non_null(rig_take(rig, worker, NP__ENVELOPE__KIND_WITHDRAW));
    rig_free(rig);

    rig = restarted();
    uint64_t client = rig_client(rig, CLIENT, true);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .resumed = true});
    uint64_t a = rig_joining_worker(rig, 2, 1, "f");
    uint64_t b = rig_joining_worker(rig, 3, 1, "f");
    rig_held(rig, a, CLIENT, OLD_EPOCH, 1, 1);
    rig_held(rig, b, CLIENT, OLD_EPOCH, 1, 2);
    rig_flush(rig);
    assert_null(rig_take(rig, a, NP__ENVELOPE__KIND_WITHDRAW));
    assert_non_null(rig_take(rig, b, NP__ENVELOPE__KIND_WITHDRAW));
    rig_free(rig);
}

static void b12_a_worker_whose_link_broke_gets_its_running_task_back(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .max_attempts = 2});
    rig_flush(rig);
    rig_disconnect(rig, worker, false);
    rig_flush(rig);
    uint64_t back = rig_joining_worker(rig, 2, 1, "f");
    rig_held(rig, back, CLIENT, rig->core->config.epoch, 1, 1);
    rig_say(rig, back, NP__ENVELOPE__KIND_READY);
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, back), 0);
    rig_result(rig, back, (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 1});
    rig_flush(rig);
    assert_result(rig, client, 1, NETPOOL_OK);
    assert_int_equal(rig_stats(rig).adopted, 1);
    rig_free(rig);
}

static void an_adopted_attempt_leaves_no_record_of_its_loss(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .max_attempts = 2});
    rig_flush(rig);
    rig_disconnect(rig, worker, false);
    worker = rig_joining_worker(rig, 2, 1, "f");
    rig_held(rig, worker, CLIENT, rig->core->config.epoch, 1, 1);
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CRASHED});
    rig_flush(rig);
    rig_result(rig, worker,
               (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 2, .status = NETPOOL_CRASHED});
    rig_flush(rig);
    const struct rig_message *message = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS);
    assert_int_equal(message->envelope->results->statuses[0], NETPOOL_POISON);
    assert_int_equal(message->envelope->results->failures[0]->n_attempts, 2);
    rig_free(rig);
}

static void tasks_of_resumed_sessions_are_not_judged_while_workers_may_come_back(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    uint64_t old = rig_client(rig, CLIENT, true);
    uint64_t fresh = rig_client(rig, 2, false);
    rig_worker(rig, 3, 1, "g");
    rig_submit(rig, old, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_submit(rig, fresh, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    assert_result(rig, fresh, 1, NETPOOL_NO_SUCH_FUNCTION);
    assert_int_equal(rig_task_of(rig, CLIENT, 1)->state, TASK_QUEUED);
    rig_advance(rig, 5000);
    assert_result(rig, old, 1, NETPOOL_NO_SUCH_FUNCTION);
    rig_free(rig);
}

static void b4_the_answer_to_a_withdrawal_of_an_earlier_broker_cancels_nothing(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = NP_NS_PER_S};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, 1, true);
    uint64_t worker = rig_joining_worker(rig, 2, 2, "f");
    rig_held(rig, worker, 1, 3, 1, 1);
    rig_held(rig, worker, 1, 3, 2, 1); /* is not submitted again before its result comes */
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .resumed = true});
    assert_int_equal(rig_task_of(rig, 1, 1)->state, TASK_LEASED);
    for (uint64_t seq = 1; seq <= 2; seq++) {
        rig_result(rig, worker,
                   (struct rig_result){.session = 1, .epoch = 3, .seq = seq, .status = NETPOOL_CANCELLED});
    }
    assert_int_equal(rig_task_of(rig, 1, 1)->state, TASK_QUEUED);
    assert_null(rig_task_of(rig, 1, 2));
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 1, .resumed = true});
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    rig_advance(rig, 1000);
    rig_result(rig, worker, (struct rig_result){.session = 1, .seq = 1, .attempt = 2});
    rig_result(rig, worker, (struct rig_result){.session = 1, .seq = 2});
    rig_flush(rig);
    assert_int_equal(rig_task_of(rig, 1, 1)->status, NETPOOL_OK);
    assert_int_equal(rig_task_of(rig, 1, 2)->status, NETPOOL_OK);
    rig_free(rig);
}

static void b9_a_task_submitted_again_after_a_lost_answer_runs_once(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 2, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 1);
    rig_disconnect(rig, client, false);
    uint64_t back = rig_client(rig, CLIENT, true);
    rig_submit(rig, back, (struct rig_task){.function = "f", .first = 1, .count = 1}); /* it has seen no answer */
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 0);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1});
    rig_flush(rig);
    assert_result(rig, back, 1, NETPOOL_OK);
    assert_null(rig_take(rig, back, NP__ENVELOPE__KIND_RESULTS)); /* once */
    assert_int_equal(rig_stats(rig).done, 1);
    assert_int_equal(rig_stats(rig).retried, 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b4_a_held_task_is_adopted_when_the_client_was_first),
        cmocka_unit_test(an_adopted_retry_that_comes_back_unstarted_is_counted_once),
        cmocka_unit_test(b4_a_held_task_is_adopted_when_the_worker_was_first),
        cmocka_unit_test(at_most_once_tasks_that_nobody_holds_are_lost_when_recovery_is_over),
        cmocka_unit_test(what_is_held_for_nobody_is_withdrawn_when_recovery_is_over),
        cmocka_unit_test(held_after_recovery_or_by_a_second_worker_is_withdrawn),
        cmocka_unit_test(b12_a_worker_whose_link_broke_gets_its_running_task_back),
        cmocka_unit_test(an_adopted_attempt_leaves_no_record_of_its_loss),
        cmocka_unit_test(tasks_of_resumed_sessions_are_not_judged_while_workers_may_come_back),
        cmocka_unit_test(b4_the_answer_to_a_withdrawal_of_an_earlier_broker_cancels_nothing),
        cmocka_unit_test(b9_a_task_submitted_again_after_a_lost_answer_runs_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
