/* A crashed task's failure says where the code was: function, file and line, innermost frame first. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fake_broker.h"

static void start(struct fake_broker *broker, const char *const *module, unsigned slots)
{
    *broker = (struct fake_broker){.keeps_results = true, .is_greedy = true};
    struct supervisor_options options = {
        .name = "tested", .slots = slots, .modules = module, .module_count = 1, .drain_grace_ms = 2000};
    fake_broker_start(broker, &options);
}

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

static void expect_frame(const char *stack, const char *function, const char *mark)
{
    char line[256];
    (void)snprintf(line, sizeof line, "%s at crash_functions.c:%d", function, line_of(mark));
    size_t size = strlen(line);
    for (const char *at = stack; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n' ? 1 : 0;
        if (strncmp(at, line, size) == 0 && (at[size] == '\n' || at[size] == '\0')) {
            return;
        }
    }
    fail_msg("\"%s\" is not in the stack:\n%s", line, stack);
}

/* Nothing of netpool itself is shown, and nothing behind the function that was called. */
static void expect_last_frame(const char *stack, const char *function)
{
    const char *newline = strrchr(stack, '\n');
    const char *last = newline != NULL ? newline + 1 : stack;
    if (strncmp(last, function, strlen(function)) != 0) {
        fail_msg("the last frame is not %s:\n%s", function, stack);
    }
}

static const char *crash(struct fake_broker *broker, const char *function, const char *input, int signal)
{
    static uint64_t seq;
    size_t before = broker->result_count;
    fake_broker_assign(broker, function, ++seq, 1, input, strlen(input));
    FAKE_BROKER_UNTIL(broker, broker->result_count > before);
    struct fake_result *result = fake_broker_result(broker, seq);
    assert_int_equal(result->status, NETPOOL_CRASHED);
    assert_int_equal(result->signal, signal);
    assert_true(result->has_started);
    return result->stack;
}

static void a13_stack_of_each_signal_names_function_file_and_line(void **state)
{
    (void)state;
    static const struct {
        const char *function;
        int signal;
        const char *mark;
    } cases[] = {
        {"crash_abort_deep", SIGABRT, "abort"},
#if defined(__x86_64__)
        {"crash_fpe", SIGFPE, "fpe"},
        {"crash_ill", SIGILL, "ill"},
#endif
        {"crash_bus", SIGBUS, "bus"},
        {"crash_in_libc", SIGSEGV, "libc"},
        {"crash_no_function", SIGSEGV, "no_function"},
    };
    static const char *const module[] = {CRASHES_MODULE};
    struct fake_broker broker;
    start(&broker, module, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *stack = crash(&broker, cases[i].function, "", cases[i].signal);
        expect_frame(stack, cases[i].function, cases[i].mark);
        expect_last_frame(stack, cases[i].function);
    }
    fake_broker_stop(&broker);
}

static void a13_stack_shows_static_and_inlined_functions_in_order(void **state)
{
    (void)state;
    static const char *const module[] = {CRASHES_MODULE};
    char expected[512];
    struct fake_broker broker;
    start(&broker, module, 1);
    (void)snprintf(expected, sizeof expected,
                   "write_nowhere at crash_functions.c:%d\nwalk_on at crash_functions.c:%d\n"
                   "walk_on at crash_functions.c:%d\ncrash_null at crash_functions.c:%d",
                   line_of("null_write"), line_of("null_call"), line_of("null_walk"), line_of("null_entry"));
    assert_string_equal(crash(&broker, "crash_null", "", SIGSEGV), expected);
    (void)snprintf(expected, sizeof expected,
                   "inlined at crash_functions.c:%d\ncrash_inlined at crash_functions.c:%d", line_of("inlined"),
                   line_of("inlined_entry"));
    assert_string_equal(crash(&broker, "crash_inlined", "", SIGSEGV), expected);
    assert_string_equal(crash(&broker, "crash_inlined", "", SIGSEGV), expected); /* known by now */
    fake_broker_stop(&broker);
}

static void a13_stack_overflow_is_told_and_cut_between_lines(void **state)
{
    (void)state;
    static const char *const module[] = {CRASHES_MODULE};
    struct fake_broker broker;
    start(&broker, module, 1);
    const char *stack = crash(&broker, "crash_overflow", "", SIGSEGV);
    expect_frame(stack, "overflow", "overflow");
    assert_in_range(strlen(stack), NP_STACK_MAX - 100, NP_STACK_MAX);
    expect_last_frame(stack, "overflow at crash_functions.c:");
    char whole[128];
    int size = snprintf(whole, sizeof whole, "\noverflow at crash_functions.c:%d", line_of("overflow"));
    assert_string_equal(stack + strlen(stack) - (size_t)size, whole);
    fake_broker_stop(&broker);
}

static void a13_thread_of_a_function_has_its_stack(void **state)
{
    (void)state;
    static const char *const module[] = {CRASHES_MODULE};
    struct fake_broker broker;
    start(&broker, module, 1);
    const char *stack = crash(&broker, "crash_in_thread", "", SIGSEGV);
    expect_frame(stack, "write_nowhere", "null_write");
    expect_frame(stack, "crash_in_thread_main", "thread");
    fake_broker_stop(&broker);
}

static void a13_stack_without_debug_information_says_where_in_the_module(void **state)
{
    (void)state;
    static const char *const module[] = {CRASHES_STRIPPED_MODULE};
    struct fake_broker broker;
    start(&broker, module, 1);
    const char *stack = crash(&broker, "crash_null", "", SIGSEGV);
    assert_non_null(strstr(stack, "crashes_stripped.so"));
    assert_non_null(strstr(stack, "+0x"));
    int frames = 1;
    for (const char *at = stack; *at != '\0'; at++) {
        frames += *at == '\n' ? 1 : 0;
    }
    assert_int_equal(frames, 4);
    fake_broker_stop(&broker);
}

static void spoilt_stacks_cost_nothing_but_their_text(void **state)
{
    (void)state;
    static const char *const module[] = {CRASHES_MODULE};
    struct fake_broker broker;
    start(&broker, module, 1);
    (void)crash(&broker, "crash_smashed", "", SIGSEGV);
#if defined(__x86_64__)
    const char *stack = crash(&broker, "crash_without_stack", "", SIGILL);
    assert_non_null(strstr(stack, "crash_without_stack at crash_functions.c:"));
    stack = crash(&broker, "crash_without_stack", "low", SIGILL);
    assert_non_null(strstr(stack, "crash_without_stack at crash_functions.c:"));
#endif
    const char *next = crash(&broker, "crash_null", "", SIGSEGV);
    expect_frame(next, "write_nowhere", "null_write");
    fake_broker_stop(&broker);
}

static void signals_from_elsewhere_and_handlers_of_modules_keep_their_ways(void **state)
{
    (void)state;
    static const char *const module[] = {CRASHES_MODULE};
    char number[16];
    struct fake_broker broker;
    start(&broker, module, 1);
    (void)snprintf(number, sizeof number, "%d", SIGKILL);
    assert_string_equal(crash(&broker, "crash_raise", number, SIGKILL), "");
    (void)snprintf(number, sizeof number, "%d", SIGTERM);
    assert_string_equal(crash(&broker, "crash_raise", number, SIGTERM), "");
    (void)snprintf(number, sizeof number, "%d", SIGSEGV);
    expect_frame(crash(&broker, "crash_raise", number, SIGSEGV), "crash_raise", "raise");
    assert_string_equal(crash(&broker, "crash_in_child", "", SIGKILL), "");
    assert_string_equal(crash(&broker, "crash_handled", "", 0), "");
    fake_broker_stop(&broker);
}

/* While the crash of one slot is looked into, the other one's tasks and those behind the crash go on. */
static void a13_crashes_in_a_row_are_all_told_and_others_go_on(void **state)
{
    (void)state;
    static const char *const module[] = {CRASHES_MODULE};
    enum { CRASHES = 100 };
    char number[16];
    struct fake_broker broker;
    start(&broker, module, 2);
    (void)snprintf(number, sizeof number, "%d", SIGABRT);
    fake_broker_assign(&broker, "crash_null", 1001, CRASHES, "", 0);
    fake_broker_assign(&broker, "crash_raise", 1001 + CRASHES, CRASHES, number, strlen(number));
    FAKE_BROKER_UNTIL(&broker, broker.result_count == 2 * CRASHES);
    for (uint64_t seq = 1001; seq < 1001 + 2 * CRASHES; seq++) {
        struct fake_result *result = fake_broker_result(&broker, seq);
        bool is_null = seq < 1001 + CRASHES;
        assert_int_equal(result->count, 1);
        assert_int_equal(result->signal, is_null ? SIGSEGV : SIGABRT);
        expect_frame(result->stack, is_null ? "write_nowhere" : "crash_raise", is_null ? "null_write" : "raise");
    }
    fake_broker_stop(&broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a13_stack_of_each_signal_names_function_file_and_line),
        cmocka_unit_test(a13_stack_shows_static_and_inlined_functions_in_order),
        cmocka_unit_test(a13_stack_overflow_is_told_and_cut_between_lines),
        cmocka_unit_test(a13_thread_of_a_function_has_its_stack),
        cmocka_unit_test(a13_stack_without_debug_information_says_where_in_the_module),
        cmocka_unit_test(spoilt_stacks_cost_nothing_but_their_text),
        cmocka_unit_test(signals_from_elsewhere_and_handlers_of_modules_keep_their_ways),
        cmocka_unit_test(a13_crashes_in_a_row_are_all_told_and_others_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
