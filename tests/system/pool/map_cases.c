#include <stdlib.h>

#include "tests/system/pool/pool_cases.h"

/* Squares `count` numbers and checks each. */
static void map_squares(netpool *pool, size_t count, const netpool_map_options *options)
{
    uint64_t *in = malloc((count + 1) * sizeof *in);
    uint64_t *out = calloc(count + 1, sizeof *out);
    netpool_error error;
    assert_true(in != NULL && out != NULL);
    for (size_t i = 0; i < count; i++) {
        in[i] = i * 7 + 1;
    }
    out[count] = 4711; /* what lies behind the array is untouched */
    netpool_status status = netpool_map(pool, "square", in, count, sizeof *in, out, sizeof *out, options, &error);
    if (status != NETPOOL_OK) {
        fail_msg("map of %zu: %s", count, error.message);
    }
    for (size_t i = 0; i < count; i++) {
        if (out[i] != in[i] * in[i]) {
            fail_msg("item %zu of %zu is wrong", i, count);
        }
    }
    assert_int_equal(out[count], 4711);
    free(in);
    free(out);
}

static void a2_map_of_an_array_keeps_the_order(void **state)
{
    netpool *pool = pool_of(state);
    static const size_t counts[] = {1, 2, 3, 17, 1000, 4096, 4097, 300000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        map_squares(pool, counts[i], NULL);
    }
    netpool_close(&pool);
    assert_null(pool);
}

static void a3_explicit_chunks_of_every_size_give_the_same(void **state)
{
    netpool *pool = pool_of(state);
    static const size_t chunks[] = {1, 2, 3, 100, 4999, 5000, 5001, 1000000};
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        netpool_map_options options = {.chunk = chunks[i]};
        map_squares(pool, 5000, &options);
    }
    netpool_close(&pool);
}

static void a2_function_is_told_its_item_of_the_map(void **state)
{
    enum { ITEMS = 5000 };
    netpool *pool = pool_of(state);
    static const size_t chunks[] = {0, 1, 7, 10000};
    static uint64_t in[ITEMS];
    static uint64_t out[ITEMS];
    static netpool_bytes inputs[ITEMS];
    static netpool_bytes results[ITEMS];
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        netpool_map_options options = {.chunk = chunks[i]};
        assert_int_equal(netpool_map(pool, "item", in, ITEMS, 8, out, 8, &options, NULL), NETPOOL_OK);
        for (uint64_t j = 0; j < ITEMS; j++) {
            assert_int_equal(out[j], j);
        }
    }
    assert_int_equal(netpool_map_bytes(pool, "item", inputs, ITEMS, results, NULL, NULL), NETPOOL_OK);
    for (uint64_t j = 0; j < ITEMS; j++) {
        assert_int_equal(results[j].size, 8);
        assert_memory_equal(results[j].data, &j, 8);
    }
    netpool_free_results(results, ITEMS);
    netpool_close(&pool);
}

static void a2_map_of_nothing_succeeds(void **state)
{
    netpool *pool = pool_of(state);
    netpool_error error = {.status = NETPOOL_FAILED, .message = "old"};
    assert_int_equal(netpool_map(pool, "square", NULL, 0, 8, NULL, 8, NULL, &error), NETPOOL_OK);
    assert_string_equal(error.message, "");
    assert_int_equal(netpool_map_bytes(pool, "echo", NULL, 0, NULL, NULL, NULL), NETPOOL_OK);
    netpool_close(&pool);
}

static void a2_items_may_differ_in_size_from_their_results(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 5000 };
    static uint32_t in[COUNT];
    static uint64_t out[COUNT];
    netpool_error error;
    for (uint32_t i = 0; i < COUNT; i++) {
        in[i] = i;
    }
    assert_int_equal(netpool_map(pool, "double_of", in, COUNT, sizeof in[0], out, sizeof out[0], NULL, &error),
                     NETPOOL_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(out[i], 2 * (uint64_t)i);
    }
    assert_int_equal(netpool_map(pool, "nothing", in, COUNT, sizeof in[0], NULL, 0, NULL, &error), NETPOOL_OK);
    netpool_close(&pool);
}

static void a2_map_of_bytes_keeps_order_and_sizes(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 20000 };
    netpool_bytes *in = calloc(COUNT, sizeof *in);
    netpool_bytes *out = calloc(COUNT, sizeof *out);
    char *text = malloc(COUNT + 300);
    netpool_error error;
    assert_true(in != NULL && out != NULL && text != NULL);
    for (size_t i = 0; i < COUNT + 300; i++) {
        text[i] = (char)('a' + i % 26);
    }
    for (size_t i = 0; i < COUNT; i++) {
        in[i] = bytes_of(text + i, i % 300); /* empty ones too */
    }
    netpool_status status = netpool_map_bytes(pool, "echo", in, COUNT, out, NULL, &error);
    if (status != NETPOOL_OK) {
        fail_msg("%s", error.message);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(out[i].size, in[i].size);
        if (in[i].size > 0) {
            assert_memory_equal(out[i].data, in[i].data, in[i].size);
        }
    }
    netpool_free_results(out, COUNT);
    free(in);
    free(out);
    free(text);
    netpool_close(&pool);
}

static void a2_first_failure_names_its_item(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 10000, BAD = 7321 };
    static uint64_t in[COUNT];
    static uint64_t out[COUNT];
    netpool_error error;
    netpool_failure failure;
    for (size_t i = 0; i < COUNT; i++) {
        in[i] = i % 1000;
    }
    in[BAD] = 424242;
    for (size_t chunk = 0; chunk < 200; chunk += 100) {
        netpool_map_options options = {.chunk = chunk, .failure = &failure};
        netpool_status status = netpool_map(pool, "fail_above", in, COUNT, 8, out, 8, &options, &error);
        assert_int_equal(status, NETPOOL_FAILED);
        assert_int_equal(error.status, NETPOOL_FAILED);
        assert_non_null(strstr(error.message, "item 7321"));
        assert_non_null(strstr(error.message, "424242 is above 1000 (worker "));
        assert_int_equal(failure.status, NETPOOL_FAILED);
        assert_int_equal(failure.item, BAD);
        assert_string_equal(failure.function, "fail_above");
        assert_string_equal(failure.message, "424242 is above 1000");
    }
    map_squares(pool, 1000, NULL); /* and the pool goes on */
    netpool_close(&pool);
}

static void a2_failed_map_of_bytes_gives_its_results_back(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 100 };
    netpool_bytes in[COUNT];
    netpool_bytes out[COUNT];
    netpool_error error;
    for (size_t i = 0; i < COUNT; i++) {
        in[i] = bytes_of("broken", 6);
    }
    assert_int_equal(netpool_map_bytes(pool, "fail", in, COUNT, out, NULL, &error), NETPOOL_FAILED);
    assert_non_null(strstr(error.message, "broken"));
    netpool_free_results(out, COUNT);
    netpool_close(&pool);
}

static void b32_map_over_an_unknown_function_names_it(void **state)
{
    netpool *pool = pool_of(state);
    uint64_t in[100] = {0};
    uint64_t out[100];
    netpool_error error;
    assert_int_equal(netpool_map(pool, "no_such_thing", in, 100, 8, out, 8, NULL, &error), NETPOOL_NO_SUCH_FUNCTION);
    assert_non_null(strstr(error.message, "no_such_thing"));
    netpool_close(&pool);
}

static void a20_bad_arguments_are_refused_by_name(void **state)
{
    netpool *pool = pool_of(state);
    uint64_t number = 1;
    netpool_error error;
    netpool_map_options reserved = {.reserved = {1}};
    netpool_map_options task_reserved = {.task = {.reserved = {1}}};
    netpool_map_options huge_chunk = {.chunk = (size_t)1 << 40};
    assert_int_equal(netpool_map(NULL, "square", &number, 1, 8, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_map(pool, NULL, &number, 1, 8, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_map(pool, "two words", &number, 1, 8, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "two words"));
    assert_int_equal(netpool_map(pool, "square", NULL, 1, 8, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "input"));
    assert_int_equal(netpool_map(pool, "square", &number, 1, 8, NULL, 8, NULL, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_map(pool, "square", &number, 1, 0, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_map(pool, "square", &number, SIZE_MAX / 4, 8, &number, 8, NULL, &error),
                     NETPOOL_INVALID);
    assert_int_equal(netpool_map(pool, "square", &number, 1, 8, &number, 8, &reserved, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_map(pool, "square", &number, 1, 8, &number, 8, &task_reserved, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_map(pool, "square", &number, 1, 8, &number, 8, &huge_chunk, &error), NETPOOL_OK);
    assert_int_equal(netpool_map(pool, "square", &number, 1, (size_t)1 << 33, &number, 8, NULL, &error),
                     NETPOOL_TOO_LARGE);
    netpool_close(&pool);
}

static void a2_result_of_another_size_fails_the_item(void **state)
{
    netpool *pool = pool_of(state);
    uint64_t in[1] = {0};
    uint32_t out[1];
    netpool_error error;
    assert_int_equal(netpool_map(pool, "square", in, 1, 8, out, 4, NULL, &error), NETPOOL_FAILED);
    assert_non_null(strstr(error.message, "item 0"));
    netpool_close(&pool);
}

const struct CMUnitTest map_cases[] = {
    cmocka_unit_test(a2_map_of_an_array_keeps_the_order),
    cmocka_unit_test(a3_explicit_chunks_of_every_size_give_the_same),
    cmocka_unit_test(a2_function_is_told_its_item_of_the_map),
    cmocka_unit_test(a2_map_of_nothing_succeeds),
    cmocka_unit_test(a2_items_may_differ_in_size_from_their_results),
    cmocka_unit_test(a2_map_of_bytes_keeps_order_and_sizes),
    cmocka_unit_test(a2_first_failure_names_its_item),
    cmocka_unit_test(a2_failed_map_of_bytes_gives_its_results_back),
    cmocka_unit_test(b32_map_over_an_unknown_function_names_it),
    cmocka_unit_test(a20_bad_arguments_are_refused_by_name),
    cmocka_unit_test(a2_result_of_another_size_fails_the_item),
};
const size_t map_case_count = sizeof map_cases / sizeof map_cases[0];
