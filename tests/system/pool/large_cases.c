/* Payloads of more than 64 KiB arrive whole, wherever they lie on their way, and functions cannot spoil what is not
 * theirs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/large_payloads.h"
#include "tests/system/pool/pool_cases.h"

static void payloads_of_many_sizes_are_whole_while_others_are_held(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 120, MOST = 3 * MIB };
    uint8_t *bytes = malloc(MOST + COUNT);
    netpool_future *futures[COUNT];
    size_t sizes[COUNT];
    fill(bytes, MOST + COUNT, 1);
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = 60 * KIB + (i * 7919 * 131) % (MOST - 60 * KIB);
        futures[i] = submit(pool, "echo", bytes + i, sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i += 2) { /* every other one is kept until the end */
        assert_result(futures[i], bytes + i, sizes[i]);
        netpool_future_free(&futures[i]);
        futures[i] = submit(pool, "echo", bytes + i, sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_result(futures[i], bytes + i, sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_result(futures[i], bytes + i, sizes[i]);
        netpool_future_free(&futures[i]);
    }
    free(bytes);
    netpool_close(&pool);
}

static void results_made_in_place_and_changed_minds_arrive(void **state)
{
    netpool *pool = pool_of(state);
    enum { SIZE = 300 * KIB };
    static uint8_t bytes[SIZE];
    static uint8_t more[SIZE];
    fill(bytes, SIZE, 5);
    for (size_t i = 0; i < SIZE; i++) {
        more[i] = (uint8_t)(bytes[i] + 1);
    }
    for (int round = 0; round < 5; round++) {
        netpool_future *futures[] = {
            submit(pool, "plus_one", bytes, SIZE),        submit(pool, "again_and_again", bytes, SIZE),
            submit(pool, "small_after_all", bytes, SIZE), submit(pool, "fail_after_all", bytes, SIZE),
            submit(pool, "plus_one", bytes, SIZE),
        };
        assert_result(futures[0], more, SIZE);
        assert_result(futures[1], bytes, SIZE);
        assert_result(futures[2], bytes, 5);
        assert_int_equal(netpool_wait(futures[3], -1, NULL), NETPOOL_FAILED);
        assert_result(futures[4], more, SIZE);
        for (size_t i = 0; i < sizeof futures / sizeof futures[0]; i++) {
            netpool_future_free(&futures[i]);
        }
    }
    netpool_close(&pool);
}

static void what_a_function_must_not_write_to_ends_it_and_nothing_else(void **state)
{
    if (!((const struct pool_fixture *)*state)->has_processes) {
        skip();
    }
    netpool *pool = pool_of(state);
    enum { SIZE = 200 * KIB };
    static uint8_t bytes[SIZE];
    netpool_task_options once = {.max_attempts = 1};
    fill(bytes, SIZE, 1);
    netpool_future *kept[3];
    for (int i = 0; i < 3; i++) {
        kept[i] = submit(pool, "echo", bytes, SIZE);
        assert_result(kept[i], bytes, SIZE);
    }
    for (int where = 0; where < 2; where++) {
        netpool_future *future = submit(pool, "echo", bytes, SIZE); /* a new executor is granted room after it */
        assert_result(future, bytes, SIZE);
        netpool_future_free(&future);
        bytes[0] = (uint8_t)where;
        assert_int_equal(netpool_submit(pool, "scribble", (netpool_bytes){bytes, SIZE}, &once, &future), NETPOOL_OK);
        assert_int_equal(netpool_wait(future, -1, NULL), NETPOOL_CRASHED);
        netpool_future_free(&future);
    }
    fill(bytes, SIZE, 1);
    for (int i = 0; i < 3; i++) {
        assert_result(kept[i], bytes, SIZE);
        netpool_future_free(&kept[i]);
    }
    netpool_close(&pool);
}

static void a_result_that_was_given_out_cannot_be_written_to_any_more(void **state)
{
    if (!((const struct pool_fixture *)*state)->has_processes) {
        skip();
    }
    netpool *pool = pool_of(state);
    enum { SIZE = 200 * KIB };
    static uint8_t bytes[SIZE];
    netpool_future *futures[6];
    netpool_task_options once = {.max_attempts = 1};
    fill(bytes, SIZE, 1);
    for (int i = 0; i < 6; i++) { /* the first of each executor is right, and those in the heap stay so */
        assert_int_equal(netpool_submit(pool, "echo", (netpool_bytes){bytes, SIZE}, &once, &futures[i]), NETPOOL_OK);
        assert_result(futures[i], bytes, SIZE);
        netpool_future_free(&futures[i]);
        netpool_result result;
        assert_int_equal(netpool_submit(pool, "write_late", (netpool_bytes){bytes, SIZE}, &once, &futures[i]),
                         NETPOOL_OK);
        if (netpool_wait(futures[i], -1, &result) == NETPOOL_OK) {
            assert_memory_equal(result.data, bytes, SIZE);
        }
    }
    for (int i = 0; i < 6; i++) {
        netpool_result result;
        if (netpool_wait(futures[i], -1, &result) == NETPOOL_OK) {
            assert_memory_equal(result.data, bytes, SIZE);
        }
        netpool_future_free(&futures[i]);
    }
    netpool_close(&pool);
}

static void a_buffer_that_was_replaced_cannot_be_written_to_any_more(void **state)
{
    if (!((const struct pool_fixture *)*state)->has_processes) {
        skip();
    }
    netpool *pool = pool_of(state);
    enum { SIZE = 300 * KIB, COUNT = 20 };
    static uint8_t bytes[SIZE];
    netpool_future *kept[COUNT];
    netpool_future *writers[COUNT];
    netpool_task_options once = {.max_attempts = 1};
    fill(bytes, SIZE, 1);
    for (int i = 0; i < COUNT; i++) {
        kept[i] = submit(pool, "echo", bytes, SIZE); /* may lie where the last writer's buffer was */
        assert_result(kept[i], bytes, SIZE);
        assert_int_equal(netpool_submit(pool, "write_replaced", (netpool_bytes){bytes, SIZE}, &once, &writers[i]),
                         NETPOOL_OK);
        (void)netpool_wait(writers[i], -1, NULL); /* right, or it has crashed */
    }
    for (int i = 0; i < COUNT; i++) {
        assert_result(kept[i], bytes, SIZE);
        netpool_future_free(&kept[i]);
        netpool_future_free(&writers[i]);
    }
    netpool_close(&pool);
}

/* A function that still runs when its worker ends is killed before anything is taken from it. */
static void an_input_is_whole_until_its_function_is_killed(void **state)
{
    struct pool_fixture *fixture = *state;
    if (!fixture->has_cluster) {
        skip();
    }
    enum { SLOTS = 4, SIZE = 32 * MIB };
    netpool *pool = pool_of(state);
    const unsigned worker = cluster_add_worker_with(&fixture->cluster, SLOTS, "ends=soon");
    const netpool_task_options options = {.labels = "ends=soon", .max_attempts = 1};
    char path[80];
    (void)snprintf(path, sizeof path, "%s/watched", fixture->cluster.directory);
    uint8_t *bytes = malloc(SIZE);
    fill(bytes, SIZE, 1);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] |= 1;
    }
    memcpy(bytes, path, strlen(path) + 1);
    netpool_future *futures[SLOTS];
    for (int i = 0; i < SLOTS; i++) {
        assert_int_equal(netpool_submit(pool, "watch_input", (netpool_bytes){bytes, SIZE}, &options, &futures[i]),
                         NETPOOL_OK);
    }
    struct stat file = {0};
    while (stat(path, &file) != 0 || file.st_size < SLOTS) { /* the test runner's time limit is the end of it */
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    cluster_interrupt_worker(&fixture->cluster, worker);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_size, SLOTS);
    for (int i = 0; i < SLOTS; i++) {
        assert_int_not_equal(netpool_wait(futures[i], -1, NULL), NETPOOL_OK);
        netpool_future_free(&futures[i]);
    }
    assert_int_equal(unlink(path), 0);
    free(bytes);
    netpool_close(&pool);
}

static void maps_of_large_blocks_are_right(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 40000, ITEM = 100 };
    uint8_t *in = malloc((size_t)COUNT * ITEM);
    uint8_t *out = malloc((size_t)COUNT * ITEM);
    fill(in, (size_t)COUNT * ITEM, 1);
    for (size_t chunk = 500; chunk <= 20000; chunk *= 2) {
        netpool_map_options options = {.chunk = chunk};
        memset(out, 0, (size_t)COUNT * ITEM);
        assert_int_equal(netpool_map(pool, "echo", in, COUNT, ITEM, out, ITEM, &options, NULL), NETPOOL_OK);
        assert_int_equal(memcmp(in, out, (size_t)COUNT * ITEM), 0);
    }
    free(in);
    free(out);
    netpool_close(&pool);
}

/* The memory of a worker's large payloads goes back to the system when nothing has come for a while. */
static void an_idle_workers_memory_is_the_systems_again(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_cluster) {
        skip(); /* of local pools: test_pool_heap */
    }
    netpool *pool = pool_of(state);
    enum { COUNT = 8, SIZE = 8 * MIB };
    uint8_t *bytes = malloc(SIZE);
    netpool_future *futures[COUNT];
    fill(bytes, SIZE, 6);
    for (int i = 0; i < COUNT; i++) {
        futures[i] = submit(pool, "echo", bytes, SIZE);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_result(futures[i], bytes, SIZE);
        netpool_future_free(&futures[i]);
    }
    long long most = 0;
    for (unsigned i = 0; i < fixture->cluster.worker_count; i++) {
        long long taken = heap_bytes(fixture->cluster.workers[i]);
        most = taken > most ? taken : most;
    }
    assert_in_range(most, SIZE, COUNT * 3LL * SIZE);
    for (unsigned i = 0; i < fixture->cluster.worker_count; i++) {
        while (heap_bytes(fixture->cluster.workers[i]) > 0) { /* the test runner's time limit is the end of it */
            nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
        }
    }
    free(bytes);
    netpool_close(&pool);
}

const struct CMUnitTest large_cases[] = {
    cmocka_unit_test(payloads_of_many_sizes_are_whole_while_others_are_held),
    cmocka_unit_test(results_made_in_place_and_changed_minds_arrive),
    cmocka_unit_test(what_a_function_must_not_write_to_ends_it_and_nothing_else),
    cmocka_unit_test(a_result_that_was_given_out_cannot_be_written_to_any_more),
    cmocka_unit_test(a_buffer_that_was_replaced_cannot_be_written_to_any_more),
    cmocka_unit_test(an_input_is_whole_until_its_function_is_killed),
    cmocka_unit_test(maps_of_large_blocks_are_right),
    cmocka_unit_test(an_idle_workers_memory_is_the_systems_again),
};
const size_t large_case_count = sizeof large_cases / sizeof large_cases[0];
