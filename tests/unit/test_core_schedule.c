/* Who runs what, where, and how much ahead. */
#include <time.h>

#include "tests/unit/core_rig.h"

enum { CLIENT = 1 };

static void higher_priority_goes_first_then_the_older_task(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 2, .priority = -1});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 3, .count = 2});
    rig_submit(rig, client, (struct rig_task){.function = "g", .first = 5, .count = 2});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 7, .count = 1, .priority = 5});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 8, .count = 1});
    uint64_t worker = rig_worker(rig, 2, 1, "f g");
    static const uint64_t right[] = {7, 3, 4, 5, 6, 8, 1, 2};
    size_t next = 0;
    for (int round = 0; round < 10 && next < 8; round++) {
        const struct rig_message *message;
        while ((message = rig_take(rig, worker, NP__ENVELOPE__KIND_ASSIGN)) != NULL) {
            for (size_t i = 0; i < message->envelope->assign->n_seqs; i++) {
                uint64_t seq = message->envelope->assign->seqs[i];
                assert_int_equal(seq, right[next++]);
                rig_result(rig, worker,
                           (struct rig_result){.session = CLIENT, .seq = seq, .compute_ns = 50 * NP_NS_PER_MS});
            }
        }
        rig_flush(rig);
    }
    assert_int_equal(next, 8);
    rig_free(rig);
}

/* Past the rig, which would walk through everything after each. */
static void submit_with_priority(struct rig *rig, uint64_t client, uint64_t seq, int priority)
{
    uint32_t none = 0;
    Np__Submit submit = NP__SUBMIT__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    submit.function = (char *)"f";
    submit.n_seqs = submit.n_sizes = 1;
    submit.seqs = &seq;
    submit.sizes = &none;
    submit.priority = priority;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    struct np_message message = {.envelope = &envelope, .body = (const uint8_t *)""};
    core_receive(rig->core, client, &message, rig->now);
}

/* Were finding each one's place a walk past all others, this would take a minute. */
static void b15_a_priority_of_its_own_for_each_of_many_tasks_costs_little(void **state)
{
    enum { TASKS = 60000, CPU_MAX_S = 4 };
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    clock_t begin = clock();
    for (int i = 1; i <= TASKS; i++) {
        submit_with_priority(rig, client, (uint64_t)i, i % 2 == 0 ? i : TASKS / 2 + i);
    }
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    print_message("%.2f s\n", seconds);
    assert_true(seconds < CPU_MAX_S);
    uint64_t worker = rig_worker(rig, 2, 1, "f"); /* the rig's check looks at the order of all */
    const struct rig_message *message = rig_take(rig, worker, NP__ENVELOPE__KIND_ASSIGN);
    assert_non_null(message);
    assert_int_equal(message->envelope->assign->seqs[0], TASKS - 1);
    rig_free(rig);
}

static void the_least_loaded_worker_that_has_the_function_is_chosen(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t small = rig_worker(rig, 2, 1, "f");
    uint64_t large = rig_worker(rig, 3, 3, "f");
    uint64_t other = rig_worker(rig, 4, 8, "g");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 4});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, small), 1);
    assert_int_equal(rig_take_assigned(rig, large), 3);
    assert_int_equal(rig_take_assigned(rig, other), 0);
    rig_free(rig);
}

static void busy_workers_get_runs_of_tasks_and_stay_evenly_loaded(void **state)
{
    enum { TASKS = 400, SLACK = 17 };
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t workers[] = {rig_worker(rig, 2, 1, "f"), rig_worker(rig, 3, 1, "f")};
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 2});
    rig_flush(rig);
    assert_int_equal(rig_answer(rig, workers[0], CLIENT, 1000), 1); /* idle ones get one each */
    assert_int_equal(rig_answer(rig, workers[1], CLIENT, 1000), 1);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 3, .count = TASKS});
    rig_flush(rig);
    size_t counts[2] = {0, 0};
    size_t breaks = 0;
    for (size_t i = 0; i < 2; i++) {
        uint64_t last = 0;
        const struct rig_message *message;
        while ((message = rig_take(rig, workers[i], NP__ENVELOPE__KIND_ASSIGN)) != NULL) {
            for (size_t k = 0; k < message->envelope->assign->n_seqs; k++) {
                breaks += message->envelope->assign->seqs[k] != last + 1;
                last = message->envelope->assign->seqs[k];
                counts[i]++;
            }
        }
    }
    assert_int_equal(counts[0] + counts[1], TASKS);
    assert_in_range(counts[0], TASKS / 2 - SLACK, TASKS / 2 + SLACK);
    assert_in_range(breaks, 2, TASKS / 8);
    rig_free(rig);
}

/* Tasks of that length, known to be so long, for idle workers: how many of these get some. */
static unsigned count_takers(uint64_t compute_ns, uint64_t tasks, uint32_t size, size_t *most)
{
    enum { WORKERS = 50 };
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t workers[WORKERS];
    unsigned takers = 0;
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = rig_worker(rig, (uint8_t)(i + 2), 1, "f");
    }
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    for (int i = 0; i < WORKERS; i++) {
        rig_answer(rig, workers[i], CLIENT, compute_ns);
    }
    uint64_t in_batch = size > 0 ? NP_FRAME_BODY_MAX / size : tasks;
    for (uint64_t done = 0; done < tasks; done += in_batch) {
        rig_submit(rig, client,
                   (struct rig_task){.function = "f", .first = 2 + done, .count = in_batch, .size = size});
    }
    rig_flush(rig);
    *most = 0;
    for (int i = 0; i < WORKERS; i++) {
        size_t count = rig_take_assigned(rig, workers[i]);
        takers += count > 0;
        *most = count > *most ? count : *most;
    }
    rig_free(rig);
    return takers;
}

static void tasks_worth_less_than_a_message_each_go_to_few_workers(void **state)
{
    (void)state;
    size_t most;
    assert_in_range(count_takers(1000, 400, 0, &most), 4, 30);
    assert_true(most <= 125); /* no idle worker is kept waiting for more than 250 us */
    assert_int_equal(count_takers(1000, 4000, 0, &most), 50);
    assert_true(most <= 125);
    assert_int_equal(count_takers(1000, 4, 0, &most), 4);
    assert_in_range(count_takers(1000, 16, 0, &most), 4, 12);
    assert_in_range(count_takers(50000, 50, 0, &most), 20, 35);
    assert_int_equal(count_takers(50000, 500, 0, &most), 50);
    assert_in_range(most, 10, 12);
    assert_in_range(count_takers(100000, 50, 0, &most), 20, 35);
    assert_int_equal(count_takers(200000, 50, 0, &most), 50);
    assert_int_equal(count_takers(2000000, 50, 0, &most), 50);
    assert_true(count_takers(1000, 64, 0, &most) < count_takers(1000, 64, 4096, &most)); /* bytes take time, too */
    assert_true(count_takers(1000, 64, 4096, &most) < count_takers(1000, 64, 32768, &most));
}

static void workers_get_nothing_before_ready_and_while_they_drain(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_joining_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 10});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 0);
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 2);
    rig_say(rig, worker, NP__ENVELOPE__KIND_DRAIN);
    rig_returned(rig, worker, CLIENT, 2, 1, false);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 0);
    assert_int_equal(rig_stats(rig).queued, 9);
    rig_free(rig);
}

static void prefetch_grows_for_short_tasks_and_vanishes_for_long_ones(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 2, "f g");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 4000});
    rig_flush(rig);
    size_t first = rig_answer(rig, worker, CLIENT, 1000);
    assert_int_equal(first, 4);                                 /* not measured: two a slot */
    assert_int_equal(rig_take_assigned(rig, worker), 2 * 1024); /* microseconds: 1,024 a slot */
    rig_free(rig);

    rig = rig_new(NULL);
    client = rig_client(rig, CLIENT, false);
    worker = rig_worker(rig, 2, 2, "f g");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 4000});
    rig_flush(rig);
    rig_answer(rig, worker, CLIENT, 50 * NP_NS_PER_MS);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rig_answer(rig, worker, CLIENT, 50 * NP_NS_PER_MS), 2); /* the slots alone */
    }
    rig_free(rig);
}

static void a_worker_that_was_full_is_filled_up_when_a_quarter_is_done(void **state)
{
    enum { FULL = FUNCTION_SLOT_UNITS };
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_flush(rig);
    rig_answer(rig, worker, CLIENT, 1000);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 2 * FULL});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), FULL);
    for (uint64_t done = 1; done <= FULL / 4 + 1; done++) {
        rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1 + done, .compute_ns = 1000});
        rig_flush(rig);
        assert_int_equal(rig_take_assigned(rig, worker), done <= FULL / 4 ? 0 : FULL / 4 + 1);
    }
    rig_free(rig);
}

static void no_slot_stays_idle_beside_a_queue_of_long_tasks(void **state)
{
    (void)state;
    for (unsigned slots = 2; slots <= 64; slots *= 2) {
        struct rig *rig = rig_new(NULL);
        uint64_t client = rig_client(rig, CLIENT, false);
        uint64_t worker = rig_tried_worker(
            rig, client, CLIENT,
            (struct rig_trial){.id = 2, .slots = slots, .compute_ns = 1000000000, .count = 3 * slots});
        assert_int_equal(rig_take_assigned(rig, worker), slots);
        for (uint64_t done = 0; done < 2 * slots; done++) {
            rig_result(rig, worker,
                       (struct rig_result){.session = CLIENT, .seq = 2 + done, .compute_ns = 1000000000});
            rig_flush(rig);
            assert_int_equal(rig_take_assigned(rig, worker), 1);
        }
        rig_free(rig);
    }
}

/* Two of 3.5 ms at a time: while one runs the other is on its way. */
static void a_task_that_almost_fills_a_slot_has_another_one_behind_it(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_tried_worker(rig, client, CLIENT,
                                       (struct rig_trial){.id = 2, .slots = 1, .compute_ns = 3500000, .count = 10});
    assert_int_equal(rig_take_assigned(rig, worker), 2);
    for (uint64_t seq = 2; seq < 10; seq++) {
        rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = seq, .compute_ns = 3500000});
        rig_flush(rig);
        assert_int_equal(rig_take_assigned(rig, worker), 1);
    }
    rig_free(rig);
}

/* A tenth of a second there and back: runs that take longer than thought would be noticed late there. */
static void distant_workers_all_get_their_share_and_are_filled_up_at_once(void **state)
{
    (void)state;
    enum { WORKERS = 8 };
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = rig_joining_worker(rig, (uint8_t)(i + 2), 1, "f");
    }
    rig_advance(rig, 100);
    for (int i = 0; i < WORKERS; i++) {
        rig_say(rig, workers[i], NP__ENVELOPE__KIND_READY);
    }
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = WORKERS});
    rig_flush(rig);
    rig_advance(rig, 100);
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(rig_answer(rig, workers[i], CLIENT, 2000), 1);
    }
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 100, .count = WORKERS});
    rig_flush(rig);
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(rig_take_assigned(rig, workers[i]), 1);
    }
    for (uint64_t first = 1000; first < 1000 + (uint64_t)FUNCTION_SLOT_UNITS * (WORKERS + 1); first += 1024) {
        rig_submit(rig, client, (struct rig_task){.function = "f", .first = first, .count = 1024});
    }
    rig_flush(rig);
    const struct rig_message *message = rig_take(rig, workers[0], NP__ENVELOPE__KIND_ASSIGN);
    rig_advance(rig, 100);
    rig_result(rig, workers[0],
               (struct rig_result){.session = CLIENT, .seq = message->envelope->assign->seqs[0], .compute_ns = 2000});
    (void)rig_take_assigned(rig, workers[0]);
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, workers[0]), 1);
    rig_free(rig);
}

static void a_workers_window_bounds_what_it_holds(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 8, "f"); /* 1 MiB */
    for (uint64_t seq = 1; seq <= 4; seq++) {
        rig_submit(rig, client, (struct rig_task){.function = "f", .first = seq, .count = 1, .size = 400000});
    }
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 5, .count = 1, .size = 3000000});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 2);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = seq});
        rig_flush(rig);
    }
    assert_int_equal(rig_take_assigned(rig, worker), 3); /* one task may be larger than the window */
    rig_free(rig);
}

/* Past the rig, which would walk through everything after each batch. */
static void flood(struct rig *rig, uint64_t client, uint64_t count)
{
    static uint64_t seqs[NP_BATCH_TASKS_MAX];
    static uint32_t sizes[NP_BATCH_TASKS_MAX];
    Np__Submit submit = NP__SUBMIT__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    submit.function = (char *)"f";
    submit.seqs = seqs;
    submit.sizes = sizes;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    for (uint64_t first = 1; first <= count; first += submit.n_seqs) {
        uint64_t left = count + 1 - first;
        submit.n_seqs = submit.n_sizes = left < NP_BATCH_TASKS_MAX ? left : NP_BATCH_TASKS_MAX;
        for (uint64_t i = 0; i < submit.n_seqs; i++) {
            seqs[i] = first + i;
        }
        struct np_message message = {.envelope = &envelope, .body = (const uint8_t *)""};
        core_receive(rig->core, client, &message, rig->now);
        core_flush(rig->core, rig->now);
    }
}

/* One executor works for 5 ms of virtual time on each task, in the order of assignment. Returns how many task times
 * pass until the session has `count` results. */
static size_t task_times_until(struct rig *rig, uint64_t worker, const struct session *session, uint64_t count)
{
    const int64_t task_ns = 5 * NP_NS_PER_MS;
    size_t times = 0;
    const struct rig_message *message;
    while (session->done < count) {
        message = rig_take(rig, worker, NP__ENVELOPE__KIND_ASSIGN);
        assert_non_null(message);
        const Np__Assign *assign = message->envelope->assign;
        for (size_t i = 0; i < assign->n_seqs && session->done < count; i++) {
            uint32_t size = 0;
            uint64_t compute_ns = (uint64_t)task_ns;
            Np__Results results = NP__RESULTS__INIT;
            Np__Envelope envelope = NP__ENVELOPE__INIT;
            results.session = assign->session;
            results.epoch = rig->core->config.epoch;
            results.n_seqs = results.n_sizes = results.n_compute_ns = 1;
            results.seqs = &assign->seqs[i];
            results.sizes = &size;
            results.compute_ns = &compute_ns;
            envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
            envelope.results = &results;
            rig->now += task_ns;
            struct np_message result = {.envelope = &envelope, .body = (const uint8_t *)""};
            core_receive(rig->core, worker, &result, rig->now);
            core_flush(rig->core, rig->now);
            times++;
        }
    }
    return times;
}

static struct session *session_of(const struct rig *rig, uint8_t id)
{
    return session_find(rig->core, rig_hello_of(NP__ROLE__CLIENT, id).session.data);
}

static void a23_fair_share_a_client_with_a_million_tasks_does_not_delay_another_ones_ten(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t many = rig_client(rig, CLIENT, false);
    uint64_t few = rig_client(rig, 2, false);
    uint64_t worker = rig_worker(rig, 3, 1, "f");
    flood(rig, many, 1000000);
    assert_int_equal(rig_stats(rig).queued + rig_stats(rig).running, 1000000);
    task_times_until(rig, worker, session_of(rig, CLIENT), 20);
    rig_submit(rig, few, (struct rig_task){.function = "f", .first = 1, .count = 10});
    rig_flush(rig);
    /* Alone they would take 10 task times; what was prefetched goes first, then every other one is of the ten. */
    assert_in_range(task_times_until(rig, worker, session_of(rig, 2), 10), 10, 23);
    /* The same for one task: a few task times. */
    rig_submit(rig, few, (struct rig_task){.function = "f", .first = 11, .count = 1});
    rig_flush(rig);
    assert_in_range(task_times_until(rig, worker, session_of(rig, 2), 11), 1, 4);
    rig_free(rig);
}

static void a23_priorities_apply_within_a_client_and_not_between_clients(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t loud = rig_client(rig, CLIENT, false);
    uint64_t calm = rig_client(rig, 2, false);
    uint64_t worker = rig_worker(rig, 3, 1, "f");
    rig_submit(rig, loud, (struct rig_task){.function = "f", .first = 1, .count = 200, .priority = 1000});
    rig_flush(rig);
    task_times_until(rig, worker, session_of(rig, CLIENT), 10);
    rig_submit(rig, calm, (struct rig_task){.function = "f", .first = 1, .count = 10, .priority = -1000});
    rig_submit(rig, calm, (struct rig_task){.function = "f", .first = 11, .count = 1, .priority = -999});
    rig_flush(rig);
    assert_in_range(task_times_until(rig, worker, session_of(rig, 2), 1), 1, 4);
    assert_int_equal(rig_task_of(rig, 2, 11)->state, TASK_FINISHED); /* the higher one of its own came first */
    assert_in_range(task_times_until(rig, worker, session_of(rig, 2), 11), 10, 23);
    rig_free(rig);
}

static void a_client_that_was_idle_cannot_claim_the_past(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t a = rig_client(rig, CLIENT, false);
    uint64_t b = rig_client(rig, 2, false);
    uint64_t worker = rig_worker(rig, 3, 1, "f");
    rig_submit(rig, a, (struct rig_task){.function = "f", .first = 1, .count = 1000});
    rig_flush(rig);
    for (int i = 0; i < 100; i++) {
        rig_answer(rig, worker, 0, 10 * NP_NS_PER_MS);
    }
    rig_submit(rig, b, (struct rig_task){.function = "f", .first = 1, .count = 1000});
    rig_flush(rig);
    struct session *first = session_find(rig->core, rig_hello_of(NP__ROLE__CLIENT, CLIENT).session.data);
    struct session *second = session_find(rig->core, rig_hello_of(NP__ROLE__CLIENT, 2).session.data);
    uint64_t before = first->done;
    for (int i = 0; i < 100; i++) {
        rig_answer(rig, worker, 0, 10 * NP_NS_PER_MS);
    }
    assert_in_range(first->done - before, 47, 53); /* shared from now on */
    assert_in_range(second->done, 47, 53);
    rig_free(rig);
}

static void a_task_whose_workers_are_busy_does_not_hold_up_others(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t f = rig_worker(rig, 2, 1, "f");
    uint64_t g = rig_worker(rig, 3, 1, "g");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 100, .priority = 9});
    rig_submit(rig, client, (struct rig_task){.function = "g", .first = 101, .count = 2});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, f), 2);
    assert_int_equal(rig_take_assigned(rig, g), 2);
    rig_free(rig);
}

static void assignments_are_batches_within_the_caps(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 100, .size = 4000});
    uint64_t worker = rig_worker(rig, 2, 64, "f");
    size_t tasks = 0;
    size_t batches = 0;
    const struct rig_message *message;
    while ((message = rig_take(rig, worker, NP__ENVELOPE__KIND_ASSIGN)) != NULL) {
        assert_true(message->body_size <= NP_FRAME_BODY_MAX);
        tasks += message->envelope->assign->n_seqs;
        batches++;
    }
    assert_int_equal(tasks, 100);
    assert_int_equal(batches, 7); /* 16 payloads of 4,000 bytes fit 64 KiB */
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(higher_priority_goes_first_then_the_older_task),
        cmocka_unit_test(b15_a_priority_of_its_own_for_each_of_many_tasks_costs_little),
        cmocka_unit_test(the_least_loaded_worker_that_has_the_function_is_chosen),
        cmocka_unit_test(busy_workers_get_runs_of_tasks_and_stay_evenly_loaded),
        cmocka_unit_test(tasks_worth_less_than_a_message_each_go_to_few_workers),
        cmocka_unit_test(workers_get_nothing_before_ready_and_while_they_drain),
        cmocka_unit_test(prefetch_grows_for_short_tasks_and_vanishes_for_long_ones),
        cmocka_unit_test(a_worker_that_was_full_is_filled_up_when_a_quarter_is_done),
        cmocka_unit_test(no_slot_stays_idle_beside_a_queue_of_long_tasks),
        cmocka_unit_test(a_task_that_almost_fills_a_slot_has_another_one_behind_it),
        cmocka_unit_test(distant_workers_all_get_their_share_and_are_filled_up_at_once),
        cmocka_unit_test(a_workers_window_bounds_what_it_holds),
        cmocka_unit_test(a23_fair_share_a_client_with_a_million_tasks_does_not_delay_another_ones_ten),
        cmocka_unit_test(a23_priorities_apply_within_a_client_and_not_between_clients),
        cmocka_unit_test(a_client_that_was_idle_cannot_claim_the_past),
        cmocka_unit_test(a_task_whose_workers_are_busy_does_not_hold_up_others),
        cmocka_unit_test(assignments_are_batches_within_the_caps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
