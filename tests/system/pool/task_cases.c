#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/system/pool/gates.h"
#include "tests/system/pool/pool_cases.h"

static void a4_submit_and_wait_return_the_result(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    netpool_result result;
    netpool_future *future = submit_number(pool, "square", 12, NULL);
    assert_int_equal(netpool_wait(future, -1, &result), NETPOOL_OK);
    assert_int_equal(number_of(&result), 144);
    assert_int_equal((uintptr_t)result.data % 16, 0);
    assert_null(result.failure);
    /* a21: who did it, and how long it took */
    assert_int_equal(result.attempt, 1);
    assert_true(result.worker[0] != '\0' && result.host[0] != '\0');
    assert_true(result.pid > 0);
    assert_true((result.pid == (uint32_t)getpid()) == !fixture->has_processes);
    assert_true(result.total_ns >= result.compute_ns);
    assert_int_equal(netpool_wait(future, 0, NULL), NETPOOL_OK); /* again, and without a result */
    netpool_close(&pool);
    assert_int_equal(netpool_wait(future, 0, &result), NETPOOL_OK); /* readable after the pool */
    assert_int_equal(number_of(&result), 144);
    netpool_future_free(&future);
    assert_null(future);
    netpool_future_free(&future);
}

static void a4_wait_times_out_and_can_be_repeated(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    struct gates gates;
    gates_close(&gates, pool, "pass_gate", fixture->slots, NULL);
    netpool_future *future = submit_number(pool, "square", 12, NULL); /* waits behind them */
    netpool_result result = {.status = NETPOOL_INVALID};
    int64_t before = np_clock_now();
    assert_int_equal(netpool_wait(future, 0, &result), NETPOOL_TIMEOUT);
    assert_int_equal(netpool_wait(future, 50, &result), NETPOOL_TIMEOUT);
    assert_true(np_clock_now() - before >= 50 * NP_NS_PER_MS);
    assert_int_equal(result.status, NETPOOL_INVALID); /* untouched */
    gates_open(&gates, NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 20000, &result), NETPOOL_OK);
    assert_int_equal(number_of(&result), 144);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a4_many_futures_at_once_all_come_back(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 50000 };
    netpool_future **futures = calloc(COUNT, sizeof *futures);
    netpool_result result;
    assert_non_null(futures);
    for (uint64_t i = 0; i < COUNT; i++) {
        futures[i] = submit_number(pool, "square", i, NULL);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(netpool_wait(futures[i], 60000, &result), NETPOOL_OK);
        assert_int_equal(number_of(&result), i * i);
        netpool_future_free(&futures[i]);
    }
    free(futures);
    netpool_close(&pool);
}

static void b32_unknown_function_is_named_at_once(void **state)
{
    netpool *pool = pool_of(state);
    netpool_future *future = submit_number(pool, "no_such_thing", 1, NULL);
    netpool_result result;
    assert_int_equal(netpool_wait(future, 10000, &result), NETPOOL_NO_SUCH_FUNCTION);
    assert_string_equal(result.failure->function, "no_such_thing");
    assert_non_null(strstr(result.failure->message, "no_such_thing"));
    assert_int_equal(result.size, 0);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a13_failure_carries_the_functions_words(void **state)
{
    netpool *pool = pool_of(state);
    netpool_future *future;
    netpool_result result;
    assert_int_equal(netpool_submit(pool, "fail", bytes_of("out of cheese", 13), NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 10000, &result), NETPOOL_FAILED);
    assert_int_equal(result.failure->status, NETPOOL_FAILED);
    assert_string_equal(result.failure->message, "out of cheese");
    assert_int_equal(result.failure->attempt, 1);
    assert_int_equal(result.failure->attempt_count, 0);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void b24_payload_over_the_limit_is_refused_before_it_is_sent(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool_options options = fixture->options;
    netpool_error error;
    netpool *pool;
    static char input[70001];
    options.max_payload = 70000;
    assert_int_equal(netpool_open(&pool, fixture->url, &options, &error), NETPOOL_OK);
    netpool_future *future = (netpool_future *)&options;
    assert_int_equal(netpool_submit(pool, "echo", bytes_of(input, 70001), NULL, &future), NETPOOL_TOO_LARGE);
    assert_null(future);
    assert_int_equal(netpool_submit(pool, "echo", bytes_of(input, 70000), NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 10000, NULL), NETPOOL_OK);
    netpool_future_free(&future);
    netpool_bytes items[2] = {{input, 1}, {input, 70001}};
    netpool_bytes results[2];
    assert_int_equal(netpool_map_bytes(pool, "echo", items, 2, results, NULL, &error), NETPOOL_TOO_LARGE);
    assert_non_null(strstr(error.message, "item 1"));
    netpool_close(&pool);
}

static netpool_status fill_bytes(netpool *pool, uint64_t size, bool *is_whole)
{
    netpool_future *future = submit_number(pool, "fill", size, NULL);
    netpool_result result;
    netpool_status status = netpool_wait(future, 60000, &result);
    *is_whole = result.size == size;
    for (size_t i = 0; i < result.size && *is_whole; i++) {
        *is_whole = ((const uint8_t *)result.data)[i] == 0x5a;
    }
    netpool_future_free(&future);
    return status;
}

static void b24_result_at_the_limit_arrives_and_one_byte_more_is_too_large(void **state)
{
    netpool *pool = pool_of(state);
    const uint64_t limit = UINT64_C(64) << 20; /* the default */
    bool is_whole;
    assert_int_equal(fill_bytes(pool, limit, &is_whole), NETPOOL_OK);
    assert_true(is_whole);
    assert_int_equal(fill_bytes(pool, limit + 1, &is_whole), NETPOOL_TOO_LARGE);
    assert_int_equal(fill_bytes(pool, limit + (UINT64_C(100) << 20), &is_whole), NETPOOL_TOO_LARGE);
    assert_int_equal(fill_bytes(pool, 5, &is_whole), NETPOOL_OK);
    assert_true(is_whole);
    netpool_close(&pool);
    struct pool_fixture small = *(struct pool_fixture *)*state;
    small.options.max_payload = 70000; /* of this program only: the workers of a cluster have the default */
    void *small_state = &small;
    pool = pool_of(&small_state);
    assert_int_equal(fill_bytes(pool, 70000, &is_whole), NETPOOL_OK);
    assert_true(is_whole);
    assert_int_equal(fill_bytes(pool, 70001, &is_whole), NETPOOL_TOO_LARGE);
    netpool_close(&pool);
}

static void a4_large_payloads_go_there_and_back(void **state)
{
    netpool *pool = pool_of(state);
    static const size_t sizes[] = {65535, 65536, 65537, 1 << 20, 10 << 20};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        unsigned char *data = malloc(sizes[s]);
        netpool_future *future;
        netpool_result result;
        assert_non_null(data);
        for (size_t i = 0; i < sizes[s]; i++) {
            data[i] = (unsigned char)(i * 31 >> 3);
        }
        assert_int_equal(netpool_submit(pool, "echo", bytes_of(data, sizes[s]), NULL, &future), NETPOOL_OK);
        assert_int_equal(netpool_wait(future, 30000, &result), NETPOOL_OK);
        assert_int_equal(result.size, sizes[s]);
        assert_memory_equal(result.data, data, sizes[s]);
        assert_int_equal((uintptr_t)result.data % 16, 0);
        netpool_future_free(&future);
        free(data);
    }
    netpool_close(&pool);
}

static void a4_empty_input_and_result_are_fine(void **state)
{
    netpool *pool = pool_of(state);
    netpool_future *future;
    netpool_result result;
    assert_int_equal(netpool_submit(pool, "nothing", bytes_of(NULL, 0), NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 10000, &result), NETPOOL_OK);
    assert_int_equal(result.size, 0);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a20_bad_arguments_of_a_task_are_named(void **state)
{
    netpool *pool = pool_of(state);
    static const struct {
        const char *function;
        netpool_bytes input;
        netpool_task_options options;
        const char *words;
    } bad[] = {
        {"", {0}, {0}, "netpool_submit: function name is empty"},
        {"square", {.size = 8}, {0}, "netpool_submit: input.data is NULL but input.size is 8"},
        {"square", {0}, {.max_attempts = 65}, "netpool_submit: options.max_attempts 65 is above 64"},
        {"square", {0}, {.reserved = {1}}, "netpool_submit: options.reserved must be zero"},
        {"square", {0}, {.lane = ""}, "netpool_submit: options.lane '' has not 1 to 128 bytes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        netpool_future *future = NULL;
        assert_int_equal(netpool_submit(pool, bad[i].function, bad[i].input, &bad[i].options, &future),
                         NETPOOL_INVALID);
        assert_null(future);
        assert_string_equal(netpool_last_error(), bad[i].words);
    }
    netpool_future *future = NULL;
    const netpool_task_options labels = {.labels = "gpu=1,,fast"};
    assert_int_equal(netpool_submit(pool, "square", bytes_of("", 0), &labels, &future), NETPOOL_INVALID);
    assert_non_null(strstr(netpool_last_error(), "netpool_submit: options.labels"));
    netpool_stream *stream = NULL;
    assert_int_equal(netpool_stream_open(pool, "two words", NULL, &stream), NETPOOL_INVALID);
    assert_non_null(strstr(netpool_last_error(), "netpool_stream_open: function name 'two words'"));
    netpool_close(&pool);
}

static void a20_bad_tasks_are_refused(void **state)
{
    netpool *pool = pool_of(state);
    netpool_future *future;
    netpool_task_options reserved = {.reserved = {1}};
    netpool_task_options attempts = {.max_attempts = 1000};
    assert_int_equal(netpool_submit(NULL, "echo", bytes_of("a", 1), NULL, &future), NETPOOL_INVALID);
    assert_int_equal(netpool_submit(pool, NULL, bytes_of("a", 1), NULL, &future), NETPOOL_INVALID);
    assert_int_equal(netpool_submit(pool, "", bytes_of("a", 1), NULL, &future), NETPOOL_INVALID);
    assert_int_equal(netpool_submit(pool, "echo", bytes_of(NULL, 1), NULL, &future), NETPOOL_INVALID);
    assert_int_equal(netpool_submit(pool, "echo", bytes_of("a", 1), NULL, NULL), NETPOOL_INVALID);
    assert_int_equal(netpool_submit(pool, "echo", bytes_of("a", 1), &reserved, &future), NETPOOL_INVALID);
    assert_int_equal(netpool_submit(pool, "echo", bytes_of("a", 1), &attempts, &future), NETPOOL_INVALID);
    assert_int_equal(netpool_wait(NULL, 0, NULL), NETPOOL_INVALID);
    assert_int_equal(netpool_cancel(NULL), NETPOOL_INVALID);
    netpool_close(&pool);
}

struct caller {
    netpool *pool;
    uint64_t from;
    int failures;
};

static void *call_concurrently(void *context)
{
    struct caller *caller = context;
    for (uint64_t i = caller->from; i < caller->from + 300; i++) {
        uint64_t in[3] = {i, i + 1, i + 2};
        uint64_t out[3] = {0};
        netpool_future *future = NULL;
        netpool_result result;
        if (netpool_submit(caller->pool, "square", bytes_of(&i, sizeof i), NULL, &future) != NETPOOL_OK ||
            netpool_wait(future, 30000, &result) != NETPOOL_OK || number_of(&result) != i * i) {
            caller->failures++;
        }
        netpool_future_free(&future);
        if (i % 10 == 0 && (netpool_map(caller->pool, "square", in, 3, 8, out, 8, NULL, NULL) != NETPOOL_OK ||
                            out[2] != in[2] * in[2])) {
            caller->failures++;
        }
    }
    return NULL;
}

static void a4_threads_may_call_at_the_same_time(void **state)
{
    netpool *pool = pool_of(state);
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct caller callers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.pool = pool, .from = i * 1000};
        assert_int_equal(pthread_create(&threads[i], NULL, call_concurrently, &callers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(callers[i].failures, 0);
    }
    netpool_close(&pool);
}

static void *wait_for_it(void *future)
{
    return netpool_wait(future, 30000, NULL) == NETPOOL_OK ? future : NULL;
}

static void a4_two_threads_may_wait_for_one_future(void **state)
{
    netpool *pool = pool_of(state);
    for (int round = 0; round < 20; round++) {
        netpool_future *future = submit_number(pool, "sleep_ms", 3, NULL);
        pthread_t thread;
        void *returned;
        assert_int_equal(pthread_create(&thread, NULL, wait_for_it, future), 0);
        assert_int_equal(netpool_wait(future, 30000, NULL), NETPOOL_OK);
        assert_int_equal(pthread_join(thread, &returned), 0);
        assert_ptr_equal(returned, future);
        netpool_future_free(&future);
    }
    netpool_close(&pool);
}

static void info_tells_what_the_pool_has_done(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = pool_of(state);
    netpool_info *info;
    netpool_error error;
    netpool_future *future = submit_number(pool, "square", 5, NULL);
    assert_int_equal(netpool_wait(future, 10000, NULL), NETPOOL_OK);
    netpool_future_free(&future);
    assert_int_equal(netpool_get_info(pool, &info, 10000, &error), NETPOOL_OK);
    unsigned slots = 0;
    for (size_t i = 0; i < info->worker_count; i++) {
        slots += info->workers[i].slots;
        assert_string_equal(info->workers[i].state, "ready");
    }
    assert_int_equal(slots, fixture->slots);
    assert_true(info->done >= 1);
    assert_int_equal(info->client_count, 1);
    assert_int_equal(info->client_rows, 0);
    netpool_info_free(&info);
    assert_null(info);
    netpool_info_free(&info);
    assert_int_equal(netpool_get_info(pool, NULL, 0, NULL), NETPOOL_INVALID);
    netpool_close(&pool);
}

const struct CMUnitTest task_cases[] = {
    cmocka_unit_test(a4_submit_and_wait_return_the_result),
    cmocka_unit_test(a4_wait_times_out_and_can_be_repeated),
    cmocka_unit_test(a4_many_futures_at_once_all_come_back),
    cmocka_unit_test(b32_unknown_function_is_named_at_once),
    cmocka_unit_test(a13_failure_carries_the_functions_words),
    cmocka_unit_test(b24_payload_over_the_limit_is_refused_before_it_is_sent),
    cmocka_unit_test(b24_result_at_the_limit_arrives_and_one_byte_more_is_too_large),
    cmocka_unit_test(a4_large_payloads_go_there_and_back),
    cmocka_unit_test(a4_empty_input_and_result_are_fine),
    cmocka_unit_test(a20_bad_tasks_are_refused),
    cmocka_unit_test(a20_bad_arguments_of_a_task_are_named),
    cmocka_unit_test(a4_threads_may_call_at_the_same_time),
    cmocka_unit_test(a4_two_threads_may_wait_for_one_future),
    cmocka_unit_test(info_tells_what_the_pool_has_done),
};
const size_t task_case_count = sizeof task_cases / sizeof task_cases[0];
