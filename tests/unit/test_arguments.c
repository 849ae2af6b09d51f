/* A20: what public calls are given is checked before anything is sent, and the words name the argument. */
#include <stdlib.h>
#include <string.h>

#include "client/calls/task_options.h"
#include "client/dialogue/label_sets.h"
#include "client/last_error.h"
#include "client/options.h"
#include "common/error.h"
#include "tests/support/cmocka_all.h"

static void a20_numbers_out_of_range_are_named(void **state)
{
    (void)state;
    static const struct {
        netpool_task_options options;
        const char *words;
    } bad[] = {
        {{.max_attempts = 65}, "options.max_attempts 65 is above 64"},
        {{.slots = 4097}, "options.slots 4097 is above 4096"},
        {{.retry_delay_ms = 60001}, "options.retry_delay_ms 60001 is above 60000"},
        {{.reserved = {0, 0, 0, 1}}, "options.reserved must be zero"},
        {{.at_most_once = true, .retry_failures = true},
         "options.at_most_once and options.retry_failures exclude each other"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct np_task_kind kind;
        netpool_error error = {0};
        assert_int_equal(task_read_options(&kind, &bad[i].options, &error), NETPOOL_INVALID);
        assert_string_equal(error.message, bad[i].words);
    }
}

static void a17_options_of_a_task_become_its_kind(void **state)
{
    (void)state;
    const netpool_task_options options = {.max_attempts = 64,
                                          .retry_failures = true,
                                          .retry_delay_ms = 60000,
                                          .priority = -3,
                                          .timeout_ms = 5,
                                          .expiry_ms = 6,
                                          .slots = 2};
    struct np_task_kind kind;
    assert_int_equal(task_read_options(&kind, &options, NULL), NETPOOL_OK);
    assert_int_equal(kind.max_attempts, 64);
    assert_true(kind.retry_failures);
    assert_int_equal(kind.retry_delay_ms, 60000);
    assert_int_equal(kind.priority, -3);
    assert_int_equal(kind.timeout_ms, 5);
    assert_int_equal(kind.expiry_ms, 6);
    assert_int_equal(kind.slots, 2);
    assert_int_equal(task_read_options(&kind, NULL, NULL), NETPOOL_OK);
    assert_int_equal(kind.max_attempts, 0);
}

static void a22_lanes_have_numbers_that_are_never_0(void **state)
{
    (void)state;
    uint64_t none = 1;
    uint64_t a;
    uint64_t b;
    uint64_t same;
    char longest[130];
    netpool_error error = {0};
    memset(longest, 'x', sizeof longest - 1);
    longest[128] = '\0';
    assert_int_equal(task_hash_lane(&none, NULL, NULL), NETPOOL_OK);
    assert_true(none == 0);
    assert_int_equal(task_hash_lane(&a, "orders of customer 7", NULL), NETPOOL_OK);
    assert_int_equal(task_hash_lane(&b, "orders of customer 8", NULL), NETPOOL_OK);
    assert_int_equal(task_hash_lane(&same, "orders of customer 7", NULL), NETPOOL_OK);
    assert_true(a != 0 && a != b && a == same);
    assert_int_equal(task_hash_lane(&a, longest, NULL), NETPOOL_OK);
    longest[128] = 'x';
    longest[129] = '\0';
    assert_int_equal(task_hash_lane(&a, longest, &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "options.lane"));
    assert_int_equal(task_hash_lane(&a, "", &error), NETPOOL_INVALID);
}

static void a20_function_names_and_inputs_are_checked(void **state)
{
    (void)state;
    netpool_error error = {0};
    assert_int_equal(task_check_function(NULL, &error), NETPOOL_INVALID);
    assert_string_equal(error.message, "function name is NULL");
    assert_int_equal(task_check_function("", &error), NETPOOL_INVALID);
    assert_string_equal(error.message, "function name is empty");
    assert_int_equal(task_check_function("two words", &error), NETPOOL_INVALID);
    assert_non_null(strstr(error.message, "function name 'two words'"));
    assert_int_equal(task_check_function("square", NULL), NETPOOL_OK);
    assert_int_equal(task_check_input((netpool_bytes){.size = 8}, 100, &error), NETPOOL_INVALID);
    assert_string_equal(error.message, "input.data is NULL but input.size is 8");
    assert_int_equal(task_check_input((netpool_bytes){.data = "", .size = 101}, 100, &error), NETPOOL_TOO_LARGE);
    assert_string_equal(error.message, "input of 101 bytes is larger than the pool's limit of 100");
    assert_int_equal(task_check_input((netpool_bytes){0}, 100, &error), NETPOOL_OK);
}

static void labels_are_split_checked_and_kept_once_for_each_text(void **state)
{
    (void)state;
    struct names names;
    struct label_sets sets;
    const struct label_set *set;
    const struct label_set *same;
    netpool_error error = {0};
    char text[] = "gpu=1,fast";
    char many[200] = "a";
    names_init(&names);
    label_sets_init(&sets, &names);
    assert_int_equal(label_sets_keep(&sets, text, &set, NULL), NETPOOL_OK);
    memset(text, '?', sizeof text - 1); /* a copy was made */
    assert_int_equal(set->count, 2);
    assert_string_equal(set->labels[0], "gpu=1");
    assert_string_equal(set->labels[1], "fast");
    assert_int_equal(label_sets_keep(&sets, "gpu=1,fast", &same, NULL), NETPOOL_OK);
    assert_ptr_equal(set, same);
    const size_t kept = names.count;
    static const char *const bad[] = {"", ",", "gpu=1,", ",fast", "a,,b", "two words", "=1", "a,\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(label_sets_keep(&sets, bad[i], &set, &error), NETPOOL_INVALID);
        assert_non_null(strstr(error.message, "options.labels"));
    }
    assert_int_equal(names.count, kept); /* nothing of them */
    for (int i = 1; i < 16; i++) {
        strcat(many, ",a");
    }
    assert_int_equal(label_sets_keep(&sets, many, &set, NULL), NETPOOL_OK);
    assert_int_equal(set->count, 16);
    strcat(many, ",a");
    assert_int_equal(label_sets_keep(&sets, many, &set, &error), NETPOOL_INVALID);
    assert_string_equal(error.message, "options.labels: more than 16 labels");
    label_sets_fini(&sets);
    names_fini(&names);
}

static void a9_initializer_is_checked_and_copied(void **state)
{
    (void)state;
    char name[] = "warm_up";
    char input[] = "model";
    netpool_options options = {
        .initializer = name, .initializer_input = {.data = input, .size = 5}, .max_tasks_per_executor = 9};
    struct settings settings;
    netpool_error error = {0};
    assert_int_equal(settings_init(&settings, "threads:2", &options, NULL), NETPOOL_OK);
    memset(name, '?', sizeof name - 1);
    memset(input, '?', sizeof input - 1);
    assert_string_equal(settings.initializer, "warm_up");
    assert_int_equal(settings.initializer_input_size, 5);
    assert_memory_equal(settings.initializer_input, "model", 5);
    assert_int_equal(settings.max_tasks_per_executor, 9);
    settings_fini(&settings);
    static const struct {
        netpool_options options;
        netpool_status status;
        const char *words;
    } bad[] = {
        {{.initializer = ""}, NETPOOL_INVALID, "options.initializer is empty"},
        {{.initializer_input = {.data = "a", .size = 1}},
         NETPOOL_INVALID,
         "options.initializer_input without options.initializer"},
        {{.initializer = "f", .initializer_input = {.size = 1}},
         NETPOOL_INVALID,
         "options.initializer_input.data is NULL but its size is 1"},
        {{.initializer = "f", .initializer_input = {.data = "a", .size = 65537}},
         NETPOOL_TOO_LARGE,
         "options.initializer_input of 65537 bytes is larger than 65536"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(settings_init(&settings, "threads:2", &bad[i].options, &error), bad[i].status);
        assert_string_equal(error.message, bad[i].words);
    }
}

static void a20_last_error_says_which_call_and_why(void **state)
{
    (void)state;
    netpool_error error = {0};
    assert_string_equal(netpool_last_error(), "");
    assert_int_equal(last_error_status(NETPOOL_OK, "netpool_wait"), NETPOOL_OK);
    assert_string_equal(netpool_last_error(), "");
    assert_int_equal(last_error_status(NETPOOL_TIMEOUT, "netpool_wait"), NETPOOL_TIMEOUT);
    assert_string_equal(netpool_last_error(), "netpool_wait: not finished within the time given");
    assert_int_equal(last_error_from(NETPOOL_NO_MEMORY, "netpool_submit", &error), NETPOOL_NO_MEMORY);
    assert_string_equal(netpool_last_error(), "netpool_submit: out of memory");
    (void)np_error_set(&error, NETPOOL_INVALID, "pool is NULL");
    assert_int_equal(last_error_from(NETPOOL_OK, "netpool_map", &error), NETPOOL_OK);
    assert_string_equal(netpool_last_error(), "netpool_submit: out of memory");
    assert_int_equal(last_error_from(NETPOOL_INVALID, "netpool_map", &error), NETPOOL_INVALID);
    assert_string_equal(netpool_last_error(), "netpool_map: pool is NULL");
    assert_int_equal(last_error_set(NETPOOL_INVALID, "netpool_wait", "line\nof %d", 2), NETPOOL_INVALID);
    assert_string_equal(netpool_last_error(), "netpool_wait: line?of 2");
    assert_int_equal(netpool_wait(NULL, 0, NULL), NETPOOL_INVALID);
    assert_string_equal(netpool_last_error(), "netpool_wait: future is NULL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a20_last_error_says_which_call_and_why), /* first: nothing has failed before */
        cmocka_unit_test(a20_numbers_out_of_range_are_named),
        cmocka_unit_test(a17_options_of_a_task_become_its_kind),
        cmocka_unit_test(a22_lanes_have_numbers_that_are_never_0),
        cmocka_unit_test(a20_function_names_and_inputs_are_checked),
        cmocka_unit_test(labels_are_split_checked_and_kept_once_for_each_text),
        cmocka_unit_test(a9_initializer_is_checked_and_copied),
    };
    return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
