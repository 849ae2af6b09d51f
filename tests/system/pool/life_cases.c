#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/system/pool/pool_cases.h"

static void a11_close_waits_for_what_was_submitted(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 20 };
    netpool_future *futures[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pool, "sleep_ms", 20, NULL);
    }
    netpool_close(&pool);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(netpool_wait(futures[i], 0, NULL), NETPOOL_OK);
        netpool_future_free(&futures[i]);
    }
    netpool_close(&pool); /* NULL: harmless */
    netpool_close(NULL);
}

static void a11_terminate_stops_what_runs_and_what_waits(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 40 };
    netpool_future *futures[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pool, i % 2 == 0 ? "sleep_ms" : "sleep_deaf_ms", 4000, NULL);
    }
    assert_int_equal(netpool_wait(futures[0], 50, NULL), NETPOOL_TIMEOUT);
    int64_t before = np_clock_now();
    netpool_terminate(&pool);
    assert_true(np_clock_now() - before < 20 * NP_NS_PER_S); /* all of them would take much longer */
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(netpool_wait(futures[i], 0, NULL), NETPOOL_CANCELLED);
        netpool_future_free(&futures[i]);
    }
    netpool_terminate(&pool);
}

static void a11_scoped_pool_closes_itself(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool_future *future;
    {
        NETPOOL_SCOPED netpool *pool = NULL;
        assert_int_equal(netpool_open(&pool, fixture->url, &fixture->options, NULL), NETPOOL_OK);
        future = submit_number(pool, "sleep_ms", 50, NULL);
    }
    assert_int_equal(netpool_wait(future, 0, NULL), NETPOOL_OK);
    netpool_future_free(&future);
}

static int count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    (void)closedir(directory);
    return count;
}

static void b36_pools_leave_neither_descriptors_nor_children(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    netpool_close(&pool); /* what the libraries keep from their first use */
    int before = count_descriptors();
    for (int i = 0; i < 5; i++) {
        pool = pool_of(state);
        netpool_future *future = submit_number(pool, "square", 3, NULL);
        assert_int_equal(netpool_wait(future, 10000, NULL), NETPOOL_OK);
        netpool_future_free(&future);
        netpool_close(&pool);
    }
    assert_int_equal(count_descriptors(), before);
    if (!fixture->has_cluster) {
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
    }
}

/* What the forked child finds; its exit status. */
static int check_child(netpool *pool, netpool_future *future, netpool_stream *stream)
{
    netpool_future *new_future;
    netpool_info *info;
    netpool_error error;
    uint64_t number = 1;
    if (netpool_submit(pool, "square", bytes_of(&number, 8), NULL, &new_future) != NETPOOL_FORKED ||
        netpool_map(pool, "square", &number, 1, 8, &number, 8, NULL, &error) != NETPOOL_FORKED ||
        strstr(error.message, "parent") == NULL) {
        return 1;
    }
    if (netpool_wait(future, -1, NULL) != NETPOOL_FORKED || netpool_cancel(future) != NETPOOL_FORKED ||
        netpool_get_info(pool, &info, -1, NULL) != NETPOOL_FORKED) {
        return 2;
    }
    if (netpool_stream_put(stream, bytes_of("", 0), -1) != NETPOOL_FORKED ||
        netpool_stream_next(stream, -1, NULL, NULL) != NETPOOL_FORKED) {
        return 3;
    }
    netpool_stream_close(&stream);
    netpool_future_free(&future);
    netpool_close(&pool);
    return pool == NULL && future == NULL ? 0 : 4;
}

static void b38_forked_child_gets_a_clear_error_and_the_parent_goes_on(void **state)
{
    netpool *pool = pool_of(state);
    netpool_stream *stream;
    assert_int_equal(netpool_stream_open(pool, "echo", NULL, &stream), NETPOOL_OK);
    netpool_future *future = submit_number(pool, "sleep_ms", 200, NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(check_child(pool, future, stream));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(netpool_wait(future, 20000, NULL), NETPOOL_OK);
    netpool_future_free(&future);
    future = submit_number(pool, "square", 3, NULL);
    assert_int_equal(netpool_wait(future, 20000, NULL), NETPOOL_OK);
    netpool_future_free(&future);
    netpool_stream_close(&stream);
    netpool_close(&pool);
}

static void b39_signals_of_the_program_are_left_alone(void **state)
{
    struct sigaction before[NSIG];
    sigset_t mask_before;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask_before), 0);
    for (int number = 1; number < NSIG; number++) {
        (void)sigaction(number, NULL, &before[number]);
    }
    netpool *pool = pool_of(state);
    netpool_future *future = submit_number(pool, "square", 3, NULL);
    assert_int_equal(netpool_wait(future, 10000, NULL), NETPOOL_OK);
    netpool_future_free(&future);
    for (int round = 0; round < 2; round++) { /* with the pool, and after it */
        for (int number = 1; number < NSIG; number++) {
            struct sigaction now;
            if (sigaction(number, NULL, &now) == 0) {
                assert_ptr_equal(now.sa_handler, before[number].sa_handler);
            }
        }
        sigset_t mask_now;
        assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask_now), 0);
        for (int number = 1; number < NSIG; number++) {
            assert_int_equal(sigismember(&mask_now, number), sigismember(&mask_before, number));
        }
        netpool_close(&pool);
    }
}

/* A signal of the program must be taken by the program's thread, whatever threads the pool has. */
static void b39_signals_never_reach_the_threads_of_the_pool(void **state)
{
    netpool *pool = pool_of(state);
    sigset_t usr1;
    sigset_t before;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0); /* would end the program if any thread could take it */
    netpool_future *future = submit_number(pool, "square", 3, NULL);
    assert_int_equal(netpool_wait(future, 10000, NULL), NETPOOL_OK);
    netpool_future_free(&future);
    int number;
    assert_int_equal(sigwait(&usr1, &number), 0);
    assert_int_equal(number, SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    netpool_close(&pool);
}

const struct CMUnitTest life_cases[] = {
    cmocka_unit_test(a11_close_waits_for_what_was_submitted),
    cmocka_unit_test(a11_terminate_stops_what_runs_and_what_waits),
    cmocka_unit_test(a11_scoped_pool_closes_itself),
    cmocka_unit_test(b36_pools_leave_neither_descriptors_nor_children),
    cmocka_unit_test(b38_forked_child_gets_a_clear_error_and_the_parent_goes_on),
    cmocka_unit_test(b39_signals_of_the_program_are_left_alone),
    cmocka_unit_test(b39_signals_never_reach_the_threads_of_the_pool),
};
const size_t life_case_count = sizeof life_cases / sizeof life_cases[0];
