/* Loading modules: what is good, and each way of being bad with a message that names the file. */
#include <string.h>

#include "tests/support/cmocka_all.h"
#include "worker/executor/modules.h"

static netpool_status at_home(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    return NETPOOL_OK;
}
NETPOOL_MODULE(program, NETPOOL_FUNCTION(at_home, "of the program itself"))

static void assert_refused(const char *path, const char *words)
{
    netpool_error error = {0};
    size_t before = modules_count();
    assert_int_equal(modules_load(path, &error), NETPOOL_BAD_MODULE);
    assert_non_null(strstr(error.message, strrchr(path, '/')));
    if (strstr(error.message, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    }
    assert_int_equal(modules_count(), before);
}

static void functions_of_the_program_are_known(void **state)
{
    (void)state;
    netpool_error error;
    assert_int_equal(modules_check(&error), NETPOOL_OK);
    assert_ptr_equal(modules_find("at_home"), at_home);
    assert_null(modules_find("elsewhere"));
    assert_string_equal(modules_at(0)->name, "at_home");
    assert_null(modules_at(modules_count()));
}

static void b32_bad_modules_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused("/nonexistent/module.so", "No such file");
    assert_refused(MODULE_DIRECTORY "/bad_abi.so", "ABI");
    assert_refused(MODULE_DIRECTORY "/bad_name.so", "no usable name");
    assert_refused(MODULE_DIRECTORY "/bad_duplicate.so", "exists already");
    assert_refused(MODULE_DIRECTORY "/bad_empty.so", "no NETPOOL_MODULE");
    assert_refused(MODULE_DIRECTORY "/bad_symbol.so", "no_such_symbol_anywhere");
    assert_refused(MODULE_DIRECTORY "/../CMakeCache.txt", "");
}

static void good_module_is_loaded_once(void **state)
{
    (void)state;
    netpool_error error;
    size_t before = modules_count();
    assert_int_equal(modules_load(MODULE_DIRECTORY "/faults.so", &error), NETPOOL_OK);
    size_t after = modules_count();
    assert_true(after > before);
    assert_non_null(modules_find("echo"));
    assert_int_equal(modules_load(MODULE_DIRECTORY "/faults.so", &error), NETPOOL_OK);
    assert_int_equal(modules_count(), after);
    assert_refused(MODULE_DIRECTORY "/bad_duplicate.so", "exists already"); /* the others are as they were */
    assert_non_null(modules_find("echo"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_of_the_program_are_known),
        cmocka_unit_test(b32_bad_modules_are_refused_by_name),
        cmocka_unit_test(good_module_is_loaded_once),
    };
    return cmocka_run_group_tests_name("modules", tests, NULL, NULL);
}
