/* Callbacks (A5), and what they may call. A call that hangs makes the test run into its time limit. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/pool/pool_cases.h"
#include "tests/system/pool/tally.h"

static void submit_called(netpool *pool, const char *function, uint64_t number, netpool_callback *on_done,
                          void *context, netpool_future **out)
{
    netpool_task_options options = {.on_done = on_done, .context = context};
    assert_int_equal(netpool_submit(pool, function, bytes_of(&number, sizeof number), &options, out), NETPOOL_OK);
}

static void count(netpool_future *future, const netpool_result *result, void *context)
{
    assert_true(netpool_is_done(future));
    tally_add(context, result);
}

static void a5_each_task_is_called_back_once_on_a_thread_of_the_pool(void **state)
{
    struct tally tally = TALLY_INIT;
    netpool *pool = pool_of(state);
    enum { COUNT = 300 };
    netpool_future *future;
    for (uint64_t i = 1; i < COUNT; i++) {
        submit_called(pool, "square", i, count, &tally, NULL);
    }
    submit_called(pool, "square", COUNT, count, &tally, &future);
    assert_int_equal(netpool_wait(future, -1, NULL), NETPOOL_OK);
    tally_wait(&tally, COUNT);
    netpool_future_free(&future);
    netpool_close(&pool);
    assert_int_equal(tally.called, COUNT);
    assert_int_equal(tally.sum, (uint64_t)COUNT * (COUNT + 1) * (2 * COUNT + 1) / 6);
    assert_false(pthread_equal(tally.thread, pthread_self()));
}

static void a5_close_returns_after_the_last_callback(void **state)
{
    struct tally tally = TALLY_INIT;
    netpool *pool = pool_of(state);
    for (uint64_t i = 0; i < 2000; i++) {
        submit_called(pool, "square", i, count, &tally, NULL);
    }
    netpool_close(&pool);
    assert_int_equal(tally.succeeded, 2000);
}

static void a5_terminate_calls_back_for_what_it_ends(void **state)
{
    struct tally tally = TALLY_INIT;
    netpool *pool = pool_of(state);
    for (int i = 0; i < 100; i++) {
        submit_called(pool, "sleep_ms", 60000, count, &tally, NULL);
    }
    netpool_terminate(&pool);
    assert_int_equal(tally.called, 100);
    assert_int_equal(tally.cancelled, 100);
}

struct order {
    uint64_t next;
    uint64_t wrong;
};

static void check_order(netpool_future *future, const netpool_result *result, void *context)
{
    struct order *order = context;
    (void)future;
    order->wrong += number_of(result) != order->next;
    order->next++;
}

static void a5_callbacks_come_in_the_order_in_which_tasks_finish(void **state)
{
    struct order order = {0};
    netpool *pool = pool_of(state);
    netpool_task_options options = {.lane = "one after the other", .on_done = check_order, .context = &order};
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(netpool_submit(pool, "echo", bytes_of(&i, sizeof i), &options, NULL), NETPOOL_OK);
    }
    netpool_close(&pool);
    assert_int_equal(order.next, 200);
    assert_int_equal(order.wrong, 0);
}

static void submit_one_more(netpool_future *future, const netpool_result *result, void *context)
{
    struct tally *tally = context;
    (void)future;
    submit_called(tally->pool, "square", 1, count, tally, NULL);
    tally_add(tally, result);
}

static void a5_ten_thousand_callbacks_submit_one_more_each(void **state)
{
    struct tally tally = TALLY_INIT;
    enum { COUNT = 10000 };
    netpool *pool = tally.pool = pool_of(state);
    for (int i = 0; i < COUNT; i++) {
        submit_called(pool, "square", 1, submit_one_more, &tally, NULL);
    }
    tally_wait(&tally, 2 * COUNT);
    netpool_close(&pool);
    assert_int_equal(tally.succeeded, 2 * COUNT);
    assert_int_equal(tally.sum, 2 * COUNT);
}

/* What the one callback does that uses other futures, or ends the pool; the rest is counted. */
struct meddling {
    netpool *pool;
    netpool_future *other;
    struct tally tally;
    struct tally done; /* the meddling callback has returned */
    netpool_status statuses[2];
    uint64_t called_at_end; /* of `tally`, when the call that ends the pool had returned */
};

static void cancel_other(netpool_future *future, const netpool_result *result, void *context)
{
    struct meddling *meddling = context;
    (void)future;
    meddling->statuses[0] = netpool_cancel(meddling->other);
    meddling->statuses[1] = netpool_wait(meddling->other, -1, NULL);
    tally_add(&meddling->done, result);
}

static void a5_callback_may_cancel_another_task_and_wait_for_it(void **state)
{
    struct meddling meddling = {.tally = TALLY_INIT, .done = TALLY_INIT};
    netpool *pool = pool_of(state);
    submit_called(pool, "sleep_ms", 60000, count, &meddling.tally, &meddling.other);
    netpool_task_options options = {.priority = 1, .on_done = cancel_other, .context = &meddling};
    uint64_t number = 1;
    netpool_future *future = NULL;
    /* Refused before it runs: one executor is enough. */
    assert_int_equal(netpool_submit(pool, "no_such_thing", bytes_of(&number, 8), &options, &future), NETPOOL_OK);
    tally_wait(&meddling.done, 1);
    assert_int_equal(meddling.statuses[0], NETPOOL_OK);
    assert_int_equal(meddling.statuses[1], NETPOOL_CANCELLED);
    netpool_future_free(&meddling.other);
    netpool_future_free(&future);
    netpool_close(&pool);
    assert_int_equal(meddling.tally.cancelled, 1);
}

static void wait_for_new_ones(netpool_future *future, const netpool_result *result, void *context)
{
    struct meddling *meddling = context;
    netpool_future *futures[3] = {future};
    uint64_t squares[4];
    const uint64_t numbers[4] = {1, 2, 3, 4};
    size_t finished = 0;
    submit_called(meddling->pool, "square", 5, count, &meddling->tally, &futures[1]);
    submit_called(meddling->pool, "square", 6, NULL, NULL, &futures[2]);
    meddling->statuses[0] = netpool_wait_many(futures, 3, NETPOOL_ALL_COMPLETED, -1, &finished);
    meddling->statuses[1] =
        netpool_map(meddling->pool, "square", numbers, 4, sizeof numbers[0], squares, sizeof squares[0], NULL, NULL);
    netpool_future_free(&futures[1]); /* before its call */
    netpool_future_free(&futures[2]);
    assert_int_equal(finished, 3);
    assert_int_equal(squares[3], 16);
    tally_add(&meddling->done, result);
}

static void a5_callback_may_submit_and_wait_and_map(void **state)
{
    struct meddling meddling = {.tally = TALLY_INIT, .done = TALLY_INIT};
    netpool *pool = meddling.pool = pool_of(state);
    submit_called(pool, "square", 2, wait_for_new_ones, &meddling, NULL);
    tally_wait(&meddling.done, 1);
    tally_wait(&meddling.tally, 1);
    assert_int_equal(meddling.statuses[0], NETPOOL_OK);
    assert_int_equal(meddling.statuses[1], NETPOOL_OK);
    assert_int_equal(meddling.tally.sum, 25);
    netpool_close(&pool);
}

static void close_pool(netpool_future *future, const netpool_result *result, void *context)
{
    struct meddling *meddling = context;
    netpool_close(&meddling->pool);
    meddling->called_at_end = meddling->tally.called;
    assert_true(netpool_is_done(future)); /* still there */
    tally_add(&meddling->done, result);
}

static void terminate_pool(netpool_future *future, const netpool_result *result, void *context)
{
    struct meddling *meddling = context;
    (void)future;
    netpool_terminate(&meddling->pool);
    meddling->called_at_end = meddling->tally.called;
    tally_add(&meddling->done, result);
}

static bool pool_closed_by_a_callback_is_complete(void **state)
{
    struct meddling meddling = {.tally = TALLY_INIT, .done = TALLY_INIT};
    enum { COUNT = 200 };
    netpool *pool = meddling.pool = pool_of(state);
    netpool_future *future;
    for (uint64_t i = 0; i < COUNT; i++) {
        submit_called(pool, "square", i, count, &meddling.tally, NULL);
    }
    submit_called(pool, "square", 3, close_pool, &meddling, &future);
    tally_wait(&meddling.done, 1);
    bool is_readable = netpool_wait(future, -1, NULL) == NETPOOL_OK; /* after the pool */
    netpool_future_free(&future);
    return is_readable && meddling.pool == NULL && meddling.called_at_end == COUNT &&
           meddling.tally.succeeded == COUNT;
}

static bool pool_terminated_by_a_callback_is_complete(void **state)
{
    struct meddling meddling = {.tally = TALLY_INIT, .done = TALLY_INIT};
    enum { COUNT = 100 };
    netpool *pool = meddling.pool = pool_of(state);
    for (int i = 0; i < COUNT; i++) {
        submit_called(pool, "sleep_ms", 60000, count, &meddling.tally, NULL);
    }
    submit_called(pool, "no_such_thing", 3, terminate_pool, &meddling, NULL);
    tally_wait(&meddling.done, 1);
    return meddling.pool == NULL && meddling.called_at_end == COUNT && meddling.tally.cancelled == COUNT;
}

/* ThreadSanitizer has one of its own. */
#if defined(__SANITIZE_THREAD__)
enum { TOOL_THREADS = 1 };
#else
enum { TOOL_THREADS = 0 };
#endif

/* A function of an earlier test that hears nothing may still run on a thread, and a program with threads cannot be
 * forked into one that starts others: not under ThreadSanitizer. */
static void await_single_thread(void)
{
    for (int threads = 2; threads > 1;) {
        DIR *tasks = opendir("/proc/self/task");
        assert_non_null(tasks);
        threads = -TOOL_THREADS;
        for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
            threads += entry->d_name[0] != '.';
        }
        (void)closedir(tasks);
        (void)usleep(1000); /* between looks */
    }
}

/* In a process of its own: the thread that made the call ends some time after it, and until then this program could
 * not be forked for the next local pool. */
static void assert_in_child(bool (*holds)(void **), void **state)
{
    int status;
    await_single_thread();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(holds(state) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a5_pool_may_be_closed_by_a_callback(void **state)
{
    assert_in_child(pool_closed_by_a_callback_is_complete, state);
}

static void a5_pool_may_be_terminated_by_a_callback(void **state)
{
    assert_in_child(pool_terminated_by_a_callback_is_complete, state);
}

static void close_or_not(netpool_future *future, const netpool_result *result, void *context)
{
    struct meddling *meddling = context;
    (void)future;
    pthread_mutex_lock(&meddling->tally.mutex); /* not before all are submitted: the pool would be gone */
    pthread_mutex_unlock(&meddling->tally.mutex);
    netpool_close(&meddling->pool);
    tally_add(&meddling->tally, result);
}

static bool pool_is_closed_once_by_two(void **state)
{
    struct meddling meddling = {.tally = TALLY_INIT};
    netpool *pool = meddling.pool = pool_of(state);
    pthread_mutex_lock(&meddling.tally.mutex);
    for (uint64_t i = 0; i < 200; i++) {
        submit_called(pool, "square", i, close_or_not, &meddling, NULL);
    }
    pthread_mutex_unlock(&meddling.tally.mutex);
    netpool_close(&meddling.pool);
    tally_wait(&meddling.tally, 200);
    return meddling.pool == NULL;
}

static void a5_pool_may_be_closed_by_a_callback_and_a_thread_at_once(void **state)
{
    for (int i = 0; i < 5; i++) {
        assert_in_child(pool_is_closed_once_by_two, state);
    }
}

static pthread_key_t at_thread_end;

static void thread_ends(void *ended)
{
    tally_add(ended, &(netpool_result){.status = NETPOOL_OK});
}

static void close_pool_and_note_end(netpool_future *future, const netpool_result *result, void *context)
{
    struct meddling *meddling = context;
    (void)future;
    netpool_close(&meddling->pool);
    assert_int_equal(pthread_setspecific(at_thread_end, &meddling->done), 0);
    tally_add(&meddling->tally, result);
}

static bool thread_ends_after_a_close_of_its_own(void **state)
{
    struct meddling meddling = {.tally = TALLY_INIT, .done = TALLY_INIT};
    assert_int_equal(pthread_key_create(&at_thread_end, thread_ends), 0);
    netpool *pool = meddling.pool = pool_of(state);
    submit_called(pool, "square", 3, close_pool_and_note_end, &meddling, NULL);
    tally_wait(&meddling.done, 1);
    return meddling.tally.called == 1;
}

static void a5_thread_of_callbacks_ends_after_a_close_inside_of_a_call(void **state)
{
    assert_in_child(thread_ends_after_a_close_of_its_own, state);
}

static void free_own(netpool_future *future, const netpool_result *result, void *context)
{
    struct meddling *meddling = context;
    tally_add(&meddling->tally, result); /* the result is of no use afterwards */
    netpool_future_free(meddling->other == future ? &meddling->other : &future);
    tally_add(&meddling->done, &(netpool_result){.status = NETPOOL_OK});
}

static void a5_future_may_be_freed_inside_its_callback(void **state)
{
    struct meddling meddling = {.tally = TALLY_INIT, .done = TALLY_INIT};
    netpool *pool = pool_of(state);
    submit_called(pool, "square", 2, free_own, &meddling, &meddling.other);
    tally_wait(&meddling.done, 1);
    assert_null(meddling.other);
    submit_called(pool, "square", 3, free_own, &meddling, NULL);
    tally_wait(&meddling.done, 2);
    netpool_close(&pool);
    assert_int_equal(meddling.tally.sum, 4 + 9);
}

static void a5_future_freed_early_is_called_back_all_the_same(void **state)
{
    struct tally tally = TALLY_INIT;
    netpool *pool = pool_of(state);
    netpool_future *future;
    for (int i = 0; i < 100; i++) {
        submit_called(pool, i % 2 == 0 ? "square" : "sleep_ms", 60000, count, &tally, &future);
        netpool_future_free(&future);
    }
    netpool_close(&pool);
    assert_int_equal(tally.called, 100);
    assert_int_equal(tally.succeeded + tally.cancelled, 100);
    assert_true(tally.cancelled >= 50);
}

static void note_thread(netpool_future *future, const netpool_result *result, void *context)
{
    sigset_t blocked;
    char name[16];
    (void)future;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    assert_true(sigismember(&blocked, SIGINT) == 1 && sigismember(&blocked, SIGTERM) == 1);
    assert_int_equal(prctl(PR_GET_NAME, name), 0);
    assert_string_equal(name, "netpool-calls");
    tally_add(context, result);
}

static void a5_thread_of_callbacks_takes_no_signals(void **state)
{
    struct tally tally = TALLY_INIT;
    netpool *pool = pool_of(state);
    submit_called(pool, "square", 1, note_thread, &tally, NULL);
    netpool_close(&pool);
    assert_int_equal(tally.called, 1);
}

static void a5_submit_needs_a_callback_or_a_place_for_the_future(void **state)
{
    netpool *pool = pool_of(state);
    netpool_task_options options = {.context = pool};
    assert_int_equal(netpool_submit(pool, "square", bytes_of("", 0), NULL, NULL), NETPOOL_INVALID);
    assert_int_equal(netpool_submit(pool, "square", bytes_of("", 0), &options, NULL), NETPOOL_INVALID);
    assert_non_null(strstr(netpool_last_error(), "on_done"));
    netpool_close(&pool);
}

static void fork_and_look(netpool_future *future, const netpool_result *result, void *context)
{
    struct meddling *meddling = context;
    pid_t child = fork();
    if (child == 0) {
        bool is_refused = netpool_wait(future, -1, NULL) == NETPOOL_FORKED &&
                          netpool_wait_many(&meddling->other, 1, NETPOOL_ALL_COMPLETED, -1, NULL) == NETPOOL_FORKED;
        netpool_future_free(&meddling->other);
        netpool_close(&meddling->pool);
        _exit(is_refused && meddling->pool == NULL ? 0 : 1);
    }
    int status = -1;
    meddling->statuses[0] =
        child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0
            ? NETPOOL_OK
            : NETPOOL_FAILED;
    tally_add(&meddling->done, result);
}

static void b38_fork_inside_a_callback_harms_neither_side(void **state)
{
    struct meddling meddling = {.tally = TALLY_INIT, .done = TALLY_INIT};
    netpool *pool = meddling.pool = pool_of(state);
    submit_called(pool, "square", 2, NULL, NULL, &meddling.other);
    submit_called(pool, "square", 1, fork_and_look, &meddling, NULL);
    tally_wait(&meddling.done, 1);
    assert_int_equal(meddling.statuses[0], NETPOOL_OK);
    assert_int_equal(netpool_wait(meddling.other, -1, NULL), NETPOOL_OK);
    netpool_future_free(&meddling.other);
    netpool_close(&pool);
}

/* Executors that wait at a FIFO each, until all that waited behind them was taken back. */
struct gates {
    struct tally tally;
    unsigned waiting; /* tasks behind */
    unsigned count;
    int opened[16]; /* our ends */
};

static void open_gates(netpool_future *future, const netpool_result *result, void *context)
{
    struct gates *gates = context;
    (void)future;
    tally_add(&gates->tally, result);
    if (gates->tally.called == gates->waiting) {
        for (unsigned i = 0; i < gates->count; i++) {
            close(gates->opened[i]);
        }
    }
}

static void a11_shutdown_takes_back_what_waits_and_lets_finish_what_runs(void **state)
{
    const struct pool_fixture *fixture = *state;
    struct gates gates = {.tally = TALLY_INIT, .waiting = 100, .count = fixture->slots};
    netpool *pool = pool_of(state);
    netpool_future *running[16];
    char directory[] = "/tmp/netpool-test-XXXXXX";
    char paths[16][40];
    assert_in_range(gates.count, 1, 16);
    assert_non_null(mkdtemp(directory));
    for (unsigned i = 0; i < gates.count; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%u", directory, i);
        assert_int_equal(mkfifo(paths[i], 0600), 0);
        assert_int_equal(netpool_submit(pool, "pass_gate", bytes_of(paths[i], strlen(paths[i])), NULL, &running[i]),
                         NETPOOL_OK);
    }
    for (unsigned i = 0; i < gates.count; i++) {
        gates.opened[i] = open(paths[i], O_WRONLY | O_CLOEXEC); /* returns when the task is at the other end */
        assert_true(gates.opened[i] >= 0);
    }
    for (unsigned i = 0; i < gates.waiting; i++) {
        submit_called(pool, "square", i, open_gates, &gates, NULL);
    }
    netpool_shutdown(&pool, true);
    assert_null(pool);
    assert_int_equal(gates.tally.cancelled, gates.waiting);
    for (unsigned i = 0; i < gates.count; i++) {
        assert_int_equal(netpool_wait(running[i], 0, NULL), NETPOOL_OK);
        netpool_future_free(&running[i]);
        assert_int_equal(unlink(paths[i]), 0);
    }
    assert_int_equal(rmdir(directory), 0);
}

static void a11_shutdown_without_cancelling_is_a_close(void **state)
{
    struct tally tally = TALLY_INIT;
    netpool *pool = pool_of(state);
    for (uint64_t i = 0; i < 200; i++) {
        submit_called(pool, "square", i, count, &tally, NULL);
    }
    netpool_shutdown(&pool, false);
    assert_int_equal(tally.succeeded, 200);
    netpool_shutdown(&pool, true); /* NULL: harmless */
    netpool_shutdown(NULL, true);
}

const struct CMUnitTest callback_cases[] = {
    cmocka_unit_test(a5_each_task_is_called_back_once_on_a_thread_of_the_pool),
    cmocka_unit_test(a5_close_returns_after_the_last_callback),
    cmocka_unit_test(a5_terminate_calls_back_for_what_it_ends),
    cmocka_unit_test(a5_callbacks_come_in_the_order_in_which_tasks_finish),
    cmocka_unit_test(a5_ten_thousand_callbacks_submit_one_more_each),
    cmocka_unit_test(a5_callback_may_cancel_another_task_and_wait_for_it),
    cmocka_unit_test(a5_callback_may_submit_and_wait_and_map),
    cmocka_unit_test(a5_pool_may_be_closed_by_a_callback),
    cmocka_unit_test(a5_pool_may_be_terminated_by_a_callback),
    cmocka_unit_test(a5_pool_may_be_closed_by_a_callback_and_a_thread_at_once),
    cmocka_unit_test(a5_thread_of_callbacks_ends_after_a_close_inside_of_a_call),
    cmocka_unit_test(a5_future_may_be_freed_inside_its_callback),
    cmocka_unit_test(a5_future_freed_early_is_called_back_all_the_same),
    cmocka_unit_test(a5_thread_of_callbacks_takes_no_signals),
    cmocka_unit_test(a5_submit_needs_a_callback_or_a_place_for_the_future),
    cmocka_unit_test(b38_fork_inside_a_callback_harms_neither_side),
    cmocka_unit_test(a11_shutdown_takes_back_what_waits_and_lets_finish_what_runs),
    cmocka_unit_test(a11_shutdown_without_cancelling_is_a_close),
};
const size_t callback_case_count = sizeof callback_cases / sizeof callback_cases[0];
