/* How the worker tells that the kernel killed an executor for memory: from a counter that the kernel keeps. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"
#include "worker/slots/memory_killer.h"

static void write_counters(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void b3_each_kill_for_memory_is_noticed_once(void **state)
{
    (void)state;
    char path[] = "/tmp/netpool-test-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    struct memory_killer killer = {.kills = 2};
    (void)snprintf(killer.path, sizeof killer.path, "%s", path);
    write_counters(path, "low 7\nhigh 9\nmax 30\noom 4\noom_kill 2\noom_group_kill 0\n");
    assert_false(memory_killer_has_struck(&killer));
    write_counters(path, "low 7\nhigh 9\nmax 30\noom 5\noom_kill 3\noom_group_kill 0\n");
    assert_true(memory_killer_has_struck(&killer));
    assert_false(memory_killer_has_struck(&killer));
    write_counters(path, "nr_free_pages 12\noom_kill 5\n"); /* as of the whole host, two at once */
    assert_true(memory_killer_has_struck(&killer));
    assert_false(memory_killer_has_struck(&killer));
    assert_int_equal(unlink(path), 0);
}

static void b3_without_counters_nothing_is_claimed(void **state)
{
    (void)state;
    struct memory_killer killer = {.path = "/nonexistent/memory.events"};
    assert_false(memory_killer_has_struck(&killer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b3_each_kill_for_memory_is_noticed_once),
        cmocka_unit_test(b3_without_counters_nothing_is_claimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
