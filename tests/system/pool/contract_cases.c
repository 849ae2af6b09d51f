/* What the contract says in so many words: how many executors there are (A1), what a map costs (A3), who did what
 * (A19, A21), what a lost executor costs (A14) and what becomes of tasks that are taken back (A15). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/system/pool/gates.h"
#include "tests/system/pool/pool_cases.h"

static bool is_among(const uint32_t *pids, unsigned count, uint32_t pid)
{
    for (unsigned i = 0; i < count; i++) {
        if (pids[i] == pid) {
            return true;
        }
    }
    return false;
}

static unsigned count_distinct(const uint32_t *pids, unsigned count)
{
    unsigned distinct = 0;
    for (unsigned i = 0; i < count; i++) {
        distinct += !is_among(pids, i, pids[i]);
    }
    return distinct;
}

static void a1_every_executor_runs_one_task_and_the_same_ones_serve_task_after_task(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    netpool_result result;
    struct gates gates;
    gates_close(&gates, pool, "pass_gate", fixture->slots, NULL); /* all run at the same time */
    netpool_future *one_more = submit_number(pool, "square", 3, NULL);
    assert_int_equal(netpool_wait(one_more, 50, NULL), NETPOOL_TIMEOUT);
    gates_open(&gates, NETPOOL_OK);
    assert_int_equal(netpool_wait(one_more, 60000, NULL), NETPOOL_OK);
    netpool_future_free(&one_more);
    assert_int_equal(count_distinct(gates.pid, gates.count), fixture->has_processes ? fixture->slots : 1);
    for (uint64_t i = 0; i < 300; i++) {
        netpool_future *future = submit_number(pool, "square", i, NULL);
        assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_OK);
        assert_true(is_among(gates.pid, gates.count, result.pid));
        netpool_future_free(&future);
    }
    netpool_close(&pool);
}

static void a1_more_executors_than_cores_are_allowed(void **state)
{
    struct pool_fixture fixture = *(struct pool_fixture *)*state;
    if (fixture.has_cluster) {
        skip(); /* a worker's --slots say it there: the cluster has 4 on any machine */
    }
    void *many = &fixture;
    struct gates gates;
    fixture.url = fixture.has_processes ? "local:16" : "threads:16";
    netpool *pool = pool_of(&many);
    gates_close(&gates, pool, "pass_gate", 16, NULL);
    gates_open(&gates, NETPOOL_OK);
    assert_int_equal(count_distinct(gates.pid, 16), fixture.has_processes ? 16 : 1);
    netpool_close(&pool);
}

static void a3_items_travel_in_blocks_whoever_chooses_the_chunk(void **state)
{
    enum { COUNT = 200000, CHUNK = 1000 };
    netpool *pool = pool_of(state);
    netpool_profile profile;
    uint64_t *numbers = calloc(COUNT, sizeof *numbers);
    assert_non_null(numbers);
    netpool_map_options options = {.chunk = CHUNK, .profile = &profile};
    assert_int_equal(netpool_map(pool, "square", numbers, COUNT, 8, numbers, 8, &options, NULL), NETPOOL_OK);
    assert_int_equal(profile.items, COUNT);
    assert_int_equal(profile.tasks, COUNT / CHUNK);
    assert_int_equal(profile.bytes_in, COUNT * sizeof *numbers); /* nothing goes with an item */
    assert_int_equal(profile.bytes_out, COUNT * sizeof *numbers);
    options.chunk = 0;
    assert_int_equal(netpool_map(pool, "square", numbers, COUNT, 8, numbers, 8, &options, NULL), NETPOOL_OK);
    assert_int_equal(profile.items, COUNT);
    assert_true(profile.tasks <= COUNT / 20);
    free(numbers);
    netpool_close(&pool);
}

static void a12_start_methods_are_known_by_every_pool(void **state)
{
    const struct pool_fixture *fixture = *state;
    static const netpool_start_method methods[] = {NETPOOL_START_FORK, NETPOOL_START_SPAWN, NETPOOL_START_MODULE};
    const char *const modules[] = {POOL_MODULE, NULL};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        netpool *pool = NULL;
        netpool_error error;
        netpool_options options = fixture->options;
        options.start_method = methods[i];
        options.modules = methods[i] == NETPOOL_START_MODULE && fixture->has_processes ? modules : NULL;
        if (netpool_open(&pool, fixture->url, &options, &error) != NETPOOL_OK) {
            fail_msg("%s: %s", fixture->url, error.message);
        }
        netpool_future *future = submit_number(pool, "square", 7, NULL);
        netpool_result result;
        assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_OK);
        assert_int_equal(number_of(&result), 49);
        netpool_future_free(&future);
        netpool_close(&pool);
    }
    netpool *pool;
    netpool_error error;
    netpool_options options = fixture->options;
    options.start_method = (netpool_start_method)9;
    assert_int_equal(netpool_open(&pool, fixture->url, &options, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "start_method"));
}

/* Two FIFOs in a directory of their own. */
struct leash {
    char directory[64];
    char out[80];
    char in[80];
    char input[168];
};

static void leash_init(struct leash *leash)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(leash->directory, sizeof leash->directory, "%.40s/netpool-test-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(leash->directory));
    (void)snprintf(leash->out, sizeof leash->out, "%s/out", leash->directory);
    (void)snprintf(leash->in, sizeof leash->in, "%s/in", leash->directory);
    (void)snprintf(leash->input, sizeof leash->input, "%s %s", leash->out, leash->in);
    assert_int_equal(mkfifo(leash->out, 0600), 0);
    assert_int_equal(mkfifo(leash->in, 0600), 0);
}

/* The process that runs tell_pid_and_wait; waits until it does. */
static pid_t leash_read(const struct leash *leash)
{
    pid_t pid = 0;
    int out = open(leash->out, O_RDONLY | O_CLOEXEC);
    assert_true(out >= 0);
    assert_int_equal(read(out, &pid, sizeof pid), sizeof pid);
    close(out);
    return pid;
}

static void leash_fini(const struct leash *leash)
{
    assert_int_equal(unlink(leash->out), 0);
    assert_int_equal(unlink(leash->in), 0);
    assert_int_equal(rmdir(leash->directory), 0);
}

static void a14_killed_executor_costs_an_attempt_of_what_it_ran_and_of_nothing_else(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        skip(); /* threads: there is no process to kill but the program */
    }
    enum { OTHERS = 200 };
    netpool *pool = pool_of(state);
    netpool_future *others[OTHERS];
    netpool_future *victim;
    netpool_result result;
    struct leash leash;
    leash_init(&leash);
    assert_int_equal(
        netpool_submit(pool, "tell_pid_and_wait", bytes_of(leash.input, strlen(leash.input)), NULL, &victim),
        NETPOOL_OK);
    pid_t pid = leash_read(&leash);
    for (uint64_t i = 0; i < OTHERS; i++) { /* some wait behind it in its own executor */
        others[i] = submit_number(pool, "attempt", i, NULL);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(netpool_wait(victim, 60000, &result), NETPOOL_OK);
    assert_int_equal(result.attempt, 2);
    assert_int_equal(number_of(&result), 2);
    assert_int_not_equal(result.pid, pid);
    for (int i = 0; i < OTHERS; i++) {
        assert_int_equal(netpool_wait(others[i], 60000, &result), NETPOOL_OK);
        assert_int_equal(result.attempt, 1);
        assert_int_equal(number_of(&result), 1);
        netpool_future_free(&others[i]);
    }
    netpool_future_free(&victim);
    netpool_close(&pool);
    leash_fini(&leash);
}

static void a14_crash_on_threads_is_the_programs(void **state)
{
    struct pool_fixture *fixture = *state;
    if (fixture->has_processes) {
        skip();
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* so that this program goes on */
        const struct rlimit no_core = {0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        netpool *pool = pool_of(state);
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka's is that of the parent */
        netpool_future *future = submit_number(pool, "crash_null", 1, NULL);
        _exit(netpool_wait(future, 60000, NULL) == NETPOOL_OK ? 1 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* Waits until workers hold more tasks than they run. Each answer is a round trip, so this does not spin. */
static bool wait_for_prefetch(netpool *pool, unsigned running)
{
    int64_t deadline = np_clock_now() + 60 * NP_NS_PER_S;
    uint64_t held = 0;
    while (held <= running && np_clock_now() < deadline) {
        netpool_info *info;
        assert_int_equal(netpool_get_info(pool, &info, 60000, NULL), NETPOOL_OK);
        held = info->running;
        netpool_info_free(&info);
    }
    return held > running;
}

static void a15_queued_prefetched_running_and_finished_are_told_apart(void **state)
{
    const struct pool_fixture *fixture = *state;
    enum { READY = 50 };
    netpool *pool = pool_of(state);
    netpool_future *ready[READY];
    netpool_result result;
    struct gates gates;
    const netpool_task_options nowhere = {.labels = "a_label_that_nobody_has"};
    unsigned prefetched = 0;
    netpool_future *finished = submit_number(pool, "square", 5, NULL);
    assert_int_equal(netpool_wait(finished, 60000, NULL), NETPOOL_OK);
    netpool_future *queued = submit_number(pool, "square", 6, &nowhere);
    gates_close(&gates, pool, "stand_at_gate", fixture->slots, NULL);
    for (uint64_t i = 0; i < READY; i++) { /* one more a slot is sent ahead */
        ready[i] = submit_number(pool, "stand_at_gate", i, NULL);
    }
    assert_true(wait_for_prefetch(pool, fixture->slots));
    assert_int_equal(netpool_cancel(finished), NETPOOL_CLOSED);
    assert_int_equal(netpool_wait(finished, 0, &result), NETPOOL_OK); /* its result stays */
    assert_int_equal(number_of(&result), 25);
    assert_int_equal(netpool_cancel(queued), NETPOOL_OK);
    assert_int_equal(netpool_wait(queued, 60000, &result), NETPOOL_CANCELLED);
    assert_int_equal(result.failure->attempt, 0);
    assert_false(result.failure->started);
    for (int i = 0; i < READY; i++) {
        assert_int_equal(netpool_cancel(ready[i]), NETPOOL_OK);
    }
    for (int i = 0; i < READY; i++) {
        assert_int_equal(netpool_wait(ready[i], 60000, &result), NETPOOL_CANCELLED);
        assert_false(result.failure->started);
        prefetched += result.failure->attempt == 1;
        netpool_future_free(&ready[i]);
    }
    assert_in_range(prefetched, 1, READY - 1);
    for (unsigned i = 0; i < gates.count; i++) {
        assert_int_equal(netpool_cancel(gates.futures[i]), NETPOOL_OK);
    }
    for (unsigned i = 0; i < gates.count; i++) { /* they are deaf, and still at their gates */
        assert_int_equal(netpool_wait(gates.futures[i], 60000, &result), NETPOOL_CANCELLED);
        assert_true(result.failure->started);
        assert_int_equal(result.failure->attempt, 1);
    }
    gates_open(&gates, NETPOOL_CANCELLED);
    netpool_future_free(&finished);
    netpool_future_free(&queued);
    netpool_close(&pool);
}

static void a19_threads_take_the_same_calls_and_are_the_program_itself(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    netpool_result result;
    netpool_future *future = submit_number(pool, "square", 12, NULL);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_OK);
    assert_int_equal(number_of(&result), 144);
    assert_true((result.pid == (uint32_t)getpid()) == !fixture->has_processes);
    netpool_future_free(&future);
    netpool_close(&pool);
}

/* Whether it succeeded or not. */
static void check_record(const struct pool_fixture *fixture, const netpool_result *result)
{
    char host[130] = "";
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    assert_string_equal(result->host, host);
    assert_int_not_equal(result->worker[0], '\0');
    assert_int_equal(result->attempt, 1);
    assert_true(result->pid > 0);
    assert_true((result->pid == (uint32_t)getpid()) == !fixture->has_processes);
    assert_true(result->compute_ns > 0 && result->total_ns > 0);
    assert_true(result->queue_ns + result->compute_ns + result->transfer_ns == result->total_ns);
}

static void a21_every_result_says_who_computed_it_and_when(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    netpool_result result;
    struct gates gates;
    gates_close(&gates, pool, "pass_gate", fixture->slots, NULL);
    netpool_future *waited = submit_number(pool, "sleep_ms", 20, NULL);
    assert_int_equal(netpool_wait(waited, 100, NULL), NETPOOL_TIMEOUT);
    gates_open(&gates, NETPOOL_OK);
    assert_int_equal(netpool_wait(waited, 60000, &result), NETPOOL_OK);
    check_record(fixture, &result);
    assert_true(result.compute_ns >= 20 * NP_NS_PER_MS);
    assert_true(result.queue_ns > 0 && result.total_ns >= 120 * NP_NS_PER_MS);
    netpool_future_free(&waited);
    netpool_future *failed = submit_number(pool, "fail_above", 5000, NULL);
    assert_int_equal(netpool_wait(failed, 60000, &result), NETPOOL_FAILED);
    check_record(fixture, &result);
    assert_int_equal(result.failure->pid, result.pid);
    assert_string_equal(result.failure->worker, result.worker);
    assert_string_equal(result.failure->host, result.host);
    netpool_future_free(&failed);
    netpool_stream *stream;
    uint64_t number = 4;
    assert_int_equal(netpool_stream_open(pool, "square", NULL, &stream), NETPOOL_OK);
    assert_int_equal(netpool_stream_put(stream, bytes_of(&number, sizeof number), -1), NETPOOL_OK);
    assert_int_equal(netpool_stream_next(stream, 60000, NULL, &result), NETPOOL_OK);
    check_record(fixture, &result);
    netpool_stream_close(&stream);
    netpool_close(&pool);
}

const struct CMUnitTest contract_cases[] = {
    cmocka_unit_test(a1_every_executor_runs_one_task_and_the_same_ones_serve_task_after_task),
    cmocka_unit_test(a1_more_executors_than_cores_are_allowed),
    cmocka_unit_test(a3_items_travel_in_blocks_whoever_chooses_the_chunk),
    cmocka_unit_test(a12_start_methods_are_known_by_every_pool),
    cmocka_unit_test(a14_killed_executor_costs_an_attempt_of_what_it_ran_and_of_nothing_else),
    cmocka_unit_test(a14_crash_on_threads_is_the_programs),
    cmocka_unit_test(a15_queued_prefetched_running_and_finished_are_told_apart),
    cmocka_unit_test(a19_threads_take_the_same_calls_and_are_the_program_itself),
    cmocka_unit_test(a21_every_result_says_who_computed_it_and_when),
};
const size_t contract_case_count = sizeof contract_cases / sizeof contract_cases[0];
