/* A crash says where it was, on every pool whose executors are processes. */
#include <signal.h>
#include <stdio.h>

#include "tests/system/pool/pool_cases.h"

/* The line of crash_functions.c with this mark. */
static int line_of(const char *mark)
{
    char wanted[64];
    char text[256];
    int found = 0;
    (void)snprintf(wanted, sizeof wanted, "/* mark: %s */", mark);
    FILE *source = fopen(CRASHES_SOURCE, "re");
    assert_non_null(source);
    for (int line = 1; fgets(text, sizeof text, source) != NULL; line++) {
        if (strstr(text, wanted) != NULL) {
            found = line;
        }
    }
    (void)fclose(source);
    assert_int_not_equal(found, 0);
    return found;
}

static void write_expected(char *out, size_t size)
{
    (void)snprintf(out, size,
                   "write_nowhere at crash_functions.c:%d\nwalk_on at crash_functions.c:%d\n"
                   "walk_on at crash_functions.c:%d\ncrash_null at crash_functions.c:%d",
                   line_of("null_write"), line_of("null_call"), line_of("null_walk"), line_of("null_entry"));
}

static void expect_stack(netpool *pool, unsigned max_attempts, netpool_status status)
{
    char expected[512];
    netpool_task_options options = {.max_attempts = max_attempts};
    netpool_result result;
    write_expected(expected, sizeof expected);
    netpool_future *future = submit_number(pool, "crash_null", 1, &options);
    assert_int_equal(netpool_wait(future, 60000, &result), status);
    assert_int_equal(result.failure->signal, SIGSEGV);
    assert_string_equal(result.failure->stack, expected);
    netpool_future_free(&future);
}

static void a13_crash_brings_its_stack_with_functions_files_and_lines(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        skip(); /* a crash ends the program */
    }
    netpool *pool = pool_of(state);
    expect_stack(pool, 1, NETPOOL_CRASHED);
    expect_stack(pool, 0, NETPOOL_POISON);
    netpool_close(&pool);
}

static void a13_map_that_crashes_names_item_and_stack(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        skip();
    }
    char expected[512];
    uint64_t items[10] = {0};
    static netpool_failure failure;
    netpool_map_options options = {.chunk = 5, .task = {.max_attempts = 1}, .failure = &failure};
    netpool *pool = pool_of(state);
    write_expected(expected, sizeof expected);
    assert_int_not_equal(netpool_map(pool, "crash_null", items, 10, sizeof *items, NULL, 0, &options, NULL),
                         NETPOOL_OK);
    assert_int_equal(failure.signal, SIGSEGV);
    assert_string_equal(failure.stack, expected);
    netpool_close(&pool);
}

static void a13_stack_overflow_of_a_function_is_told(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes) {
        skip();
    }
    char expected[64];
    netpool_task_options options = {.max_attempts = 1};
    netpool_result result;
    netpool *pool = pool_of(state);
    netpool_future *future = submit_number(pool, "crash_overflow", 1, &options);
    assert_int_not_equal(netpool_wait(future, 60000, &result), NETPOOL_OK);
    assert_int_equal(result.failure->signal, SIGSEGV);
    (void)snprintf(expected, sizeof expected, "overflow at crash_functions.c:%d\n", line_of("overflow"));
    assert_non_null(strstr(result.failure->stack, expected));
    netpool_future_free(&future);
    netpool_close(&pool);
}

/* Spawned executors and those that have only a module. */
static void a13_stack_does_not_depend_on_the_start_method(void **state)
{
    const struct pool_fixture *fixture = *state;
    if (!fixture->has_processes || fixture->has_cluster) {
        skip();
    }
    static const char *const modules[] = {POOL_MODULE, NULL};
    const netpool_options kinds[] = {{.start_method = NETPOOL_START_SPAWN},
                                     {.start_method = NETPOOL_START_MODULE, .modules = modules}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        netpool *pool = NULL;
        assert_int_equal(netpool_open(&pool, fixture->url, &kinds[i], NULL), NETPOOL_OK);
        expect_stack(pool, 1, NETPOOL_CRASHED);
        netpool_close(&pool);
    }
}

const struct CMUnitTest crash_cases[] = {
    cmocka_unit_test(a13_crash_brings_its_stack_with_functions_files_and_lines),
    cmocka_unit_test(a13_map_that_crashes_names_item_and_stack),
    cmocka_unit_test(a13_stack_overflow_of_a_function_is_told),
    cmocka_unit_test(a13_stack_does_not_depend_on_the_start_method),
};
const size_t crash_case_count = sizeof crash_cases / sizeof crash_cases[0];
