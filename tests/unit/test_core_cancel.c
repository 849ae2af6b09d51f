/* Cancellation of what has not begun to run, and what a failure tells its client. */
#include "tests/unit/core_rig.h"

enum { CLIENT = 1 };

struct scene {
    struct rig *rig;
    uint64_t client, worker;
};

/* A worker of one slot that holds task 1. */
static struct scene begin(struct rig_task task)
{
    struct scene scene = {.rig = rig_new(NULL)};
    scene.client = rig_client(scene.rig, CLIENT, false);
    scene.worker = rig_worker(scene.rig, 2, 1, "f");
    task.function = "f";
    task.first = task.count = 1;
    rig_submit(scene.rig, scene.client, task);
    rig_flush(scene.rig);
    assert_int_equal(rig_take_assigned(scene.rig, scene.worker), 1);
    return scene;
}

static void assert_withdraw(struct scene *scene, uint64_t seq, bool unstarted_only)
{
    rig_flush(scene->rig);
    const struct rig_message *message = rig_take(scene->rig, scene->worker, NP__ENVELOPE__KIND_WITHDRAW);
    assert_non_null(message);
    assert_int_equal(message->envelope->withdraw->n_seqs, 1);
    assert_int_equal(message->envelope->withdraw->seqs[0], seq);
    assert_int_equal(message->envelope->withdraw->unstarted_only, unstarted_only);
}

#define assert_failure(scene, seq, expected_status, expected_attempt, has_started)      \
    do {                                                                                \
        const struct task *failed = rig_task_of((scene)->rig, CLIENT, seq);             \
        assert_int_equal(failed->state, TASK_FINISHED);                                 \
        assert_string_equal(netpool_status_name((netpool_status)failed->status),        \
                            netpool_status_name(expected_status));                      \
        assert_int_equal(failed->attempt, expected_attempt);                            \
        rig_flush((scene)->rig);                                                        \
        const Np__Failure *told = rig_take_failure((scene)->rig, (scene)->client, seq); \
        assert_non_null(told);                                                          \
        assert_int_equal(told->started, has_started);                                   \
    } while (0)

static void a15_a_queued_task_is_cancelled_at_once_without_an_attempt(void **state)
{
    (void)state;
    struct scene scene = {.rig = rig_new(NULL)};
    scene.client = rig_client(scene.rig, CLIENT, false);
    rig_submit(scene.rig, scene.client, (struct rig_task){.function = "f", .first = 1, .count = 2});
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    assert_failure(&scene, 1, NETPOOL_CANCELLED, 0, false);
    rig_cancel(scene.rig, scene.client, 2);
    rig_flush(scene.rig);
    netpool_status status;
    uint32_t attempt = 9;
    assert_true(rig_take_result(scene.rig, scene.client, 2, &status, &attempt));
    assert_int_equal(attempt, 0);
    rig_free(scene.rig);
}

static void a15_a_leased_task_stays_leased_and_its_worker_is_asked_once(void **state)
{
    (void)state;
    struct scene scene = begin((struct rig_task){0});
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    assert_withdraw(&scene, 1, true);
    assert_null(rig_take(scene.rig, scene.worker, NP__ENVELOPE__KIND_WITHDRAW));
    assert_int_equal(rig_task_of(scene.rig, CLIENT, 1)->state, TASK_LEASED);
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1});
    rig_flush(scene.rig);
    assert_result(scene.rig, scene.client, 1, NETPOOL_OK); /* it had begun */
    rig_free(scene.rig);
}

static void a15_a_worker_that_had_not_begun_says_so(void **state)
{
    (void)state;
    struct scene scene = begin((struct rig_task){0});
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    rig_result(scene.rig, scene.worker,
               (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CANCELLED, .started = false});
    assert_failure(&scene, 1, NETPOOL_CANCELLED, 1, false);
    rig_free(scene.rig);
}

static void a15_a_full_cancel_still_works_after_it(void **state)
{
    (void)state;
    struct scene scene = begin((struct rig_task){0});
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    rig_cancel(scene.rig, scene.client, 1);
    assert_withdraw(&scene, 1, true);
    assert_withdraw(&scene, 1, false);
    assert_int_equal(rig_task_of(scene.rig, CLIENT, 1)->state, TASK_CANCELLING);
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    rig_flush(scene.rig);
    assert_null(rig_take(scene.rig, scene.worker, NP__ENVELOPE__KIND_WITHDRAW));
    rig_result(scene.rig, scene.worker,
               (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CANCELLED, .started = true});
    assert_failure(&scene, 1, NETPOOL_CANCELLED, 1, true);
    rig_free(scene.rig);
}

static void a15_what_would_be_queued_again_is_cancelled_instead(void **state)
{
    (void)state;
    struct scene scene = begin((struct rig_task){0});
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    rig_disconnect(scene.rig, scene.worker, false);
    assert_failure(&scene, 1, NETPOOL_CANCELLED, 1, true); /* for all that is known */
    rig_free(scene.rig);

    scene = begin((struct rig_task){0});
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    rig_returned(scene.rig, scene.worker, CLIENT, 1, 1, false);
    assert_failure(&scene, 1, NETPOOL_CANCELLED, 0, false);
    rig_free(scene.rig);

    scene = begin((struct rig_task){.retry_delay_ms = 50});
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CRASHED});
    assert_failure(&scene, 1, NETPOOL_CANCELLED, 1, true);
    assert_int_equal(core_deadline(scene.rig->core), NP_NEVER);
    rig_free(scene.rig);

    scene = begin((struct rig_task){.at_most_once = true});
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    rig_disconnect(scene.rig, scene.worker, false);
    assert_failure(&scene, 1, NETPOOL_LOST, 1, true); /* it would not have been queued */
    rig_free(scene.rig);
}

static void a15_a_recovering_task_may_be_running_and_is_asked_about_when_it_is_found(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = NP_NS_PER_S};
    struct scene scene = {.rig = rig_new(&config)};
    scene.client = rig_client(scene.rig, CLIENT, true);
    rig_submit(scene.rig, scene.client, (struct rig_task){.function = "f", .first = 1, .count = 2, .resumed = true});
    rig_cancel_unstarted(scene.rig, scene.client, 1);
    rig_cancel_unstarted(scene.rig, scene.client, 2);
    assert_int_equal(rig_task_of(scene.rig, CLIENT, 1)->state, TASK_RECOVERING);
    scene.worker = rig_joining_worker(scene.rig, 2, 1, "f");
    rig_held(scene.rig, scene.worker, CLIENT, 3, 1, 1);
    assert_withdraw(&scene, 1, true);
    rig_advance(scene.rig, 1000);
    assert_int_equal(rig_task_of(scene.rig, CLIENT, 1)->state, TASK_LEASED);
    assert_failure(&scene, 2, NETPOOL_CANCELLED, 0, false);
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1, .epoch = 3});
    rig_flush(scene.rig);
    assert_result(scene.rig, scene.client, 1, NETPOOL_OK);
    rig_free(scene.rig);
}

static void a15_one_withdraw_says_one_thing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 6, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 6});
    rig_flush(rig);
    for (uint64_t seq = 1; seq <= 6; seq++) {
        if (seq <= 2 || seq == 6) {
            rig_cancel_unstarted(rig, client, seq);
        } else {
            rig_cancel(rig, client, seq);
        }
    }
    rig_flush(rig);
    static const size_t counts[] = {2, 3, 1};
    for (size_t i = 0; i < 3; i++) {
        const struct rig_message *message = rig_take(rig, worker, NP__ENVELOPE__KIND_WITHDRAW);
        assert_int_equal(message->envelope->withdraw->n_seqs, counts[i]);
        assert_int_equal(message->envelope->withdraw->unstarted_only, i != 1);
    }
    rig_free(rig);
}

static void a15_an_attempt_that_crashed_had_begun_though_the_task_was_queued_when_cancelled(void **state)
{
    (void)state;
    struct scene scene = begin((struct rig_task){.retry_delay_ms = 1000});
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CRASHED});
    rig_cancel(scene.rig, scene.client, 1);
    assert_failure(&scene, 1, NETPOOL_CANCELLED, 1, true);
    rig_free(scene.rig);
}

static void a15_a_running_task_whose_worker_is_lost_while_it_is_cancelled_may_have_begun(void **state)
{
    (void)state;
    struct scene scene = begin((struct rig_task){0});
    rig_cancel(scene.rig, scene.client, 1);
    rig_disconnect(scene.rig, scene.worker, false);
    assert_failure(&scene, 1, NETPOOL_CANCELLED, 1, true);
    rig_free(scene.rig);
    scene = begin((struct rig_task){0});
    rig_cancel(scene.rig, scene.client, 1);
    rig_returned(scene.rig, scene.worker, CLIENT, 1, 1, false);
    assert_failure(&scene, 1, NETPOOL_CANCELLED, 1, false);
    rig_free(scene.rig);
}

static void a13_the_stack_of_the_last_crash_comes_to_the_client(void **state)
{
    (void)state;
    static char stack[NP_STACK_MAX + 1];
    memset(stack, 's', NP_STACK_MAX);
    struct scene scene = begin((struct rig_task){.max_attempts = 2});
    uint64_t before = rig_stats(scene.rig).memory_bytes;
    rig_result(scene.rig, scene.worker,
               (struct rig_result){
                   .session = CLIENT, .seq = 1, .status = NETPOOL_CRASHED, .started = true, .stack = "first"});
    rig_flush(scene.rig);
    assert_int_equal(rig_take_assigned(scene.rig, scene.worker), 1);
    rig_result(
        scene.rig, scene.worker,
        (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 2, .status = NETPOOL_CRASHED, .stack = stack});
    rig_flush(scene.rig);
    assert_true(rig_stats(scene.rig).memory_bytes >= before + NP_STACK_MAX);
    assert_int_equal(rig_task_of(scene.rig, CLIENT, 1)->status, NETPOOL_POISON);
    const Np__Failure *failure = rig_take_failure(scene.rig, scene.client, 1);
    assert_string_equal(failure->stack, stack);
    assert_true(failure->started);
    assert_int_equal(failure->n_attempts, 2);
    rig_acknowledge(scene.rig, scene.client, 1, 1);
    assert_int_equal(rig_stats(scene.rig).memory_bytes, 0);
    rig_free(scene.rig);
}

static void a21_waiting_at_the_worker_is_waiting(void **state)
{
    (void)state;
    struct scene scene = begin((struct rig_task){0});
    uint64_t queued = rig_task_of(scene.rig, CLIENT, 1)->queue_ns;
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1, .wait_ns = 5000});
    rig_flush(scene.rig);
    const struct rig_message *message = rig_take(scene.rig, scene.client, NP__ENVELOPE__KIND_RESULTS);
    assert_int_equal(message->envelope->results->queue_ns[0], queued + 5000);
    assert_int_equal(message->envelope->results->n_wait_ns, 0);
    rig_free(scene.rig);
    scene = begin((struct rig_task){0});
    rig_task_of(scene.rig, CLIENT, 1)->queue_ns = 10;
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1, .wait_ns = UINT64_MAX});
    assert_int_equal(rig_task_of(scene.rig, CLIENT, 1)->queue_ns, UINT64_MAX); /* not 9 */
    rig_free(scene.rig);
}

static uint64_t small_client(struct rig *rig, bool resume)
{
    Np__Hello hello = rig_hello_of(NP__ROLE__CLIENT, CLIENT);
    hello.max_payload = 1000;
    hello.resume = resume;
    uint64_t client = rig_hello(rig, &hello, NP__ROLE__NONE, "");
    rig_flush(rig);
    return client;
}

static void b24_a_clients_limit_holds_while_it_is_away(void **state)
{
    (void)state;
    struct scene scene = {.rig = rig_new(NULL)};
    scene.client = small_client(scene.rig, false);
    scene.worker = rig_worker(scene.rig, 2, 2, "f");
    rig_submit(scene.rig, scene.client, (struct rig_task){.function = "f", .first = 1, .count = 2});
    rig_flush(scene.rig);
    rig_disconnect(scene.rig, scene.client, false);
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1, .size = 1001});
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 2, .size = 1000});
    scene.client = small_client(scene.rig, true);
    assert_failure(&scene, 1, NETPOOL_TOO_LARGE, 1, true);
    assert_int_equal(rig_task_of(scene.rig, CLIENT, 2)->status, NETPOOL_OK);
    rig_free(scene.rig);
}

static void b24_a_result_that_came_before_its_client_was_known_is_held_to_its_limit(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = NP_NS_PER_S};
    struct scene scene = {.rig = rig_new(&config)};
    scene.worker = rig_joining_worker(scene.rig, 2, 2, "f");
    rig_held(scene.rig, scene.worker, CLIENT, 3, 1, 1);
    rig_held(scene.rig, scene.worker, CLIENT, 3, 2, 1);
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .epoch = 3, .seq = 1, .size = 1001});
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .epoch = 3, .seq = 2, .size = 1000});
    scene.client = small_client(scene.rig, true);
    rig_submit(scene.rig, scene.client, (struct rig_task){.function = "f", .first = 1, .count = 2, .resumed = true});
    assert_failure(&scene, 1, NETPOOL_TOO_LARGE, 1, true);
    assert_int_equal(rig_task_of(scene.rig, CLIENT, 2)->status, NETPOOL_OK);
    assert_int_equal(rig_stats(scene.rig).done, 1);
    assert_int_equal(rig_stats(scene.rig).failed, 1);
    rig_free(scene.rig);
}

static void an_attempts_message_is_not_cut_inside_a_character(void **state)
{
    (void)state;
    struct scene scene = begin((struct rig_task){.max_attempts = 2});
    char message[512] = "";
    while (strlen(message) < 300) {
        strcat(message, "\xe2\x82\xac");
    }
    for (uint32_t attempt = 1; attempt <= 2; attempt++) {
        rig_result(scene.rig, scene.worker,
                   (struct rig_result){.session = CLIENT,
                                       .seq = 1,
                                       .attempt = attempt,
                                       .status = NETPOOL_CRASHED,
                                       .message = message + (attempt == 2 ? 0 : 1)});
        rig_flush(scene.rig);
    }
    const Np__Failure *failure = rig_take_failure(scene.rig, scene.client, 1);
    assert_int_equal(strlen(failure->attempts[1]->message), 255);
    assert_int_equal(strlen(failure->attempts[0]->message), 254);
    rig_free(scene.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a15_a_queued_task_is_cancelled_at_once_without_an_attempt),
        cmocka_unit_test(a15_a_leased_task_stays_leased_and_its_worker_is_asked_once),
        cmocka_unit_test(a15_a_worker_that_had_not_begun_says_so),
        cmocka_unit_test(a15_a_full_cancel_still_works_after_it),
        cmocka_unit_test(a15_what_would_be_queued_again_is_cancelled_instead),
        cmocka_unit_test(a15_a_recovering_task_may_be_running_and_is_asked_about_when_it_is_found),
        cmocka_unit_test(a15_one_withdraw_says_one_thing),
        cmocka_unit_test(a15_an_attempt_that_crashed_had_begun_though_the_task_was_queued_when_cancelled),
        cmocka_unit_test(a15_a_running_task_whose_worker_is_lost_while_it_is_cancelled_may_have_begun),
        cmocka_unit_test(a13_the_stack_of_the_last_crash_comes_to_the_client),
        cmocka_unit_test(a21_waiting_at_the_worker_is_waiting),
        cmocka_unit_test(b24_a_clients_limit_holds_while_it_is_away),
        cmocka_unit_test(b24_a_result_that_came_before_its_client_was_known_is_held_to_its_limit),
        cmocka_unit_test(an_attempts_message_is_not_cut_inside_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
