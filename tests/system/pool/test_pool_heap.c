/* Large payloads of a `local` pool lie in memory that program and workers share: they arrive whole, whatever becomes
 * of the executors, and the memory is used again. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "client/netpool.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/large_payloads.h"

static netpool *open_pool(const char *url, netpool_start_method method)
{
    netpool *pool;
    netpool_error error;
    netpool_options options = {.start_method = method};
    netpool_status status = netpool_open(&pool, url, &options, &error);
    if (status != NETPOOL_OK) {
        fail_msg("%s", error.message);
    }
    return pool;
}

static bool is_in_heap(const void *address)
{
    char line[512];
    bool is_there = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin;
        unsigned long end;
        is_there |= strstr(line, "netpool-payloads") != NULL && sscanf(line, "%lx-%lx", &begin, &end) == 2 &&
                    (uintptr_t)address >= begin && (uintptr_t)address < end;
    }
    (void)fclose(maps);
    return is_there;
}

/* The first of a size goes through the socket, and tells how much room the next ones need. */
static void growing_and_shrinking_results_come_in_place(void **state)
{
    (void)state;
    netpool *pool = open_pool("local:1", NETPOOL_START_FORK);
    static const size_t sizes[] = {70 * KIB, 300 * KIB, MIB, 20 * MIB, 40 * MIB, 2 * MIB, 100 * KIB};
    uint8_t *bytes = malloc(40 * MIB);
    fill(bytes, (size_t)40 * MIB, 4);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (int i = 0; i < 3; i++) {
            netpool_result result;
            netpool_future *future = submit(pool, "echo", bytes, sizes[s]);
            assert_result(future, bytes, sizes[s]);
            assert_int_equal(netpool_wait(future, 0, &result), NETPOOL_OK);
            assert_true(i == 0 || is_in_heap(result.data));
            netpool_future_free(&future);
        }
    }
    free(bytes);
    netpool_close(&pool);
}

static void a_result_outlives_its_pool(void **state)
{
    (void)state;
    netpool *pool = open_pool("local:1", NETPOOL_START_FORK);
    static uint8_t bytes[MIB];
    netpool_bytes input = {bytes, sizeof bytes};
    netpool_bytes results[3];
    fill(bytes, sizeof bytes, 9);
    for (int i = 0; i < 3; i++) { /* the later ones come in place */
        assert_int_equal(netpool_map_bytes(pool, "echo", &input, 1, &results[i], NULL, NULL), NETPOOL_OK);
    }
    netpool_close(&pool);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(results[i].size, sizeof bytes);
        assert_memory_equal(results[i].data, bytes, sizeof bytes);
    }
    netpool_free_results(results, 3);
    assert_int_equal(heap_bytes(getpid()), -1);
}

static void memory_is_used_again_and_none_is_lost_to_crashes(void **state)
{
    (void)state;
    netpool *pool = open_pool("local:2", NETPOOL_START_FORK);
    enum { SIZE = 4 * MIB, ROUNDS = 60 };
    uint8_t *bytes = malloc(SIZE);
    netpool_task_options once = {.max_attempts = 1};
    fill(bytes, SIZE, 3);
    for (int round = 0; round < ROUNDS; round++) {
        netpool_future *futures[4];
        for (int i = 0; i < 4; i++) {
            const char *function = i % 2 == 0 ? "echo" : "crash_after_all";
            assert_int_equal(netpool_submit(pool, function, (netpool_bytes){bytes, SIZE}, &once, &futures[i]),
                             NETPOOL_OK);
        }
        for (int i = 0; i < 4; i++) {
            netpool_status status = netpool_wait(futures[i], -1, NULL);
            assert_int_equal(status, i % 2 == 0 ? NETPOOL_OK : NETPOOL_CRASHED);
            if (i % 2 == 0) {
                assert_result(futures[i], bytes, SIZE);
            }
            netpool_future_free(&futures[i]);
        }
    }
    free(bytes);
    assert_in_range(heap_bytes(getpid()), 0, (unsigned)ROUNDS * SIZE / 2); /* 960 MiB went through it */
    netpool_close(&pool);
    assert_int_equal(heap_bytes(getpid()), -1);
}

static void wait_for_heap_below(long long bytes)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < 1500 && heap_bytes(getpid()) >= bytes; i++) { /* half a minute; it takes three seconds */
        (void)nanosleep(&pause, NULL);
    }
    assert_true(heap_bytes(getpid()) < bytes);
}

static void an_idle_pool_gives_its_memory_back_but_for_what_is_held(void **state)
{
    (void)state;
    netpool *pool = open_pool("local:2", NETPOOL_START_FORK);
    enum { SIZE = 48 * MIB, HELD = 3 * MIB };
    uint8_t *bytes = malloc(SIZE);
    fill(bytes, SIZE, 9);
    netpool_future *futures[4];
    for (int i = 0; i < 4; i++) {
        futures[i] = submit(pool, "echo", bytes, SIZE);
    }
    netpool_future *held = submit(pool, "plus_one", bytes, HELD);
    for (int i = 0; i < 4; i++) {
        assert_result(futures[i], bytes, SIZE);
        netpool_future_free(&futures[i]);
    }
    assert_int_equal(netpool_wait(held, -1, NULL), NETPOOL_OK);
    assert_true(heap_bytes(getpid()) >= SIZE);
    wait_for_heap_below(HELD + 2 * MIB);
    netpool_result result;
    assert_int_equal(netpool_wait(held, 0, &result), NETPOOL_OK);
    for (size_t i = 0; i < HELD; i++) {
        assert_int_equal(((const uint8_t *)result.data)[i], (uint8_t)(bytes[i] + 1));
    }
    netpool_future_free(&held);
    wait_for_heap_below(MIB);
    netpool_future *again = submit(pool, "echo", bytes, SIZE);
    assert_result(again, bytes, SIZE);
    netpool_future_free(&again);
    free(bytes);
    netpool_close(&pool);
}

static void small_and_large_results_in_turn_take_no_more_than_they_need(void **state)
{
    (void)state;
    netpool *pool = open_pool("local:1", NETPOOL_START_FORK);
    uint8_t *bytes = malloc((size_t)40 * MIB);
    netpool_future *small[20];
    fill(bytes, (size_t)40 * MIB, 1);
    for (int i = 0; i < 20; i++) {
        netpool_future *large = submit(pool, "echo", bytes, (size_t)40 * MIB);
        assert_result(large, bytes, (size_t)40 * MIB);
        netpool_future_free(&large);
        small[i] = submit(pool, "echo", bytes, 70 * KIB);
        assert_result(small[i], bytes, 70 * KIB);
    }
    assert_in_range(heap_bytes(getpid()), 0, 300 * MIB);
    for (int i = 0; i < 20; i++) {
        assert_result(small[i], bytes, 70 * KIB);
        netpool_future_free(&small[i]);
    }
    free(bytes);
    netpool_close(&pool);
}

/* Executors keep their descriptors out of the way of functions, where there is room for that. */
static void large_payloads_arrive_with_few_descriptors(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit few = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    netpool *pool = open_pool("local:1", NETPOOL_START_FORK);
    static uint8_t bytes[MIB];
    fill(bytes, MIB, 3);
    for (int i = 0; i < 4; i++) {
        netpool_future *future = submit(pool, "echo", bytes, MIB);
        assert_result(future, bytes, MIB);
        netpool_future_free(&future);
    }
    netpool_close(&pool);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static pid_t child_of(pid_t parent)
{
    char path[64];
    int child = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)parent);
    FILE *children = fopen(path, "r");
    assert_non_null(children);
    assert_int_equal(fscanf(children, "%d", &child), 1);
    (void)fclose(children);
    return child;
}

/* The next worker process gets no heap: what the dead one held is nobody's to tell. */
static void payloads_arrive_without_a_heap_after_the_worker_process_was_killed(void **state)
{
    (void)state;
    netpool *pool = open_pool("local:1", NETPOOL_START_SPAWN);
    enum { SIZE = MIB };
    static uint8_t bytes[SIZE];
    fill(bytes, SIZE, 2);
    netpool_future *before[4];
    for (int i = 0; i < 4; i++) {
        before[i] = submit(pool, "echo", bytes, SIZE);
        assert_result(before[i], bytes, SIZE);
    }
    netpool_future *under_way = submit(pool, "echo", bytes, SIZE);
    assert_int_equal(kill(child_of(getpid()), SIGKILL), 0);
    assert_result(under_way, bytes, SIZE);
    for (int i = 0; i < 20; i++) {
        netpool_future *future = submit(pool, "echo", bytes, SIZE);
        assert_result(future, bytes, SIZE);
        netpool_future_free(&future);
    }
    for (int i = 0; i < 4; i++) {
        assert_result(before[i], bytes, SIZE);
        netpool_future_free(&before[i]);
    }
    netpool_future_free(&under_way);
    netpool_close(&pool);
}

int main(int argc, char **argv)
{
    netpool_init(&argc, &argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growing_and_shrinking_results_come_in_place),
        cmocka_unit_test(a_result_outlives_its_pool),
        cmocka_unit_test(memory_is_used_again_and_none_is_lost_to_crashes),
        cmocka_unit_test(an_idle_pool_gives_its_memory_back_but_for_what_is_held),
        cmocka_unit_test(small_and_large_results_in_turn_take_no_more_than_they_need),
        cmocka_unit_test(large_payloads_arrive_with_few_descriptors),
        cmocka_unit_test(payloads_arrive_without_a_heap_after_the_worker_process_was_killed),
    };
    return cmocka_run_group_tests_name("pool_heap", tests, NULL, NULL);
}
