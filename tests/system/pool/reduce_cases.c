/* Reductions. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/system/pool/pool_cases.h"

enum { DOUBLES = 100003 };

/* Numbers of very different size, so that any other order of the additions gives other bits. */
static double *new_doubles(size_t count)
{
    double *numbers = malloc(count * sizeof *numbers);
    uint64_t state = 88172645463325252U;
    assert_non_null(numbers);
    for (size_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        numbers[i] = (double)(int64_t)state / (double)(1ULL << (state & 63));
    }
    return numbers;
}

static double sum_of(const double *numbers, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += numbers[i];
    }
    return sum;
}

/* The documented tree, on this thread. */
static double sum_of_tree(const double *numbers, size_t count, size_t chunk, unsigned fan_in, bool has_leaf)
{
    double *sums = malloc(((count - 1) / chunk + 1) * sizeof *sums);
    size_t width = 0;
    assert_non_null(sums);
    for (size_t first = 0; first < count; first += chunk) {
        size_t size = count - first < chunk ? count - first : chunk;
        sums[width++] = size > 1 || has_leaf ? sum_of(numbers + first, size) : numbers[first];
    }
    while (width > 1) {
        size_t above = 0;
        for (size_t first = 0; first < width; first += fan_in) {
            size_t size = width - first < fan_in ? width - first : fan_in;
            sums[above++] = size > 1 ? sum_of(sums + first, size) : sums[first];
        }
        width = above;
    }
    double sum = sums[0];
    free(sums);
    return sum;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static void assert_same_bits(double a, double b)
{
    if (bits_of(a) != bits_of(b)) {
        fail_msg("%a is not %a", a, b);
    }
}

static double reduce_doubles(netpool *pool, const char *combine, const double *numbers, size_t count,
                             const netpool_reduce_options *options)
{
    double sum = 0;
    netpool_error error;
    if (netpool_reduce(pool, combine, numbers, count, sizeof *numbers, &sum, sizeof sum, options, &error) !=
        NETPOOL_OK) {
        fail_msg("%zu doubles: %s", count, error.message);
    }
    return sum;
}

static void a18_sum_of_doubles_is_that_of_the_documented_tree_to_the_bit(void **state)
{
    netpool *pool = pool_of(state);
    double *numbers = new_doubles(DOUBLES);
    static const struct {
        size_t count;
        size_t chunk;
        unsigned fan_in;
    } shapes[] = {{DOUBLES, 0, 0},      {DOUBLES, 100, 2}, {DOUBLES, 1000, 16}, {DOUBLES, 7, 5000},
                  {DOUBLES - 1, 2, 30}, {1, 0, 0},         {2, 1, 2},           {17, 1, 16},
                  {33, 16, 0},          {1000, 1000, 2},   {1001, 1000, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        netpool_reduce_options options = {.chunk = shapes[i].chunk, .fan_in = shapes[i].fan_in};
        unsigned fan_in = shapes[i].fan_in > 0 ? shapes[i].fan_in : 16;
        size_t chunk = shapes[i].chunk > 0 ? shapes[i].chunk : 8192;
        double expected = sum_of_tree(numbers, shapes[i].count, chunk, fan_in, false);
        assert_same_bits(reduce_doubles(pool, "sum_doubles", numbers, shapes[i].count, &options), expected);
        options.leaf = "sum_doubles";
        expected = sum_of_tree(numbers, shapes[i].count, chunk, fan_in, true);
        assert_same_bits(reduce_doubles(pool, "sum_doubles", numbers, shapes[i].count, &options), expected);
    }
    free(numbers);
    netpool_close(&pool);
}

static void a18_executors_that_crash_change_no_bit(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        return; /* a thread that crashes takes its program along */
    }
    netpool *pool = pool_of(state);
    double *numbers = new_doubles(5000);
    netpool_reduce_options options = {.chunk = 100, .fan_in = 4, .leaf = "sum_crashing"};
    assert_same_bits(reduce_doubles(pool, "sum_doubles", numbers, 5000, &options),
                     sum_of_tree(numbers, 5000, 100, 4, true));
    free(numbers);
    netpool_close(&pool);
}

static void a18_leaves_may_be_of_another_type_than_values(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 50000 };
    static uint32_t in[COUNT];
    uint64_t expected = 0;
    uint64_t sum = 0;
    netpool_error error;
    netpool_reduce_options options = {.leaf = "square_numbers", .chunk = 11};
    for (uint32_t i = 0; i < COUNT; i++) {
        in[i] = i;
        expected += (uint64_t)i * i;
    }
    assert_int_equal(netpool_reduce(pool, "add_numbers", in, COUNT, sizeof in[0], &sum, sizeof sum, &options, &error),
                     NETPOOL_OK);
    assert_int_equal(sum, expected);
    netpool_close(&pool);
}

/* "0;1;2;" and so on, without what leaves and combinations have put around. */
static void assert_in_order(netpool_bytes out, size_t count)
{
    const char *next = out.data;
    const char *end = next + out.size;
    for (size_t i = 0; i < count; i++) {
        char number[24];
        int size = snprintf(number, sizeof number, "%zu;", i);
        while (next < end && strchr("()[]", *next) != NULL) {
            next++;
        }
        if (end - next < size || memcmp(next, number, (size_t)size) != 0) {
            fail_msg("%zu is not in its place", i);
        }
        next += size;
    }
}

static void a18_bytes_are_combined_in_their_order(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 3000 };
    static char texts[COUNT][8];
    static netpool_bytes in[COUNT];
    netpool_error error;
    for (size_t i = 0; i < COUNT; i++) {
        in[i] = bytes_of(texts[i], (size_t)snprintf(texts[i], sizeof texts[i], "%zu;", i));
    }
    for (size_t count = 1; count <= COUNT; count = count * 7 + 1) {
        for (size_t form = 0; form < 3; form++) { /* no leaf function; one input a leaf; parts */
            netpool_reduce_options options = {.leaf = form == 0   ? NULL
                                                      : form == 1 ? "bracket"
                                                                  : "join",
                                              .chunk = form == 2 ? 10 : 0,
                                              .fan_in = 3};
            netpool_bytes out;
            if (netpool_reduce_bytes(pool, "join", in, count, &out, &options, &error) != NETPOOL_OK) {
                fail_msg("%zu: %s", count, error.message);
            }
            assert_in_order(out, count);
            netpool_free_results(&out, 1);
        }
    }
    netpool_reduce_options options = {.leaf = "bracket", .fan_in = 3};
    netpool_bytes out;
    assert_int_equal(netpool_reduce_bytes(pool, "join", in, 7, &out, &options, &error), NETPOOL_OK);
    assert_int_equal(out.size, 34);
    assert_memory_equal(out.data, "(([0;][1;][2;])([3;][4;][5;])[6;])", 34);
    netpool_free_results(&out, 1);
    netpool_close(&pool);
}

static void a18_failure_names_its_inputs(void **state)
{
    netpool *pool = pool_of(state);
    enum { COUNT = 20000, BAD = 7321 };
    static uint64_t in[COUNT];
    uint64_t sum;
    netpool_error error;
    netpool_failure failure;
    in[BAD] = 424242;
    for (unsigned has_leaf = 0; has_leaf < 2; has_leaf++) {
        netpool_reduce_options options = {
            .chunk = 100, .failure = &failure, .leaf = has_leaf == 1 ? "add_numbers" : NULL};
        assert_int_equal(netpool_reduce(pool, "add_numbers", in, COUNT, 8, &sum, 8, &options, &error),
                         NETPOOL_FAILED);
        assert_non_null(strstr(error.message, "inputs 7300 to 7399: add_numbers: 424242 is not a number"));
        assert_int_equal(failure.status, NETPOOL_FAILED);
        assert_int_equal(failure.item, 7300);
        assert_string_equal(failure.function, "add_numbers");
        assert_non_null(strstr(netpool_last_error(), "netpool_reduce: inputs 7300"));
    }
    in[BAD] = 424240; /* leaves succeed, and the sum of the first 1,600 leaves does not */
    in[BAD + 100] = 2;
    netpool_reduce_options options = {.chunk = 100, .failure = &failure};
    assert_int_equal(netpool_reduce(pool, "add_numbers", in, 8000, 8, &sum, 8, &options, &error), NETPOOL_FAILED);
    assert_non_null(strstr(error.message, "inputs 0 to 7999: add_numbers"));
    assert_int_equal(netpool_reduce(pool, "add_numbers", in, 7000, 8, &sum, 8, NULL, &error), NETPOOL_OK);
    netpool_close(&pool);
}

static void a18_result_of_another_size_fails_the_reduction(void **state)
{
    netpool *pool = pool_of(state);
    static uint32_t in[1000];
    uint32_t out;
    netpool_error error;
    netpool_reduce_options options = {.leaf = "square_numbers"};
    assert_int_equal(netpool_reduce(pool, "add_numbers", in, 1000, 4, &out, 4, &options, &error), NETPOOL_FAILED);
    assert_non_null(strstr(error.message, "8 bytes"));
    netpool_close(&pool);
}

static void a20_bad_reductions_are_refused_by_name(void **state)
{
    netpool *pool = pool_of(state);
    uint64_t number = 1;
    netpool_error error;
    const netpool_bytes broken = {.data = NULL, .size = 3};
    netpool_bytes out;
    netpool_reduce_options narrow = {.fan_in = 1};
    netpool_reduce_options reserved = {.reserved = {1}};
    netpool_reduce_options bad_leaf = {.leaf = "two words"};
    assert_int_equal(netpool_reduce(NULL, "add_numbers", &number, 1, 8, &number, 8, NULL, NULL), NETPOOL_INVALID);
    assert_int_equal(netpool_reduce(pool, NULL, &number, 1, 8, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_reduce(pool, "add_numbers", &number, 0, 8, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "count is 0"));
    assert_int_equal(netpool_reduce(pool, "add_numbers", NULL, 1, 8, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_reduce(pool, "add_numbers", &number, 1, 0, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_reduce(pool, "add_numbers", &number, 1, 8, NULL, 8, NULL, &error), NETPOOL_INVALID);
    assert_int_equal(netpool_reduce(pool, "add_numbers", &number, 1, 4, &number, 8, NULL, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "options.leaf"));
    assert_int_equal(netpool_reduce(pool, "add_numbers", &number, 1, 8, &number, 8, &narrow, &error),
                     NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "fan_in"));
    assert_int_equal(netpool_reduce(pool, "add_numbers", &number, 1, 8, &number, 8, &reserved, &error),
                     NETPOOL_INVALID);
    assert_int_equal(netpool_reduce(pool, "add_numbers", &number, 1, 8, &number, 8, &bad_leaf, &error),
                     NETPOOL_INVALID);
    assert_int_equal(netpool_reduce(pool, "add_numbers", &number, SIZE_MAX / 4, 8, &number, 8, NULL, &error),
                     NETPOOL_INVALID);
    assert_int_equal(
        netpool_reduce(pool, "add_numbers", &number, 1, (size_t)1 << 33, &number, (size_t)1 << 33, NULL, &error),
        NETPOOL_TOO_LARGE);
    assert_int_equal(netpool_reduce_bytes(pool, "join", &broken, 1, &out, NULL, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "input 0"));
    assert_int_equal(netpool_reduce_bytes(pool, "join", &broken, 1, NULL, NULL, &error), NETPOOL_INVALID);
    netpool_close(&pool);
}

static void b32_reduction_with_an_unknown_function_names_it(void **state)
{
    netpool *pool = pool_of(state);
    static uint64_t in[100];
    uint64_t out;
    netpool_error error;
    netpool_reduce_options options = {.leaf = "no_such_leaf", .chunk = 10};
    assert_int_equal(netpool_reduce(pool, "no_such_thing", in, 100, 8, &out, 8, NULL, &error),
                     NETPOOL_NO_SUCH_FUNCTION);
    assert_non_null(strstr(error.message, "no_such_thing"));
    assert_int_equal(netpool_reduce(pool, "add_numbers", in, 100, 8, &out, 8, &options, &error),
                     NETPOOL_NO_SUCH_FUNCTION);
    assert_non_null(strstr(error.message, "no_such_leaf"));
    netpool_close(&pool);
}

const struct CMUnitTest reduce_cases[] = {
    cmocka_unit_test(a18_sum_of_doubles_is_that_of_the_documented_tree_to_the_bit),
    cmocka_unit_test(a18_executors_that_crash_change_no_bit),
    cmocka_unit_test(a18_leaves_may_be_of_another_type_than_values),
    cmocka_unit_test(a18_bytes_are_combined_in_their_order),
    cmocka_unit_test(a18_failure_names_its_inputs),
    cmocka_unit_test(a18_result_of_another_size_fails_the_reduction),
    cmocka_unit_test(a20_bad_reductions_are_refused_by_name),
    cmocka_unit_test(b32_reduction_with_an_unknown_function_names_it),
};
const size_t reduce_case_count = sizeof reduce_cases / sizeof reduce_cases[0];
