/* What workers hold and have not begun, and when it is taken back for others. */
#include "tests/unit/core_rig.h"

enum { CLIENT = 1 };

static void surplus_of_a_busy_worker_is_withdrawn_for_an_idle_one(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t busy = rig_worker(rig, 2, 2, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 4});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, busy), 4);
    assert_null(rig_take(rig, busy, NP__ENVELOPE__KIND_WITHDRAW));
    uint64_t other = rig_worker(rig, 4, 2, "g"); /* idle, but of no use */
    assert_null(rig_take(rig, busy, NP__ENVELOPE__KIND_WITHDRAW));
    uint64_t idle = rig_worker(rig, 3, 2, "f");
    const struct rig_message *withdraw = rig_take(rig, busy, NP__ENVELOPE__KIND_WITHDRAW);
    assert_non_null(withdraw);
    assert_int_equal(withdraw->envelope->withdraw->count, 1);
    rig_flush(rig);
    assert_null(rig_take(rig, busy, NP__ENVELOPE__KIND_WITHDRAW)); /* one at a time */
    rig_returned(rig, busy, CLIENT, 4, 1, true);
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, idle), 1);
    assert_int_equal(rig_take_assigned(rig, other), 0);
    withdraw = rig_take(rig, busy, NP__ENVELOPE__KIND_WITHDRAW); /* it has one more than it can run */
    assert_non_null(withdraw);
    rig_returned(rig, busy, 0, 0, 0, true); /* nothing any more */
    rig_flush(rig);
    assert_null(rig_take(rig, busy, NP__ENVELOPE__KIND_WITHDRAW)); /* not asked again until it gets more */
    rig_free(rig);
}

static void surplus_that_is_done_sooner_than_moved_stays(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t busy = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 2});
    rig_flush(rig);
    rig_answer(rig, busy, CLIENT, 2000);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 3, .count = 100});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, busy), 100);
    rig_worker(rig, 3, 1, "f");
    assert_null(rig_take(rig, busy, NP__ENVELOPE__KIND_WITHDRAW));
    rig_free(rig);
}

/* The worker has a first task of 2 us behind it, and holds so many now. */
static uint64_t worker_with(struct rig *rig, uint64_t client, uint8_t id, uint64_t count)
{
    uint64_t worker = rig_tried_worker(rig, client, CLIENT,
                                       (struct rig_trial){.id = id, .slots = 1, .compute_ns = 2000, .count = count});
    assert_int_equal(rig_take_assigned(rig, worker), count);
    return worker;
}

static uint32_t take_withdrawn(struct rig *rig, uint64_t worker)
{
    const struct rig_message *message = rig_take(rig, worker, NP__ENVELOPE__KIND_WITHDRAW);
    return message != NULL ? message->envelope->withdraw->count : 0;
}

static void return_tasks(struct rig *rig, uint64_t worker, uint64_t first, uint64_t last)
{
    for (uint64_t seq = last; seq >= first; seq--) {
        rig_returned(rig, worker, CLIENT, seq, 1, seq == first);
    }
    rig_flush(rig);
}

static void what_waits_behind_a_task_that_takes_longer_than_thought_goes_to_an_idle_worker(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t busy = worker_with(rig, client, 2, 100);
    uint64_t idle = rig_worker(rig, 3, 1, "f");
    assert_int_equal(core_deadline(rig->core), rig->now + 4 * NP_NS_PER_MS); /* nothing else need happen */
    rig_advance(rig, 3);
    assert_int_equal(take_withdrawn(rig, busy), 0);
    rig_advance(rig, 1);
    assert_int_equal(take_withdrawn(rig, busy), 99);
    assert_true(core_deadline(rig->core) == NP_NEVER);
    return_tasks(rig, busy, 3, 101);
    assert_int_equal(rig_take_assigned(rig, busy), 0);
    assert_int_equal(rig_take_assigned(rig, idle), 99);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 200, .count = 100});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, busy), 0); /* nothing is put behind that task again */
    assert_int_equal(rig_take_assigned(rig, idle), 100);
    rig_result(rig, busy, (struct rig_result){.session = CLIENT, .seq = 2, .compute_ns = 2000});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 300, .count = 100});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, busy), 100);
    rig_free(rig);
}

static void a_worker_that_answers_keeps_its_surplus(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t busy = worker_with(rig, client, 2, 100);
    rig_worker(rig, 3, 1, "f");
    for (uint64_t seq = 2; seq < 12; seq++) {
        rig_advance(rig, 3);
        rig_result(rig, busy, (struct rig_result){.session = CLIENT, .seq = seq, .compute_ns = 2000});
        rig_flush(rig);
    }
    assert_int_equal(take_withdrawn(rig, busy), 0);
    rig_advance(rig, 4);
    assert_int_equal(take_withdrawn(rig, busy), 89);
    rig_returned(rig, busy, 0, 0, 0, true); /* had all of it under way after all */
    rig_flush(rig);
    assert_true(core_deadline(rig->core) == NP_NEVER);
    rig_advance(rig, 100);
    assert_int_equal(take_withdrawn(rig, busy), 0);
    rig_free(rig);
}

static void a_worker_far_away_has_its_round_trips_time_to_answer(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t far = rig_joining_worker(rig, 2, 1, "f");
    rig_advance(rig, 20);
    rig_say(rig, far, NP__ENVELOPE__KIND_READY);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    rig_advance(rig, 20);
    rig_answer(rig, far, CLIENT, 2000);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 100});
    rig_flush(rig);
    rig_worker(rig, 3, 1, "f");
    rig_advance(rig, 43);
    assert_int_equal(take_withdrawn(rig, far), 0);
    rig_advance(rig, 1);
    assert_int_equal(take_withdrawn(rig, far), 99);
    rig_advance(rig, 1); /* it is not so far */
    rig_returned(rig, far, CLIENT, 101, 1, false);
    rig_returned(rig, far, CLIENT, 100, 1, true);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 200, .count = 200});
    rig_result(rig, far, (struct rig_result){.session = CLIENT, .seq = 2, .compute_ns = 2000});
    rig_flush(rig);
    rig_worker(rig, 4, 1, "f");
    rig_advance(rig, 6);
    assert_true(take_withdrawn(rig, far) > 0);
    rig_free(rig);
}

static void surplus_that_no_idle_worker_could_run_stays(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t busy = worker_with(rig, client, 2, 100);
    rig_worker(rig, 3, 1, "g");
    for (int i = 0; i < 20; i++) {
        rig_advance(rig, 1);
        assert_int_equal(take_withdrawn(rig, busy), 0);
    }
    rig_worker(rig, 4, 1, "f");
    rig_advance(rig, 4);
    assert_int_equal(take_withdrawn(rig, busy), 99);
    rig_free(rig);
}

/* More workers than are looked at in one turn: each has its turn, though nothing else happens. */
static void each_of_many_quiet_workers_is_asked(void **state)
{
    enum { WORKERS = 40, MS = 30 };
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t workers[WORKERS];
    workers[0] = worker_with(rig, client, 2, 1);
    for (int i = 1; i < WORKERS; i++) {
        workers[i] = rig_worker(rig, (uint8_t)(i + 2), 1, "f");
    }
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 100, .count = 10 * WORKERS});
    rig_flush(rig);
    rig_worker(rig, 100, 1, "f");
    unsigned with_surplus = 0;
    unsigned asked = 0;
    for (int i = 0; i < WORKERS; i++) {
        with_surplus += rig_take_assigned(rig, workers[i]) > 1;
    }
    assert_true(with_surplus > 16);
    for (int64_t end = rig->now + MS * NP_NS_PER_MS; rig->now < end && core_deadline(rig->core) < end;) {
        rig->now = core_deadline(rig->core);
        rig_advance(rig, 0);
        for (int i = 0; i < WORKERS; i++) {
            asked += take_withdrawn(rig, workers[i]) > 0;
        }
    }
    assert_int_equal(asked, with_surplus);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(surplus_of_a_busy_worker_is_withdrawn_for_an_idle_one),
        cmocka_unit_test(surplus_that_is_done_sooner_than_moved_stays),
        cmocka_unit_test(what_waits_behind_a_task_that_takes_longer_than_thought_goes_to_an_idle_worker),
        cmocka_unit_test(a_worker_that_answers_keeps_its_surplus),
        cmocka_unit_test(a_worker_far_away_has_its_round_trips_time_to_answer),
        cmocka_unit_test(surplus_that_no_idle_worker_could_run_stays),
        cmocka_unit_test(each_of_many_quiet_workers_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
