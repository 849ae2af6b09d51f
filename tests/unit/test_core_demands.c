/* Labels and slots: which worker a task may have, and what is said of tasks that none can serve. */
#include "tests/unit/core_rig.h"

enum { CLIENT = 1 };

static void submit(struct rig *rig, uint64_t client, uint64_t first, uint64_t count, const char *labels,
                   unsigned slots)
{
    rig_submit(rig, client,
               (struct rig_task){.function = "f", .first = first, .count = count, .labels = labels, .slots = slots});
    rig_flush(rig);
}

static void finish(struct rig *rig, uint64_t worker, uint64_t seq)
{
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = seq, .compute_ns = 50 * NP_NS_PER_MS});
    rig_flush(rig);
}

static void labels_are_matched_exactly_or_by_key_alone(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_labelled_worker(rig, 2, 64, "f", "gpu=1 fast zone=north pair=x=y");
    static const struct {
        const char *labels;
        bool is_met;
    } cases[] = {
        {"gpu=1", true},      {"gpu", true},       {"fast", true},     {"zone gpu=1", true},   {"gpu=1 zone", true},
        {"zone=north", true}, {"gpu=2", false},    {"gpu=", false},    {"gp", false},          {"gpu=1 slow", false},
        {"gpu=10", false},    {"fast=yes", false}, {"zone=no", false}, {"zone=north2", false}, {"gpu gpu=1", true},
        {"pair=x", false},    {"pair=x=y", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        submit(rig, client, i + 1, 1, cases[i].labels, 0);
        assert_int_equal(rig_take_assigned(rig, worker), cases[i].is_met ? 1 : 0);
    }
    rig_free(rig);
}

static void labels_that_no_worker_has_make_a_task_wait_until_one_comes(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t plain = rig_worker(rig, 2, 4, "f");
    submit(rig, client, 1, 3, "gpu=1", 0);
    submit(rig, client, 4, 2, NULL, 0);
    assert_int_equal(rig_take_assigned(rig, plain), 2); /* others are not held up */
    assert_int_equal(rig_stats(rig).queued, 3);
    uint64_t gpu = rig_labelled_worker(rig, 3, 4, "f", "gpu=1");
    assert_int_equal(rig_take_assigned(rig, gpu), 3);
    rig_disconnect(rig, gpu, false);
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, plain), 0);
    assert_int_equal(rig_stats(rig).queued, 3);
    rig_free(rig);
}

static void labels_of_a_function_that_nobody_has_do_not_save_its_tasks(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    submit(rig, client, 1, 1, "gpu", 2);
    rig_labelled_worker(rig, 2, 4, "g", "gpu");
    assert_result(rig, client, 1, NETPOOL_NO_SUCH_FUNCTION);
    rig_free(rig);
}

static void labels_count_when_surplus_is_moved(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t busy = rig_labelled_worker(rig, 2, 2, "f", "gpu");
    submit(rig, client, 1, 4, "gpu", 0);
    assert_int_equal(rig_take_assigned(rig, busy), 4);
    rig_worker(rig, 3, 2, "f");
    assert_null(rig_take(rig, busy, NP__ENVELOPE__KIND_WITHDRAW));
    rig_labelled_worker(rig, 4, 2, "f", "gpu=7");
    assert_non_null(rig_take(rig, busy, NP__ENVELOPE__KIND_WITHDRAW));
    rig_free(rig);
}

static void slots_of_the_tasks_held_never_exceed_the_workers(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 8, "f");
    submit(rig, client, 1, 10, NULL, 3);
    assert_int_equal(rig_take_assigned(rig, worker), 2);
    submit(rig, client, 11, 10, NULL, 1);
    assert_int_equal(rig_take_assigned(rig, worker), 0); /* it is the older ones' turn: the worker is kept for them */
    finish(rig, worker, 1);
    assert_int_equal(rig_take_assigned(rig, worker), 1);
    for (uint64_t seq = 2; seq <= 9; seq++) {
        finish(rig, worker, seq);
    }
    assert_int_equal(rig_take_assigned(rig, worker), 7 + 5); /* 4 to 10, and narrow ones beside the last */
    const struct worker *held = rig_task_of(rig, CLIENT, 10)->worker;
    assert_int_equal(held->held_slots, 8);
    assert_int_equal(held->held, 6);
    rig_free(rig);
}

static void slots_for_wide_tasks_are_kept_free_while_narrow_ones_stream_by(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t other = rig_client(rig, 3, false);
    uint64_t worker = rig_worker(rig, 2, 4, "f");
    submit(rig, client, 1, 4000, NULL, 0);
    for (uint64_t seq = 1; seq <= 20; seq++) {
        finish(rig, worker, seq);
    }
    rig_take_assigned(rig, worker);
    submit(rig, other, 1, 1, NULL, 4);
    uint64_t seq = 21;
    while (rig_task_of(rig, 3, 1)->state != TASK_LEASED) {
        assert_true(seq < 40);
        finish(rig, worker, seq++);
    }
    assert_int_equal(rig_task_of(rig, 3, 1)->worker->held, 1); /* alone */
    rig_result(rig, worker, (struct rig_result){.session = 3, .seq = 1, .compute_ns = NP_NS_PER_S});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 1 + 4);
    rig_free(rig);
}

static void slots_kept_free_are_given_back_when_the_wide_task_goes(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 2, "f");
    submit(rig, client, 1, 1, NULL, 0);
    submit(rig, client, 2, 1, NULL, 2);
    submit(rig, client, 3, 1, NULL, 0);
    assert_int_equal(rig_take_assigned(rig, worker), 1);
    rig_cancel(rig, client, 2);
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 1);
    rig_free(rig);
}

static void slots_kept_free_move_to_another_worker_when_that_one_goes(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t gone = rig_worker(rig, 2, 2, "f");
    submit(rig, client, 1, 1, NULL, 0);
    submit(rig, client, 2, 1, NULL, 2);
    rig_disconnect(rig, gone, false);
    rig_flush(rig);
    uint64_t draining = rig_worker(rig, 3, 2, "f");
    rig_say(rig, draining, NP__ENVELOPE__KIND_DRAIN);
    rig_flush(rig);
    uint64_t worker = rig_worker(rig, 4, 2, "f");
    rig_worker(rig, 5, 1, "f"); /* too small */
    assert_int_equal(rig_take_assigned(rig, worker), 1);
    assert_int_equal(rig_task_of(rig, CLIENT, 2)->worker->slots, 2);
    rig_free(rig);
}

static void slots_taken_are_known_of_tasks_that_outlived_the_broker(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = NP_NS_PER_S};
    struct rig *rig = rig_new(&config);
    uint64_t worker = rig_joining_worker(rig, 2, 4, "f");
    rig_held(rig, worker, CLIENT, 3, 1, 1);
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    uint64_t client = rig_client(rig, CLIENT, true);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .slots = 3, .resumed = true});
    submit(rig, client, 2, 3, NULL, 0);
    assert_int_equal(rig_take_assigned(rig, worker), 1);
    rig_free(rig);
}

static const Np__Status *ask(struct rig *rig, uint64_t peer)
{
    rig_say(rig, peer, NP__ENVELOPE__KIND_STATUS_REQUEST);
    rig_flush(rig);
    return rig_take(rig, peer, NP__ENVELOPE__KIND_STATUS)->envelope->status;
}

/* A client that the transport vouches for. */
static uint64_t named_client(struct rig *rig, uint8_t id, const char *name)
{
    Np__Hello hello = rig_hello_of(NP__ROLE__CLIENT, id);
    uint64_t peer = rig_hello(rig, &hello, NP__ROLE__CLIENT, name);
    rig_flush(rig);
    return peer;
}

static void labels_that_wait_are_seen_by_clients_of_the_same_name_only(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t job = named_client(rig, CLIENT, "alice");
    uint64_t window = named_client(rig, 3, "alice");
    uint64_t other = named_client(rig, 4, "bob");
    submit(rig, job, 1, 2, "gpu=1", 0);
    assert_int_equal(ask(rig, job)->n_waiting, 1);
    const Np__Status *status = ask(rig, window);
    assert_int_equal(status->n_waiting, 1);
    assert_string_equal(status->waiting[0], "2 tasks of f wait: no worker is connected");
    assert_int_equal(ask(rig, other)->n_waiting, 0);
    /* Names that nobody vouches for are of one user: all of them may see all. */
    status = ask(rig, rig_client(rig, 5, false));
    assert_int_equal(status->n_waiting, 1);
    assert_string_equal(status->waiting[0], "alice: 2 tasks of f wait: no worker is connected");
    rig_free(rig);
}

static void labels_and_slots_that_nobody_has_are_named_in_the_status(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = named_client(rig, CLIENT, "client");
    uint64_t other = named_client(rig, 3, "other");
    Np__Hello hello = rig_hello_of(NP__ROLE__ADMIN, 9);
    uint64_t admin = rig_hello(rig, &hello, NP__ROLE__NONE, "");
    submit(rig, client, 1, 12, "gpu=1", 0);
    const Np__Status *status = ask(rig, client);
    assert_int_equal(status->n_waiting, 1);
    assert_string_equal(status->waiting[0], "12 tasks of f wait: no worker is connected");

    rig_worker(rig, 2, 2, "f");
    rig_labelled_worker(rig, 4, 4, "f g", "fast=yes");
    rig_labelled_worker(rig, 5, 4, "f", "fast=yes");
    rig_labelled_worker(rig, 6, 64, "g", "gpu=1");
    submit(rig, client, 13, 1, "slow gpu=1", 0);
    rig_submit(rig, client,
               (struct rig_task){.function = "f", .first = 14, .count = 2, .labels = "gpu=1", .priority = 3});
    submit(rig, other, 1, 3, NULL, 8);
    submit(rig, other, 4, 1, "fast", 5);
    submit(rig, other, 5, 1, "fast", 4);
    status = ask(rig, client);
    assert_int_equal(status->n_waiting, 2);
    assert_string_equal(status->waiting[0], "14 tasks of f wait: no worker with label gpu=1 (3 workers have f)");
    assert_string_equal(status->waiting[1], "1 task of f waits: no worker with labels gpu=1,slow (3 workers have f)");
    status = ask(rig, admin);
    assert_int_equal(status->n_waiting, 4);
    assert_string_equal(status->waiting[0],
                        "client: 14 tasks of f wait: no worker with label gpu=1 (3 workers have f)");
    assert_string_equal(status->waiting[2], "other: 3 tasks of f wait: needs 8 slots: the largest worker has 4");
    assert_string_equal(status->waiting[3],
                        "other: 1 task of f waits: needs 5 slots: the largest worker with label fast has 4");
    assert_int_equal(status->n_workers, 4);
    assert_int_equal(status->workers[1]->n_labels, 1);
    assert_string_equal(status->workers[1]->labels[0], "fast=yes");
    rig_free(rig);
}

static void labels_in_any_order_are_one_demand(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    submit(rig, client, 1, 1, "a b=1", 0);
    submit(rig, client, 2, 1, "b=1 a", 0);
    submit(rig, client, 3, 1, "a", 0);
    assert_int_equal(rig->core->functions.demands.count, 2);
    assert_ptr_equal(rig_task_of(rig, CLIENT, 1)->kind, rig_task_of(rig, CLIENT, 2)->kind);
    rig_labelled_worker(rig, 2, 1, "f", "a b=1");
    rig_labelled_worker(rig, 3, 1, "f", "b=1 a");
    rig_labelled_worker(rig, 4, 1, "f", "b=1");
    size_t fleets = 0;
    NP_LIST_EACH(node, &rig->core->fleets) {
        fleets++;
    }
    assert_int_equal(fleets, 2);
    rig_free(rig);
}

/* The scheduler walks past what is wanted for every run of tasks it assigns. */
static void b15_labels_that_nobody_has_do_not_burden_the_scheduler(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_worker(rig, 2, 4, "f");
    for (uint64_t seq = 1; seq <= 300; seq++) {
        char label[32];
        snprintf(label, sizeof label, "want=%u", (unsigned)seq);
        submit(rig, client, seq, 1, label, 0);
    }
    submit(rig, client, 301, 100, NULL, 0);
    size_t wanted = 0;
    NP_LIST_EACH(node, &rig->core->functions.wanted) {
        wanted++;
    }
    assert_int_equal(wanted, 1);
    assert_int_equal(rig->core->functions.demands.count, 301);
    const Np__Status *status = ask(rig, client);
    assert_int_equal(status->n_waiting, 300);
    assert_string_equal(status->waiting[299], "1 task of f waits: no worker with label want=300 (1 worker has f)");
    rig_disconnect(rig, client, true);
    rig_flush(rig);
    assert_true(rig->core->functions.demands.count <= SESSION_KINDS); /* until the last lease has ended */
    rig_free(rig);
}

static void labels_however_long_leave_a_status_that_fits_its_frame(void **state)
{
    enum { TASKS = 200 };
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    char labels[256];
    snprintf(labels, sizeof labels, "a%0*u b%0*u c", NP_NAME_MAX - 8, 1, NP_NAME_MAX - 8, 2);
    rig_labelled_worker(rig, 2, 1, "f", labels);
    for (unsigned i = 1; i <= TASKS; i++) {
        snprintf(labels, sizeof labels, "d%0*u e%0*u", NP_NAME_MAX - 8, i, NP_NAME_MAX - 8, i);
        submit(rig, client, i, 1, labels, 0);
    }
    const Np__Status *status = ask(rig, client);
    assert_int_equal(status->workers[0]->n_labels, 3);
    assert_in_range(status->n_waiting, 50, TASKS - 50); /* as many as an eighth of the frame's header holds */
    assert_true(np__status__get_packed_size(status) < NP_FRAME_HEADER_MAX / 4);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_matched_exactly_or_by_key_alone),
        cmocka_unit_test(labels_that_no_worker_has_make_a_task_wait_until_one_comes),
        cmocka_unit_test(labels_of_a_function_that_nobody_has_do_not_save_its_tasks),
        cmocka_unit_test(labels_count_when_surplus_is_moved),
        cmocka_unit_test(slots_of_the_tasks_held_never_exceed_the_workers),
        cmocka_unit_test(slots_for_wide_tasks_are_kept_free_while_narrow_ones_stream_by),
        cmocka_unit_test(slots_kept_free_are_given_back_when_the_wide_task_goes),
        cmocka_unit_test(slots_kept_free_move_to_another_worker_when_that_one_goes),
        cmocka_unit_test(slots_taken_are_known_of_tasks_that_outlived_the_broker),
        cmocka_unit_test(labels_that_wait_are_seen_by_clients_of_the_same_name_only),
        cmocka_unit_test(labels_and_slots_that_nobody_has_are_named_in_the_status),
        cmocka_unit_test(labels_in_any_order_are_one_demand),
        cmocka_unit_test(b15_labels_that_nobody_has_do_not_burden_the_scheduler),
        cmocka_unit_test(labels_however_long_leave_a_status_that_fits_its_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
