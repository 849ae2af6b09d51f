/* A program without memory: every allocation of the library fails in turn, and each time whatever the program asked
 * for ends, well or with an error that says so. What hangs makes the test run into its time limit. The linker leads
 * the library's allocations through here. */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/netpool.h"
#include "tests/support/cmocka_all.h"

/* NOLINTBEGIN(*-reserved-identifier): the linker's names */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static atomic_ulong allocations;
static unsigned long failing; /* number of the allocation that fails; 0: none */

static bool is_failing(void)
{
    return failing > 0 && atomic_fetch_add(&allocations, 1) + 1 == failing;
}

void *__wrap_malloc(size_t size)
{
    return is_failing() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_failing() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return is_failing() ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return is_failing() ? NULL : __real_aligned_alloc(alignment, size);
}

/* NOLINTEND(*-reserved-identifier) */

enum { NUMBERS = 3000, SINGLES = 40 };

static uint64_t numbers[NUMBERS];
static uint64_t results[NUMBERS];
static const char large[100000]; /* travels as a block of its own */

static void count(netpool_future *future, const netpool_result *result, void *context)
{
    (void)future;
    (void)result;
    atomic_fetch_add((atomic_ulong *)context, 1);
}

static bool use_futures(netpool *pool)
{
    netpool_future *futures[SINGLES];
    netpool_completion *completion = NULL;
    atomic_ulong calls = 0;
    size_t submitted = 0;
    size_t index;
    for (int i = 0; i < SINGLES; i++) {
        netpool_task_options options = {.on_done = count, .context = &calls, .lane = i % 2 == 0 ? "even" : NULL};
        const netpool_bytes input = i == 1 ? (netpool_bytes){large, sizeof large} : (netpool_bytes){numbers, 8};
        const char *function = i == 1 ? "echo" : i % 5 == 0 ? "fail" : "square";
        submitted += netpool_submit(pool, function, input, &options, &futures[submitted]) == NETPOOL_OK ? 1 : 0;
    }
    bool is_complete = true;
    if (netpool_as_completed(futures, submitted, &completion) == NETPOOL_OK) {
        for (size_t i = 0; i < submitted; i++) {
            is_complete = netpool_completion_next(completion, -1, &index) == NETPOOL_OK && is_complete;
        }
    }
    netpool_completion_close(&completion);
    netpool_status status = netpool_wait_many(futures, submitted, NETPOOL_ALL_COMPLETED, -1, NULL);
    for (size_t i = 0; i < submitted; i++) {
        (void)netpool_wait(futures[i], -1, NULL);
        netpool_future_free(&futures[i]);
    }
    netpool_close(&pool);
    return is_complete && calls == submitted && (status == NETPOOL_OK || status == NETPOOL_NO_MEMORY);
}

static bool use_maps(netpool *pool)
{
    netpool_bytes items[SINGLES];
    netpool_bytes outputs[SINGLES];
    for (size_t i = 0; i < SINGLES; i++) {
        items[i] = (netpool_bytes){numbers, sizeof numbers[0]};
    }
    items[1] = (netpool_bytes){large, sizeof large};
    (void)!netpool_map(pool, "square", numbers, NUMBERS, sizeof numbers[0], results, sizeof results[0], NULL, NULL);
    (void)!netpool_map_bytes(pool, "echo", items, SINGLES, outputs, NULL, NULL);
    netpool_free_results(outputs, SINGLES);
    netpool_close(&pool);
    return true;
}

static bool use_reductions(netpool *pool)
{
    const netpool_reduce_options options = {.chunk = 100, .fan_in = 3, .leaf = "echo"};
    netpool_bytes items[SINGLES];
    netpool_bytes output;
    for (size_t i = 0; i < SINGLES; i++) {
        items[i] = (netpool_bytes){numbers, sizeof numbers[0]};
    }
    items[1] = (netpool_bytes){large, sizeof large};
    (void)!netpool_reduce(pool, "square", numbers, NUMBERS, sizeof numbers[0], results, sizeof results[0], &options,
                          NULL);
    if (netpool_reduce_bytes(pool, "echo", items, SINGLES, &output, &options, NULL) == NETPOOL_OK) {
        netpool_free_results(&output, 1);
    }
    netpool_close(&pool);
    return true;
}

static bool use_streams(netpool *pool)
{
    netpool_stream *stream = NULL;
    uint64_t put = 0;
    uint64_t taken = 0;
    if (netpool_stream_open(pool, "echo", NULL, &stream) == NETPOOL_OK) {
        for (int i = 0; i < SINGLES; i++) {
            const netpool_bytes input = i == 1 ? (netpool_bytes){large, sizeof large} : (netpool_bytes){numbers, 8};
            put += netpool_stream_put(stream, input, -1) == NETPOOL_OK ? 1 : 0;
        }
        netpool_stream_end(stream);
        while (netpool_stream_next(stream, -1, NULL, NULL) == NETPOOL_OK) {
            taken++;
        }
        netpool_stream_close(&stream);
    }
    netpool_close(&pool);
    return put == taken;
}

/* In a process of its own: whether it ended as it should, and whether the allocation was reached. */
static void try_in_child(bool (*use)(netpool *), const netpool_options *options, unsigned long number, bool *is_over)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        netpool *pool;
        failing = number;
        netpool_status opened = netpool_open(&pool, "threads:2", options, NULL);
        bool is_good = opened == NETPOOL_OK ? use(pool) : opened == NETPOOL_NO_MEMORY || opened == NETPOOL_SYSTEM;
        _exit(!is_good ? 1 : allocations < number ? 2 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 1) {
        fail_msg("wrong when allocation %lu failed", number);
    }
    assert_in_range(WEXITSTATUS(status), 0, 2);
    *is_over = WEXITSTATUS(status) == 2;
}

static void fail_each_in_turn(bool (*use)(netpool *), const netpool_options *options)
{
    bool is_over = false;
    for (unsigned long number = 1; !is_over && number < 2000; number++) {
        try_in_child(use, options, number, &is_over);
    }
}

static void futures_end_without_memory(void **state)
{
    (void)state;
    fail_each_in_turn(use_futures, NULL);
}

static void futures_end_without_memory_where_threads_are_prepared(void **state)
{
    (void)state;
    const netpool_options options = {.initializer = "echo", .max_tasks_per_executor = 3};
    fail_each_in_turn(use_futures, &options);
}

static void maps_end_without_memory(void **state)
{
    (void)state;
    fail_each_in_turn(use_maps, NULL);
}

static void reductions_end_without_memory(void **state)
{
    (void)state;
    fail_each_in_turn(use_reductions, NULL);
}

static void streams_end_without_memory(void **state)
{
    (void)state;
    fail_each_in_turn(use_streams, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(futures_end_without_memory),
        cmocka_unit_test(futures_end_without_memory_where_threads_are_prepared),
        cmocka_unit_test(maps_end_without_memory),
        cmocka_unit_test(reductions_end_without_memory),
        cmocka_unit_test(streams_end_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
