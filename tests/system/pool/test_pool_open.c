/* Opening pools, and losing what they stand on: start methods, bad modules and credentials, unreachable brokers, a
 * worker process that is killed, a broker that goes away for good or comes back. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/system/pool/pool_cases.h"

static netpool *open_pool(const char *url, const netpool_options *options)
{
    netpool *pool = NULL;
    netpool_error error;
    if (netpool_open(&pool, url, options, &error) != NETPOOL_OK) {
        fail_msg("%s: %s", url, error.message);
    }
    return pool;
}

/* Opening fails with this status and a message that has `words`. */
static void open_fails(const char *url, const netpool_options *options, netpool_status status, const char *words)
{
    netpool *pool = (netpool *)&errno;
    netpool_error error = {0};
    assert_int_equal(netpool_open(&pool, url, options, &error), status);
    assert_null(pool);
    assert_int_equal(error.status, status);
    if (strstr(error.message, words) == NULL) {
        fail_msg("'%s' does not say '%s'", error.message, words);
    }
    assert_null(strchr(error.message, '\n'));
}

static void square_works(netpool *pool)
{
    uint64_t number = 7;
    netpool_future *future;
    netpool_result result;
    assert_int_equal(netpool_submit(pool, "square", bytes_of(&number, 8), NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 20000, &result), NETPOOL_OK);
    memcpy(&number, result.data, 8);
    assert_int_equal(number, 49);
    netpool_future_free(&future);
}

enum { LONG_MS = 60000 }; /* longer than any wait here */

/* A task that sleeps for very long on its first attempt; a worker has it when this returns. */
static netpool_future *start_sleeping(netpool *pool)
{
    const uint64_t ms = LONG_MS;
    netpool_future *future;
    netpool_info *info = NULL;
    assert_int_equal(netpool_submit(pool, "sleep_first_ms", bytes_of(&ms, sizeof ms), NULL, &future), NETPOOL_OK);
    do {
        netpool_info_free(&info);
        assert_int_equal(netpool_get_info(pool, &info, 20000, NULL), NETPOOL_OK);
    } while (info->running == 0);
    netpool_info_free(&info);
    return future;
}

static void malformed_urls_are_quoted(void **state)
{
    (void)state;
    static const char *const urls[] = {"locals", "local:", "local:x",          "thread:2",    "threads:0x", "ipc:/x",
                                       "ipc://", "tls://", "tls://host:99999", "http://host", "local:99999"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        open_fails(urls[i], NULL, NETPOOL_INVALID, urls[i]);
    }
}

static void bad_options_are_named(void **state)
{
    (void)state;
    netpool_options reserved = {.reserved = {0, 1}};
    netpool_options method = {.start_method = (netpool_start_method)9};
    netpool_options payload = {.max_payload = UINT64_C(1) << 40};
    netpool_options timeout = {.connect_timeout_ms = -1};
    open_fails("threads:1", &reserved, NETPOOL_INVALID, "reserved");
    open_fails("threads:1", &method, NETPOOL_INVALID, "start_method");
    open_fails("threads:1", &payload, NETPOOL_INVALID, "max_payload");
    open_fails("threads:1", &timeout, NETPOOL_INVALID, "connect_timeout_ms");
    assert_int_equal(netpool_open(NULL, "threads:1", NULL, NULL), NETPOOL_INVALID);
}

static void environment_names_the_pool(void **state)
{
    (void)state;
    assert_int_equal(setenv("NETPOOL_URL", "threads:2", 1), 0);
    netpool *pool = open_pool(NULL, NULL);
    netpool_info *info;
    assert_int_equal(netpool_get_info(pool, &info, 20000, NULL), NETPOOL_OK);
    assert_int_equal(info->workers[0].slots, 2);
    netpool_info_free(&info);
    netpool_close(&pool);
    assert_int_equal(unsetenv("NETPOOL_URL"), 0);
}

static void a12_spawn_executes_the_program_anew(void **state)
{
    (void)state;
    netpool_options options = {.start_method = NETPOOL_START_SPAWN};
    netpool *other = open_pool("threads:1", NULL); /* now this program has threads */
    netpool *pool = open_pool("local:2", &options);
    square_works(pool);
    netpool_close(&pool);
    netpool_close(&other);
}

/* A program that forgets netpool_init: as its own worker process it comes to netpool_open again. 42: is refused. */
static int open_as_forgetful_program(void)
{
    netpool_options options = {.start_method = NETPOOL_START_SPAWN};
    netpool *pool;
    netpool_error error;
    netpool_status status = netpool_open(&pool, "local:1", &options, &error);
    return status == NETPOOL_UNSUPPORTED && strstr(error.message, "netpool_init") != NULL ? 42 : 1;
}

static void a12_spawn_without_init_ends_and_says_so(void **state)
{
    (void)state;
    netpool_options options = {.start_method = NETPOOL_START_SPAWN};
    assert_int_equal(setenv("POOL_OPEN_FORGETS_INIT", "1", 1), 0);
    open_fails("local:1", &options, NETPOOL_SYSTEM, "netpool_init");
    open_fails("local:1", &options, NETPOOL_SYSTEM, "42");
    assert_int_equal(unsetenv("POOL_OPEN_FORGETS_INIT"), 0);
}

static void a12_module_runs_functions_of_modules_only(void **state)
{
    (void)state;
    static const char *const modules[] = {POOL_MODULE, NULL};
    netpool_options options = {.start_method = NETPOOL_START_MODULE, .modules = modules};
    assert_int_equal(setenv("NETPOOL_WORKER", NETPOOL_WORKER, 1), 0);
    netpool *other = open_pool("threads:1", NULL);
    netpool *pool = open_pool("local:2", &options);
    square_works(pool);
    netpool_close(&pool);
    assert_int_equal(setenv("NETPOOL_WORKER", "/nowhere/netpool-worker", 1), 0);
    open_fails("local:2", &options, NETPOOL_SYSTEM, "/nowhere/netpool-worker");
    assert_int_equal(unsetenv("NETPOOL_WORKER"), 0);
    netpool_close(&other);
}

static void a12_fork_with_threads_says_what_to_use_instead(void **state)
{
    (void)state;
    netpool *other = open_pool("threads:1", NULL);
    open_fails("local:2", NULL, NETPOOL_UNSUPPORTED, "NETPOOL_START_SPAWN");
    netpool_close(&other);
}

static void b32_module_that_does_not_load_is_named(void **state)
{
    (void)state;
    static const char *const missing[] = {"/nowhere/missing.so", NULL};
    netpool_options options = {.modules = missing};
    netpool_options spawned = {.modules = missing, .start_method = NETPOOL_START_SPAWN};
    open_fails("local:1", &options, NETPOOL_BAD_MODULE, "missing.so");
    open_fails("local:1", &spawned, NETPOOL_BAD_MODULE, "missing.so");
    open_fails("threads:1", &options, NETPOOL_BAD_MODULE, "missing.so");
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* and nothing is left of it */
}

static void unreachable_brokers_are_named_within_the_time(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_start(&cluster, CLUSTER_TLS, 0, 1, POOL_MODULE);
    netpool_options options = {.connect_timeout_ms = 300};
    cluster_options(&cluster, &options);
    cluster_kill_broker(&cluster);
    int64_t before = np_clock_now();
    open_fails(cluster.url, &options, NETPOOL_UNREACHABLE, cluster.url);
    open_fails("ipc:///nowhere/broker", &options, NETPOOL_UNREACHABLE, "/nowhere/broker");
    assert_true(np_clock_now() - before < 10 * NP_NS_PER_S); /* what one would take by default */
    cluster_stop(&cluster);
}

static void bad_credentials_are_named(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_start(&cluster, CLUSTER_TLS, 0, 1, POOL_MODULE);
    netpool_options options = {0};
    open_fails(cluster.url, &options, NETPOOL_CREDENTIALS, "NETPOOL_CA");
    cluster_options(&cluster, &options);
    options.key = "/nowhere/key";
    open_fails(cluster.url, &options, NETPOOL_CREDENTIALS, "/nowhere/key");
    options.key = cluster.key;
    assert_int_equal(chmod(cluster.key, 0644), 0); /* b29 */
    open_fails(cluster.url, &options, NETPOOL_CREDENTIALS, cluster.key);
    assert_int_equal(chmod(cluster.key, 0600), 0);
    options.key = NULL;
    assert_int_equal(setenv("NETPOOL_KEY", cluster.key, 1), 0);
    netpool *pool = open_pool(cluster.url, &options); /* from the environment */
    netpool_close(&pool);
    assert_int_equal(unsetenv("NETPOOL_KEY"), 0);
    cluster_stop(&cluster);
}

/* The pid of the one child of this process, whichever of its threads started it. */
static pid_t only_child(void)
{
    glob_t lists;
    pid_t child = -1;
    assert_int_equal(glob("/proc/self/task/*/children", 0, NULL, &lists), 0);
    for (size_t i = 0; i < lists.gl_pathc; i++) {
        FILE *file = fopen(lists.gl_pathv[i], "re");
        int pid;
        while (file != NULL && fscanf(file, "%d", &pid) == 1) {
            assert_int_equal(child, -1);
            child = pid;
        }
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    globfree(&lists);
    assert_int_not_equal(child, -1);
    return child;
}

static void a14_killed_worker_process_that_was_forked_ends_its_tasks_clearly(void **state)
{
    (void)state;
    netpool *pool = open_pool("local:2", NULL);
    netpool_future *future = start_sleeping(pool);
    netpool_result result;
    assert_int_equal(kill(only_child(), SIGKILL), 0);
    assert_int_equal(netpool_wait(future, 20000, &result), NETPOOL_UNREACHABLE);
    assert_non_null(strstr(result.failure->message, "signal 9"));
    netpool_future_free(&future);
    uint64_t number = 1; /* whatever comes later ends the same way */
    assert_int_equal(netpool_map(pool, "square", &number, 1, 8, &number, 8, NULL, NULL), NETPOOL_UNREACHABLE);
    netpool_close(&pool);
}

static void a14_killed_worker_process_that_was_spawned_is_replaced(void **state)
{
    (void)state;
    netpool_options options = {.start_method = NETPOOL_START_SPAWN};
    netpool *pool = open_pool("local:2", &options);
    netpool_future *future = start_sleeping(pool);
    netpool_result result;
    pid_t first = only_child();
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_int_equal(netpool_wait(future, 20000, &result), NETPOOL_OK);
    assert_int_equal(result.attempt, 2);
    assert_int_not_equal(only_child(), first);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void b5_broker_gone_for_good_ends_everything_within_the_time(void **state)
{
    enum cluster_kind kind = *(enum cluster_kind *)*state;
    struct cluster cluster;
    cluster_start(&cluster, kind, 1, 2, POOL_MODULE);
    netpool_options options = {.reconnect_timeout_ms = 500};
    cluster_options(&cluster, &options);
    netpool *pool = open_pool(cluster.url, &options);
    netpool_future *future = start_sleeping(pool);
    netpool_result result;
    cluster_kill_broker(&cluster);
    int64_t before = np_clock_now();
    assert_int_equal(netpool_wait(future, 20000, &result), NETPOOL_UNREACHABLE);
    assert_true(np_clock_now() - before < 10 * NP_NS_PER_S);
    assert_non_null(strstr(result.failure->message, cluster.url));
    netpool_future_free(&future);
    cluster_restart_broker(&cluster); /* what comes later does better, once the pool has noticed */
    netpool_status status = NETPOOL_UNREACHABLE;
    while (status == NETPOOL_UNREACHABLE && np_clock_now() - before < 60 * NP_NS_PER_S) {
        uint64_t number = 7;
        assert_int_equal(netpool_submit(pool, "square", bytes_of(&number, 8), NULL, &future), NETPOOL_OK);
        status = netpool_wait(future, 20000, NULL);
        netpool_future_free(&future);
    }
    assert_int_equal(status, NETPOOL_OK);
    netpool_close(&pool);
    cluster_stop(&cluster);
}

enum { MAP_ITEMS = 400 };

struct mapping {
    netpool *pool;
    uint64_t in[MAP_ITEMS];
    uint64_t out[MAP_ITEMS];
    netpool_error error;
};

static void *map_sleeps(void *context)
{
    struct mapping *mapping = context;
    netpool_map_options options = {.chunk = 4};
    return netpool_map(mapping->pool, "sleep_ms", mapping->in, MAP_ITEMS, 8, mapping->out, 8, &options,
                       &mapping->error) == NETPOOL_OK
               ? context
               : NULL;
}

static void wait_until_done(netpool *pool, uint64_t tasks)
{
    netpool_info *info = NULL;
    do {
        netpool_info_free(&info);
        assert_int_equal(netpool_get_info(pool, &info, 20000, NULL), NETPOOL_OK);
    } while (info->done < tasks);
    netpool_info_free(&info);
}

static void b4_map_goes_on_when_the_broker_is_killed_and_comes_back(void **state)
{
    enum cluster_kind kind = *(enum cluster_kind *)*state;
    static struct mapping mapping;
    struct cluster cluster;
    netpool_options options = {0};
    cluster_start(&cluster, kind, 2, 2, POOL_MODULE);
    cluster_options(&cluster, &options);
    mapping = (struct mapping){.pool = open_pool(cluster.url, &options)};
    for (uint64_t i = 0; i < MAP_ITEMS; i++) {
        mapping.in[i] = i % 10;
    }
    pthread_t thread;
    void *returned;
    assert_int_equal(pthread_create(&thread, NULL, map_sleeps, &mapping), 0);
    wait_until_done(mapping.pool, 20);
    cluster_kill_broker(&cluster);
    cluster_restart_broker(&cluster);
    assert_int_equal(pthread_join(thread, &returned), 0);
    if (returned == NULL) {
        fail_msg("%s", mapping.error.message);
    }
    assert_memory_equal(mapping.in, mapping.out, sizeof mapping.in);
    netpool_close(&mapping.pool);
    cluster_stop(&cluster);
}

static void b1_tasks_of_a_killed_worker_are_run_elsewhere(void **state)
{
    (void)state;
    struct cluster cluster;
    netpool_options options = {0};
    netpool_result result;
    cluster_start(&cluster, CLUSTER_TLS, 1, 1, POOL_MODULE);
    cluster_options(&cluster, &options);
    netpool *pool = open_pool(cluster.url, &options);
    netpool_future *future = start_sleeping(pool);
    cluster_add_worker(&cluster);
    cluster_kill_worker(&cluster, 0);
    assert_int_equal(netpool_wait(future, 20000, &result), NETPOOL_OK);
    assert_int_equal(result.attempt, 2);
    netpool_future_free(&future);
    netpool_close(&pool);
    cluster_stop(&cluster);
}

static void terminate_returns_while_the_broker_is_away(void **state)
{
    (void)state;
    struct cluster cluster;
    netpool_options options = {0};
    cluster_start(&cluster, CLUSTER_TLS, 1, 1, POOL_MODULE);
    cluster_options(&cluster, &options);
    netpool *pool = open_pool(cluster.url, &options);
    netpool_future *future = start_sleeping(pool);
    cluster_kill_broker(&cluster);
    int64_t before = np_clock_now();
    netpool_terminate(&pool);
    assert_true(np_clock_now() - before < LONG_MS / 3 * NP_NS_PER_MS);
    assert_int_equal(netpool_wait(future, 0, NULL), NETPOOL_CANCELLED);
    netpool_future_free(&future);
    cluster_kill_worker(&cluster, 0); /* what it runs is nobody's any more, and would be waited for */
    cluster_stop(&cluster);
}

int main(int argc, char **argv)
{
    static enum cluster_kind tls = CLUSTER_TLS;
    static enum cluster_kind ipc = CLUSTER_IPC;
    if (getenv("POOL_OPEN_FORGETS_INIT") != NULL) {
        return open_as_forgetful_program();
    }
    netpool_init(&argc, &argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_urls_are_quoted),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(a14_killed_worker_process_that_was_forked_ends_its_tasks_clearly),
        cmocka_unit_test(b32_module_that_does_not_load_is_named),
        cmocka_unit_test(a14_killed_worker_process_that_was_spawned_is_replaced),
        cmocka_unit_test(environment_names_the_pool),
        cmocka_unit_test(a12_spawn_executes_the_program_anew),
        cmocka_unit_test(a12_spawn_without_init_ends_and_says_so),
        cmocka_unit_test(a12_module_runs_functions_of_modules_only),
        cmocka_unit_test(a12_fork_with_threads_says_what_to_use_instead),
        cmocka_unit_test(unreachable_brokers_are_named_within_the_time),
        cmocka_unit_test(bad_credentials_are_named),
        cmocka_unit_test_prestate(b5_broker_gone_for_good_ends_everything_within_the_time, &tls),
        cmocka_unit_test_prestate(b5_broker_gone_for_good_ends_everything_within_the_time, &ipc),
        cmocka_unit_test_prestate(b4_map_goes_on_when_the_broker_is_killed_and_comes_back, &tls),
        cmocka_unit_test_prestate(b4_map_goes_on_when_the_broker_is_killed_and_comes_back, &ipc),
        cmocka_unit_test(b1_tasks_of_a_killed_worker_are_run_elsewhere),
        cmocka_unit_test(terminate_returns_while_the_broker_is_away),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("pool_open", tests, NULL, NULL);
}
