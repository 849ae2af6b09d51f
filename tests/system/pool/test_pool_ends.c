/* How pools end: whatever became of what they stand on, closing returns, and nothing of a pool outlives its program.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "proto/limits.h"
#include "tests/support/fake_broker.h"
#include "tests/system/pool/pool_cases.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1, CYCLES = 100 };
#else
enum { IS_SANITIZED = 0, CYCLES = 1000 };
#endif

#define SOON_NS (20 * NP_NS_PER_S) /* "within a few seconds", on a machine that is very busy */
#define LONG_MS UINT64_C(3600000)
#define END_GRACE_NS (2 * NP_NS_PER_S) /* what closing takes that does not see the end of its processes */

static netpool *open_pool(const char *url, const netpool_options *options)
{
    netpool *pool = NULL;
    netpool_error error;
    if (netpool_open(&pool, url, options, &error) != NETPOOL_OK) {
        fail_msg("%s: %s", url, error.message);
    }
    return pool;
}

static netpool_future *submit(netpool *pool, const char *function, uint64_t number)
{
    netpool_future *future;
    assert_int_equal(netpool_submit(pool, function, bytes_of(&number, 8), NULL, &future), NETPOOL_OK);
    return future;
}

static bool square_works(netpool *pool)
{
    uint64_t number = 7;
    return netpool_map(pool, "square", &number, 1, 8, &number, 8, NULL, NULL) == NETPOOL_OK && number == 49;
}

static pid_t only_child_of(pid_t pid)
{
    pid_t child;
    assert_int_equal(process_children(pid, &child, 1), 1);
    return child;
}

/* Ends the pool one way or the other, in time, and everything it had started is gone. */
static void end_in_time(netpool *pool, bool terminate)
{
    int64_t before = np_clock_now();
    if (terminate) {
        netpool_terminate(&pool);
    } else {
        netpool_close(&pool);
    }
    assert_true(np_clock_now() - before < SOON_NS);
    while (waitpid(-1, NULL, 0) > 0) { /* we are the subreaper: orphans would be ours, and be waited for */
    }
    assert_int_equal(errno, ECHILD);
    assert_true(np_clock_now() - before < SOON_NS);
}

struct loss {
    netpool_start_method start_method;
    bool takes_zygote; /* else the supervisor */
    int signal;
    bool terminate;
};

static void a11_local_pool_that_lost_its_processes_ends_in_time(void **state)
{
    const struct loss *loss = *state;
    netpool_options options = {.start_method = loss->start_method};
    netpool *pool = open_pool("local:2", &options);
    netpool_future *future = submit(pool, "sleep_deaf_ms", LONG_MS);
    assert_int_equal(netpool_wait(future, 50, NULL), NETPOOL_TIMEOUT);
    pid_t victim = only_child_of(getpid());
    if (loss->takes_zygote) {
        victim = only_child_of(victim);
    }
    assert_int_equal(kill(victim, loss->signal), 0);
    if (!loss->terminate) { /* or it would wait for the task, as promised */
        assert_int_equal(netpool_wait(future, 20000, NULL), NETPOOL_UNREACHABLE);
    }
    netpool_future_free(&future);
    end_in_time(pool, loss->terminate);
}

static void a11_terminate_does_not_wait_for_functions_that_never_end(void **state)
{
    (void)state;
    netpool *pool = open_pool("local:2", NULL);
    netpool_future *futures[6];
    for (size_t i = 0; i < 6; i++) {
        futures[i] = submit(pool, "sleep_deaf_ms", LONG_MS);
    }
    assert_int_equal(netpool_wait(futures[0], 50, NULL), NETPOOL_TIMEOUT);
    end_in_time(pool, true);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(netpool_wait(futures[i], 0, NULL), NETPOOL_CANCELLED);
        netpool_future_free(&futures[i]);
    }
}

static void a11_pools_of_a_stopped_broker_end_in_time(void **state)
{
    const enum cluster_kind *kind = *state;
    struct cluster cluster;
    netpool_options options = {0};
    cluster_start(&cluster, *kind, 1, 1, POOL_MODULE);
    cluster_options(&cluster, &options);
    netpool *idle = open_pool(cluster.url, &options);
    netpool *busy = open_pool(cluster.url, &options);
    netpool_future *future = submit(busy, "sleep_ms", LONG_MS);
    assert_int_equal(netpool_wait(future, 50, NULL), NETPOOL_TIMEOUT);
    assert_int_equal(kill(cluster.broker, SIGSTOP), 0);
    int64_t before = np_clock_now();
    netpool_close(&idle);
    assert_true(np_clock_now() - before < SOON_NS);
    before = np_clock_now();
    netpool_terminate(&busy);
    assert_true(np_clock_now() - before < SOON_NS);
    assert_int_equal(netpool_wait(future, 0, NULL), NETPOOL_CANCELLED);
    netpool_future_free(&future);
    assert_int_equal(kill(cluster.broker, SIGCONT), 0);
    cluster_stop(&cluster);
}

struct waiter {
    netpool *pool;
    netpool_stream *stream;
    int told; /* the thread is about to wait */
    netpool_status status;
};

static void *wait_for_next(void *context)
{
    struct waiter *waiter = context;
    netpool_result result;
    assert_int_equal(write(waiter->told, "x", 1), 1);
    waiter->status = netpool_stream_next(waiter->stream, -1, NULL, &result);
    return NULL;
}

static void *wait_for_info(void *context)
{
    struct waiter *waiter = context;
    netpool_info *info = NULL;
    waiter->status = netpool_get_info(waiter->pool, &info, -1, NULL);
    netpool_info_free(&info);
    return NULL;
}

static void a11_close_ends_the_wait_for_a_result_that_can_never_come(void **state)
{
    (void)state;
    int told[2];
    char byte;
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    struct waiter waiter = {.pool = open_pool("threads:1", NULL), .told = told[1], .status = NETPOOL_OK};
    assert_int_equal(netpool_stream_open(waiter.pool, "square", NULL, &waiter.stream), NETPOOL_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_for_next, &waiter), 0);
    assert_int_equal(read(told[0], &byte, 1), 1);
    netpool_close(&waiter.pool); /* nothing was put: the thread waits, or is about to */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waiter.status, NETPOOL_CLOSED);
    netpool_stream_close(&waiter.stream);
    close(told[0]);
    close(told[1]);
}

static void a11_close_ends_a_question_that_the_broker_does_not_answer(void **state)
{
    const enum cluster_kind *kind = *state;
    struct cluster cluster;
    netpool_options options = {0};
    cluster_start(&cluster, *kind, 1, 1, POOL_MODULE);
    cluster_options(&cluster, &options);
    netpool *pool = open_pool(cluster.url, &options);
    struct waiter waiter = {.pool = pool, .status = NETPOOL_OK};
    assert_int_equal(kill(cluster.broker, SIGSTOP), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_for_info, &waiter), 0);
    struct timespec moment = {.tv_nsec = 50 * NP_NS_PER_MS}; /* either way it must end; now it is most likely asked */
    (void)nanosleep(&moment, NULL);
    int64_t before = np_clock_now();
    netpool_terminate(&pool);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(np_clock_now() - before < SOON_NS);
    assert_int_equal(waiter.status, NETPOOL_CLOSED);
    assert_int_equal(kill(cluster.broker, SIGCONT), 0);
    cluster_stop(&cluster);
}

/* A program of its own, forked from this one, whose pool's executors are busy. Returns when they are. */
static pid_t start_busy_program(const netpool_options *options)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        netpool *pool = NULL;
        netpool_future *futures[4] = {NULL};
        uint64_t ms = LONG_MS;
        bool good = netpool_open(&pool, "local:2", options, NULL) == NETPOOL_OK;
        for (size_t i = 0; i < 4 && good; i++) {
            good = netpool_submit(pool, "sleep_deaf_ms", bytes_of(&ms, 8), NULL, &futures[i]) == NETPOOL_OK;
        }
        if (!good || netpool_wait(futures[0], 50, NULL) != NETPOOL_TIMEOUT || write(ready[1], "x", 1) != 1) {
            _exit(1);
        }
        (void)netpool_wait(futures[0], -1, NULL);
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void b6_killed_program_leaves_no_process_behind(void **state)
{
    const netpool_start_method *method = *state;
    netpool_options options = {.start_method = *method};
    pid_t program = start_busy_program(&options);
    int64_t before = np_clock_now();
    assert_int_equal(kill(program, SIGKILL), 0);
    int reaped = 0;
    while (waitpid(-1, NULL, 0) > 0) { /* orphans come to us, their subreaper */
        reaped++;
    }
    assert_true(reaped >= 2); /* the program and its supervisor at least */
    assert_true(np_clock_now() - before < SOON_NS);
}

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long pages = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %ld", &pages), 1);
    (void)fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void b36_a_thousand_local_pools_leak_nothing(void **state)
{
    (void)state;
    long memory = 0;
    int descriptors = 0;
    for (int i = 0; i < CYCLES; i++) {
        netpool *pool = open_pool("local:2", NULL);
        assert_true(square_works(pool));
        netpool_close(&pool);
        if (i == CYCLES / 10) {
            memory = resident_kib();
            descriptors = process_descriptors(getpid());
        }
    }
    assert_int_equal(process_descriptors(getpid()), descriptors);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    if (!IS_SANITIZED) {
        assert_true(resident_kib() - memory < 1024);
    }
}

/* Runs `test` in a forked program of its own, whose exit status it is: 0 is good. */
static void run_apart(int (*test)(netpool_start_method method), netpool_start_method method)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(test(method));
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    while (waitpid(-1, NULL, 0) > 0) {
    }
}

static int use_without_standard_streams(netpool_start_method method)
{
    netpool_options options = {.start_method = method};
    netpool *pool = NULL;
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    if (netpool_open(&pool, "local:2", &options, NULL) != NETPOOL_OK) {
        return 2;
    }
    (void)printf("what nobody reads must not go down the worker's socket\n");
    (void)fflush(stdout);
    (void)!write(STDERR_FILENO, "nor this\n", 9);
    bool first_works = square_works(pool);
    bool good = first_works && square_works(pool);
    netpool_close(&pool);
    return good ? 0 : 3;
}

static void local_pool_works_with_the_standard_streams_closed(void **state)
{
    (void)state;
    run_apart(use_without_standard_streams, NETPOOL_START_FORK);
    run_apart(use_without_standard_streams, NETPOOL_START_SPAWN);
}

static void reap_everything(int number)
{
    (void)number;
    int saved = errno; /* NOLINT(bugprone-signal-handler,cert-sig30-c): errno is the thread's own */
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    errno = saved;
}

static int open_use_and_close(netpool_start_method method)
{
    netpool_options options = {.start_method = method};
    netpool *pool = NULL;
    int64_t quickest = INT64_MAX;
    for (int i = 0; i < 3; i++) {
        if (netpool_open(&pool, "local:2", &options, NULL) != NETPOOL_OK) {
            return 2;
        }
        uint64_t none = 0;
        bool good =
            square_works(pool) && netpool_map(pool, "crash_once", &none, 1, 8, &none, 8, NULL, NULL) == NETPOOL_OK;
        int64_t before = np_clock_now();
        netpool_close(&pool);
        quickest = np_earlier(quickest, np_clock_now() - before);
        if (!good) {
            return 3;
        }
    }
    if (quickest >= END_GRACE_NS) {
        return 5;
    }
    pid_t child;
    return process_children(getpid(), &child, 1) == 0 ? 0 : 4; /* zombies would be among them */
}

static int use_with_children_ignored(netpool_start_method method)
{
    (void)signal(SIGCHLD, SIG_IGN);
    return open_use_and_close(method);
}

static int use_with_children_reaped(netpool_start_method method)
{
    (void)signal(SIGCHLD, reap_everything);
    return open_use_and_close(method);
}

static void b39_programs_that_ignore_or_reap_their_children_may_have_pools(void **state)
{
    (void)state;
    run_apart(use_with_children_ignored, NETPOOL_START_FORK);
    run_apart(use_with_children_ignored, NETPOOL_START_SPAWN);
    run_apart(use_with_children_reaped, NETPOOL_START_FORK);
    run_apart(use_with_children_reaped, NETPOOL_START_SPAWN);
}

enum { FEW_DESCRIPTORS = 30 }; /* a pool needs fewer */

/* However few there are: either the pool works, or opening it says why not. */
static int open_with_few_descriptors(netpool_start_method method)
{
    netpool_options options = {.start_method = method};
    rlim_t enough = 0;
    for (rlim_t count = 4; count < FEW_DESCRIPTORS; count++) {
        const struct rlimit few = {count, FEW_DESCRIPTORS};
        netpool *pool = NULL;
        netpool_error error;
        if (setrlimit(RLIMIT_NOFILE, &few) != 0) {
            return 2;
        }
        if (netpool_open(&pool, "local:2", &options, &error) != NETPOOL_OK) {
            if (error.status != NETPOOL_SYSTEM || strstr(error.message, "Too many open files") == NULL) {
                (void)fprintf(stderr, "%u descriptors: %s\n", (unsigned)count, error.message);
                return 3;
            }
            continue;
        }
        enough = enough == 0 ? count : enough;
        uint64_t number = 7;
        netpool_task_options in_time = {.expiry_ms = SOON_NS / NP_NS_PER_MS}; /* of a test that fails */
        netpool_future *future;
        bool good = netpool_submit(pool, "square", bytes_of(&number, 8), &in_time, &future) == NETPOOL_OK &&
                    netpool_wait(future, -1, NULL) == NETPOOL_OK;
        netpool_future_free(&future);
        netpool_close(&pool);
        if (!good) {
            return 4;
        }
    }
    return enough > 4 ? 0 : 5;
}

static void local_pool_with_few_descriptors_works_or_is_not_opened(void **state)
{
    (void)state;
    run_apart(open_with_few_descriptors, NETPOOL_START_FORK);
}

/* For ten seconds no executor can be started: nobody waits for what is queued any longer than that. */
static void local_pool_that_can_start_no_executor_ends_its_tasks(void **state)
{
    (void)state;
    const struct rlimit none = {0, 0};
    netpool *pool = open_pool("local:1", NULL);
    assert_true(square_works(pool));
    assert_int_equal(prlimit(only_child_of(getpid()), RLIMIT_NOFILE, &none, NULL), 0);
    netpool_future *crash = submit(pool, "crash", 0);
    netpool_future *square = submit(pool, "square", 7);
    assert_int_equal(netpool_wait(square, 6 * SOON_NS / NP_NS_PER_MS, NULL), NETPOOL_UNREACHABLE);
    assert_non_null(strstr(netpool_last_error(), "no executor can be started: Too many open files"));
    assert_true(netpool_wait(crash, -1, NULL) != NETPOOL_OK);
    netpool_future_free(&square);
    netpool_future_free(&crash);
    end_in_time(pool, false);
}

/* A program with a local pool, which it uses once more when it is told to. */
struct program {
    pid_t pid;
    int go;     /* write end of a pipe */
    int worker; /* pidfd of its worker process */
};

static void start_program(struct program *program)
{
    int go[2];
    int worker[2];
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    assert_int_equal(pipe2(worker, O_CLOEXEC), 0);
    program->pid = fork();
    assert_true(program->pid >= 0);
    if (program->pid == 0) {
        char told;
        pid_t child = 0;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves it stopped */
        netpool *pool = open_pool("local:2", NULL);
        bool good = square_works(pool) && process_children(getpid(), &child, 1) == 1 &&
                    write(worker[1], &child, sizeof child) == sizeof child && read(go[0], &told, 1) == 1 &&
                    square_works(pool);
        netpool_close(&pool);
        _exit(good ? 0 : 1);
    }
    pid_t child;
    assert_int_equal(read(worker[0], &child, sizeof child), sizeof child);
    program->go = go[1];
    program->worker = (int)syscall(SYS_pidfd_open, child, 0);
    assert_true(program->worker >= 0);
    close(go[0]);
    close(worker[0]);
    close(worker[1]);
}

/* Ctrl-Z, a debugger, a frozen container: the two know without a time-out whether the other one lives. */
static void local_pool_survives_that_either_process_is_stopped_for_long(void **state)
{
    (void)state;
    enum { STOPPED_MS = NP_TIMEOUT_MS + 1500 };
    struct program programs[2];
    struct pollfd ended[2];
    int status;
    for (int i = 0; i < 2; i++) {
        start_program(&programs[i]);
        ended[i] = (struct pollfd){.fd = programs[i].worker, .events = POLLIN};
    }
    assert_int_equal(kill(programs[0].pid, SIGSTOP), 0);
    assert_int_equal(syscall(SYS_pidfd_send_signal, programs[1].worker, SIGSTOP, NULL, 0), 0);
    assert_int_equal(poll(ended, 2, STOPPED_MS), 0);
    assert_int_equal(kill(programs[0].pid, SIGCONT), 0);
    assert_int_equal(syscall(SYS_pidfd_send_signal, programs[1].worker, SIGCONT, NULL, 0), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(write(programs[i].go, "x", 1), 1);
        assert_int_equal(waitpid(programs[i].pid, &status, 0), programs[i].pid);
        assert_int_equal(status, 0);
        close(programs[i].go);
        close(programs[i].worker);
    }
}

int main(int argc, char **argv)
{
    static enum cluster_kind tls = CLUSTER_TLS;
    static enum cluster_kind ipc = CLUSTER_IPC;
    static struct loss losses[] = {
        {NETPOOL_START_FORK, false, SIGKILL, false}, {NETPOOL_START_FORK, false, SIGKILL, true},
        {NETPOOL_START_FORK, true, SIGKILL, false},  {NETPOOL_START_FORK, true, SIGKILL, true},
        {NETPOOL_START_FORK, false, SIGSTOP, true},  {NETPOOL_START_SPAWN, false, SIGKILL, true},
        {NETPOOL_START_SPAWN, true, SIGKILL, true},
    };
    static netpool_start_method by_fork = NETPOOL_START_FORK;
    static netpool_start_method by_spawn = NETPOOL_START_SPAWN;
    netpool_init(&argc, &argv);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(a11_local_pool_that_lost_its_processes_ends_in_time, &losses[0]),
        cmocka_unit_test_prestate(a11_local_pool_that_lost_its_processes_ends_in_time, &losses[1]),
        cmocka_unit_test_prestate(a11_local_pool_that_lost_its_processes_ends_in_time, &losses[2]),
        cmocka_unit_test_prestate(a11_local_pool_that_lost_its_processes_ends_in_time, &losses[3]),
        cmocka_unit_test_prestate(a11_local_pool_that_lost_its_processes_ends_in_time, &losses[4]),
        cmocka_unit_test_prestate(a11_local_pool_that_lost_its_processes_ends_in_time, &losses[5]),
        cmocka_unit_test_prestate(a11_local_pool_that_lost_its_processes_ends_in_time, &losses[6]),
        cmocka_unit_test(a11_terminate_does_not_wait_for_functions_that_never_end),
        cmocka_unit_test_prestate(b6_killed_program_leaves_no_process_behind, &by_fork),
        cmocka_unit_test_prestate(b6_killed_program_leaves_no_process_behind, &by_spawn),
        cmocka_unit_test(local_pool_works_with_the_standard_streams_closed),
        cmocka_unit_test(b39_programs_that_ignore_or_reap_their_children_may_have_pools),
        cmocka_unit_test(local_pool_with_few_descriptors_works_or_is_not_opened),
        cmocka_unit_test(local_pool_that_can_start_no_executor_ends_its_tasks),
        cmocka_unit_test(local_pool_survives_that_either_process_is_stopped_for_long),
        cmocka_unit_test(b36_a_thousand_local_pools_leak_nothing),
        cmocka_unit_test_prestate(a11_pools_of_a_stopped_broker_end_in_time, &tls),
        cmocka_unit_test_prestate(a11_pools_of_a_stopped_broker_end_in_time, &ipc),
        cmocka_unit_test(a11_close_ends_the_wait_for_a_result_that_can_never_come),
        cmocka_unit_test_prestate(a11_close_ends_a_question_that_the_broker_does_not_answer, &tls),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("pool_ends", tests, NULL, NULL);
}
