/* Progress on its way from workers to a client. */
#include "tests/unit/core_rig.h"

enum { CLIENT = 1, GATHER_MS = PROGRESS_GATHER_NS / 1000000 };

struct scene {
    struct rig *rig;
    uint64_t client, worker, other;
};

/* Tasks 1 to 3 run on the worker; the other worker has none. */
static struct scene begin(const struct core_config *config)
{
    struct scene scene = {.rig = rig_new(config)};
    scene.client = rig_client(scene.rig, CLIENT, false);
    scene.worker = rig_worker(scene.rig, 2, 3, "f");
    rig_submit(scene.rig, scene.client, (struct rig_task){.function = "f", .first = 1, .count = 3});
    rig_flush(scene.rig);
    assert_int_equal(rig_take_assigned(scene.rig, scene.worker), 3);
    scene.other = rig_worker(scene.rig, 3, 3, "f");
    return scene;
}

static const Np__Progress *next_progress(struct scene *scene)
{
    const struct rig_message *message = rig_take(scene->rig, scene->client, NP__ENVELOPE__KIND_PROGRESS);
    assert_true(message == NULL || !message->urgent);
    return message != NULL ? message->envelope->progress : NULL;
}

static void a24_the_latest_values_of_each_task_are_sent_together_once(void **state)
{
    (void)state;
    struct scene scene = begin(NULL);
    assert_int_equal(core_deadline(scene.rig->core), NP_NEVER);
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 1, 1, 10);
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 3, 0, 0);
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 1, 2, 10);
    rig_flush(scene.rig);
    assert_null(next_progress(&scene));
    assert_int_equal(core_deadline(scene.rig->core), scene.rig->now + PROGRESS_GATHER_NS);
    rig_advance(scene.rig, GATHER_MS - 1);
    assert_null(next_progress(&scene));
    rig_advance(scene.rig, 1);
    const Np__Progress *progress = next_progress(&scene);
    assert_non_null(progress);
    assert_int_equal(progress->n_seqs, 2);
    assert_int_equal(progress->session.len, 0);
    assert_int_equal(progress->seqs[0], 1);
    assert_int_equal(progress->done[0], 2);
    assert_int_equal(progress->total[0], 10);
    assert_int_equal(progress->seqs[1], 3);
    assert_int_equal(core_deadline(scene.rig->core), NP_NEVER);
    rig_advance(scene.rig, 10L * GATHER_MS);
    assert_null(next_progress(&scene)); /* not repeated */
    rig_free(scene.rig);
}

static void a24_only_the_holder_of_a_lease_is_listened_to(void **state)
{
    (void)state;
    struct scene scene = begin(NULL);
    rig_progress(scene.rig, scene.other, CLIENT, 0, 1, 1, 10);  /* another one's task */
    rig_progress(scene.rig, scene.worker, CLIENT, 6, 1, 1, 10); /* another epoch's */
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 9, 1, 10); /* nobody's */
    rig_progress(scene.rig, scene.worker, 9, 0, 1, 1, 10);      /* of no session */
    rig_advance(scene.rig, GATHER_MS);
    assert_null(next_progress(&scene));
    assert_int_equal(scene.rig->closed_peer, 0); /* all of them may be races */
    Np__Progress nameless = NP__PROGRESS__INIT;
    uint64_t seq = 1;
    nameless.n_seqs = nameless.n_done = nameless.n_total = 1;
    nameless.seqs = nameless.done = nameless.total = &seq;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
    envelope.progress = &nameless;
    rig_give(scene.rig, scene.other, &envelope, NULL, 0);
    assert_closed(scene.rig, scene.other, NETPOOL_PROTOCOL);
    rig_free(scene.rig);
}

static void a24_a_task_that_has_ended_meanwhile_is_left_out(void **state)
{
    (void)state;
    struct scene scene = begin(NULL);
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 1, 9, 10);
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 2, 5, 10);
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1});
    rig_advance(scene.rig, GATHER_MS);
    const Np__Progress *progress = next_progress(&scene);
    assert_int_equal(progress->n_seqs, 1);
    assert_int_equal(progress->seqs[0], 2);
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 2, 6, 10);
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 2});
    rig_advance(scene.rig, GATHER_MS);
    assert_null(next_progress(&scene)); /* an empty one is no message */
    rig_free(scene.rig);
}

static void a24_nothing_is_kept_for_a_client_that_is_away(void **state)
{
    (void)state;
    struct scene scene = begin(NULL);
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 1, 1, 10);
    rig_disconnect(scene.rig, scene.client, false);
    assert_null(rig_task_of(scene.rig, CLIENT, 1)->session->progress);
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 1, 2, 10);
    assert_null(rig_task_of(scene.rig, CLIENT, 1)->session->progress);
    scene.client = rig_client(scene.rig, CLIENT, true);
    rig_advance(scene.rig, GATHER_MS);
    assert_null(next_progress(&scene));
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 1, 3, 10);
    rig_disconnect(scene.rig, scene.client, true); /* and with its session */
    rig_free(scene.rig);
}

static void a24_progress_gives_way_to_results_that_wait_for_a_slow_client(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1, .delivery_bytes = 100};
    struct scene scene = begin(&config);
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 1, .size = 1000});
    rig_result(scene.rig, scene.worker, (struct rig_result){.session = CLIENT, .seq = 2, .size = 1000});
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 3, 1, 10);
    rig_advance(scene.rig, GATHER_MS);
    assert_null(next_progress(&scene));
    rig_acknowledge(scene.rig, scene.client, 1, 1);
    rig_flush(scene.rig);
    rig_progress(scene.rig, scene.worker, CLIENT, 0, 3, 2, 10);
    rig_advance(scene.rig, GATHER_MS);
    const Np__Progress *progress = next_progress(&scene);
    assert_non_null(progress);
    assert_int_equal(progress->done[0], 2);
    rig_free(scene.rig);
}

static void a24_no_more_tasks_are_gathered_than_fit_one_message(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, NP_SLOTS_MAX, "f");
    enum { TASKS = NP_BATCH_TASKS_MAX + 100 };
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 4096});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 4097, .count = TASKS - 4096});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), TASKS);
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    uint8_t session[NP_SESSION_SIZE] = {CLIENT};
    Np__Progress progress = NP__PROGRESS__INIT;
    progress.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = session};
    progress.epoch = rig->core->config.epoch;
    progress.seqs = progress.done = progress.total = seqs;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
    envelope.progress = &progress;
    for (uint64_t first = 1; first <= TASKS; first += progress.n_seqs) {
        progress.n_seqs = progress.n_done = progress.n_total = TASKS - first + 1 < 1000 ? TASKS - first + 1 : 1000;
        for (size_t i = 0; i < progress.n_seqs; i++) {
            seqs[i] = first + i;
        }
        rig_give(rig, worker, &envelope, NULL, 0);
    }
    rig_advance(rig, GATHER_MS);
    const struct rig_message *message = rig_take(rig, client, NP__ENVELOPE__KIND_PROGRESS);
    assert_int_equal(message->envelope->progress->n_seqs, NP_BATCH_TASKS_MAX);
    assert_null(rig_take(rig, client, NP__ENVELOPE__KIND_PROGRESS));
    rig_disconnect(rig, client, true);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a24_the_latest_values_of_each_task_are_sent_together_once),
        cmocka_unit_test(a24_only_the_holder_of_a_lease_is_listened_to),
        cmocka_unit_test(a24_a_task_that_has_ended_meanwhile_is_left_out),
        cmocka_unit_test(a24_nothing_is_kept_for_a_client_that_is_away),
        cmocka_unit_test(a24_progress_gives_way_to_results_that_wait_for_a_slow_client),
        cmocka_unit_test(a24_no_more_tasks_are_gathered_than_fit_one_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
