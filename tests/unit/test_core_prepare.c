/* How executors are prepared for a session: who is told, when, and what a failed initializer means. */
#include "tests/unit/core_rig.h"

enum { CLIENT = 1, OTHER = 2 };

static const struct rig_message *next_prepare(struct rig *rig, uint64_t worker)
{
    rig_flush(rig);
    return rig_take(rig, worker, NP__ENVELOPE__KIND_PREPARE);
}

#define assert_told(rig, worker, id, name, words, most)                          \
    do {                                                                         \
        const struct rig_message *told = next_prepare(rig, worker);              \
        assert_non_null(told);                                                   \
        assert_int_equal(told->envelope->prepare->session.data[0], id);          \
        assert_string_equal(told->envelope->prepare->initializer, name);         \
        assert_int_equal(told->envelope->prepare->max_tasks_per_executor, most); \
        assert_int_equal(told->body_size, strlen(words));                        \
        assert_memory_equal(told->body, words, told->body_size);                 \
        assert_false(told->urgent);                                              \
    } while (0)

static struct rig_task one(uint64_t seq)
{
    return (struct rig_task){.function = "f", .first = seq, .count = 1};
}

static void a9_a_worker_is_told_once_before_its_first_task(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t other = rig_client(rig, OTHER, false);
    uint64_t worker = rig_worker(rig, 3, 4, "f");
    rig_prepare(rig, client, "open_database", "path", 7);
    rig_flush(rig);
    assert_null(next_prepare(rig, worker)); /* not before there is a task */
    rig_submit(rig, client, one(1));
    size_t before = rig->count;
    assert_told(rig, worker, CLIENT, "open_database", "path", 7);
    assert_int_equal(rig->messages[before].envelope->kind_case, NP__ENVELOPE__KIND_PREPARE);
    assert_int_equal(rig->messages[before + 1].envelope->kind_case, NP__ENVELOPE__KIND_ASSIGN);
    rig_submit(rig, client, one(2));
    rig_submit(rig, other, one(1));
    assert_null(next_prepare(rig, worker)); /* known here, and the other one has no wishes */
    rig_free(rig);
}

static void a9_a_worker_that_comes_again_is_told_again(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 3, 4, "f");
    rig_prepare(rig, client, "open_database", "path", 0);
    rig_submit(rig, client, one(1));
    assert_told(rig, worker, CLIENT, "open_database", "path", 0);
    rig_disconnect(rig, worker, false);
    worker = rig_worker(rig, 3, 4, "f");
    assert_told(rig, worker, CLIENT, "open_database", "path", 0);
    rig_free(rig);
}

static void a9_saying_the_same_again_changes_nothing_and_something_else_replaces_it(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 3, 4, "f");
    rig_prepare(rig, client, "open_database", "path", 0);
    rig_submit(rig, client, one(1));
    assert_told(rig, worker, CLIENT, "open_database", "path", 0);
    rig_disconnect(rig, client, false);
    client = rig_client(rig, CLIENT, true);
    rig_prepare(rig, client, "open_database", "path", 0); /* as after each Welcome */
    rig_submit(rig, client, one(2));
    assert_null(next_prepare(rig, worker));
    static const struct {
        const char *initializer, *input;
        uint32_t most;
    } others[] = {{"open_database", "pass", 0}, {"open_database", "p", 0}, {"open_other", "p", 0}, {"", "", 3}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        rig_prepare(rig, client, others[i].initializer, others[i].input, others[i].most);
        assert_null(next_prepare(rig, worker)); /* there is no task for it yet */
        rig_submit(rig, client, one(3 + i));
        assert_told(rig, worker, CLIENT, others[i].initializer, others[i].input, others[i].most);
    }
    rig_prepare(rig, client, "", "", 0);
    assert_told(rig, worker, CLIENT, "", "", 0); /* nothing any more: forget it */
    rig_submit(rig, client, one(10));
    assert_null(next_prepare(rig, worker));
    rig_free(rig);
}

static void a9_workers_forget_a_session_when_its_last_task_is_over(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t first = rig_worker(rig, 3, 1, "f");
    uint64_t second = rig_worker(rig, 4, 1, "f");
    uint64_t bystander = rig_worker(rig, 5, 1, "g");
    rig_prepare(rig, client, "open_database", "path", 0);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 2});
    assert_told(rig, first, CLIENT, "open_database", "path", 0);
    assert_told(rig, second, CLIENT, "open_database", "path", 0);
    uint64_t held = rig_task_of(rig, CLIENT, 1)->worker->peer->id;
    uint64_t other = held == first ? second : first;
    rig_disconnect(rig, client, true);
    rig_result(rig, other, (struct rig_result){.session = CLIENT, .seq = 2, .status = NETPOOL_CANCELLED});
    assert_null(next_prepare(rig, held)); /* its task is not over */
    rig_result(rig, held, (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CANCELLED});
    assert_told(rig, first, CLIENT, "", "", 0);
    assert_told(rig, second, CLIENT, "", "", 0);
    assert_null(next_prepare(rig, bystander));
    assert_int_equal(rig_stats(rig).memory_bytes, 0);
    /* The same session anew is another one. */
    client = rig_client(rig, CLIENT, false);
    rig_prepare(rig, client, "open_database", "path", 0);
    rig_submit(rig, client, one(1));
    rig_flush(rig);
    assert_told(rig, rig_task_of(rig, CLIENT, 1)->worker->peer->id, CLIENT, "open_database", "path", 0);
    rig_free(rig);
}

static void a9_the_input_counts_as_memory_and_never_keeps_the_client_from_its_window(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1, .max_payload = 100000, .client_bytes = 100000};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 3, 1, "f");
    static char input[NP_PREPARE_MAX + 1];
    memset(input, 'x', NP_PREPARE_MAX);
    rig_prepare(rig, client, "init", input, 0);
    assert_int_equal(rig_stats(rig).memory_bytes, NP_PREPARE_MAX);
    rig_prepare(rig, client, "init", "small", 0);
    assert_int_equal(rig_stats(rig).memory_bytes, 5);
    rig_prepare(rig, client, "init", input, 0);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .size = 100000});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 1);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1, .size = 50000});
    rig_acknowledge(rig, client, 1, 1);
    rig_flush(rig);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 1, .size = 100000});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 1);
    rig_disconnect(rig, client, true);
    rig_free(rig);
}

static void a10_a_limit_alone_is_a_preparation_and_its_body_is_nobodys(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 3, 1, "f");
    rig_prepare(rig, client, "", "words without a reader", 100);
    assert_int_equal(rig_stats(rig).memory_bytes, 0);
    rig_submit(rig, client, one(1));
    assert_told(rig, worker, CLIENT, "", "", 100);
    rig_free(rig);
}

static void a9_a_failed_initializer_ends_what_is_queued_and_what_comes(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t other = rig_client(rig, OTHER, false);
    uint64_t worker = rig_worker(rig, 3, 1, "f");
    rig_prepare(rig, client, "open_database", "path", 0);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 200});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 201, .count = 3, .lane = 5});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 204, .count = 3, .priority = 2});
    rig_submit(rig, other, one(1));
    rig_flush(rig);
    size_t leased = rig_stats(rig).running;
    assert_true(leased >= 1 && rig_task_of(rig, CLIENT, 204)->state == TASK_LEASED);
    rig_result(
        rig, worker,
        (struct rig_result){
            .session = CLIENT, .seq = 204, .status = NETPOOL_NOT_INITIALIZED, .message = "no such file: path"});
    assert_int_equal(rig_stats(rig).running, leased - 1); /* what a worker has runs on */
    for (uint64_t seq = 1; seq <= 206; seq++) {
        const struct task *task = rig_task_of(rig, CLIENT, seq);
        if (task->state != TASK_LEASED) {
            assert_int_equal(task->state, TASK_FINISHED);
            assert_int_equal(task->status, NETPOOL_NOT_INITIALIZED);
        }
    }
    rig_flush(rig);
    const Np__Failure *failure = rig_take_failure(rig, client, 203);
    assert_non_null(failure);
    assert_string_equal(failure->message, "no such file: path");
    rig_submit(rig, client, one(207));
    assert_int_equal(rig_task_of(rig, CLIENT, 207)->state, TASK_FINISHED);
    rig_flush(rig);
    failure = rig_take_failure(rig, client, 207);
    assert_string_equal(failure->message, "no such file: path");
    assert_false(failure->started);
    assert_int_equal(rig_task_of(rig, OTHER, 1)->state != TASK_FINISHED, true);
    rig_disconnect(rig, client, true);
    rig_free(rig);
}

static void a9_what_comes_back_to_the_queue_of_a_broken_session_ends(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 3, 5, "f");
    rig_submit(
        rig, client,
        (struct rig_task){.function = "f", .first = 1, .count = 5, .retry_failures = true, .retry_delay_ms = 1000});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 5);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 2, .status = NETPOOL_CRASHED});
    assert_int_equal(rig_task_of(rig, CLIENT, 2)->state, TASK_QUEUED); /* for the time of its next attempt */
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_NOT_INITIALIZED});
    assert_int_equal(rig_task_of(rig, CLIENT, 2)->status, NETPOOL_NOT_INITIALIZED);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 3, .status = NETPOOL_FAILED});
    assert_int_equal(rig_task_of(rig, CLIENT, 3)->status, NETPOOL_NOT_INITIALIZED);
    rig_returned(rig, worker, CLIENT, 4, 1, false);
    assert_int_equal(rig_task_of(rig, CLIENT, 4)->status, NETPOOL_NOT_INITIALIZED);
    rig_disconnect(rig, worker, false);
    assert_int_equal(rig_task_of(rig, CLIENT, 5)->status, NETPOOL_NOT_INITIALIZED);
    assert_int_equal(rig_stats(rig).queued + rig_stats(rig).running, 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a9_a_worker_is_told_once_before_its_first_task),
        cmocka_unit_test(a9_a_worker_that_comes_again_is_told_again),
        cmocka_unit_test(a9_saying_the_same_again_changes_nothing_and_something_else_replaces_it),
        cmocka_unit_test(a9_workers_forget_a_session_when_its_last_task_is_over),
        cmocka_unit_test(a9_the_input_counts_as_memory_and_never_keeps_the_client_from_its_window),
        cmocka_unit_test(a10_a_limit_alone_is_a_preparation_and_its_body_is_nobodys),
        cmocka_unit_test(a9_a_failed_initializer_ends_what_is_queued_and_what_comes),
        cmocka_unit_test(a9_what_comes_back_to_the_queue_of_a_broken_session_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
