/* netpool-worker on the command line: what it refuses, with which words and which exit code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

/* Runs the program and returns its exit code; everything it says is in `said`. */
static int run(char *const *arguments, char said[8192])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        (void)unsetenv("NETPOOL_URL");
        (void)unsetenv("NETPOOL_CA");
        execv(WORKER_PROGRAM, arguments);
        _exit(127);
    }
    close(ends[1]);
    size_t size = 0;
    ssize_t got;
    while ((got = read(ends[0], said + size, 8191 - size)) > 0) {
        size += (size_t)got;
    }
    said[size] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void assert_says(char *const *arguments, int code, const char *words)
{
    char said[8192];
    assert_int_equal(run(arguments, said), code);
    if (strstr(said, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", said, words);
    }
    assert_true(code == 0 || strchr(said, '\n') == said + strlen(said) - 1); /* errors are one line */
}

static void wrong_usage_is_refused_in_one_line(void **state)
{
    (void)state;
    assert_says((char *[]){"netpool-worker", NULL}, 2, "--url");
    assert_says((char *[]){"netpool-worker", "--nonsense", NULL}, 2, "--nonsense");
    assert_says((char *[]){"netpool-worker", "--url", "http://x", NULL}, 2, "http://x");
    assert_says((char *[]){"netpool-worker", "--url", "local:3", NULL}, 2, "local:3");
    assert_says((char *[]){"netpool-worker", "--url", "tls://h:1", NULL}, 2, "--ca");
    assert_says((char *[]){"netpool-worker", "--slots", "0", NULL}, 2, "--slots");
    assert_says((char *[]){"netpool-worker", "--slots", "many", NULL}, 2, "many");
    assert_says((char *[]){"netpool-worker", "--label", "colour", NULL}, 2, "colour");
    assert_says((char *[]){"netpool-worker", "--label", "=red", NULL}, 2, "=red");
    assert_says((char *[]){"netpool-worker", "--label", "colour=red,blue", NULL}, 2, "colour=red,blue");
    assert_says((char *[]){"netpool-worker", "--label", "colour=dark red", NULL}, 2, "colour=dark red");
    assert_says((char *[]){"netpool-worker", "--max-tasks-per-executor", "-1", NULL}, 2, "--max-tasks-per-executor");
    assert_says((char *[]){"netpool-worker", "--slots", NULL}, 2, "--slots needs a value");
    assert_says((char *[]){"netpool-worker", "stray", NULL}, 2, "stray");
}

static void help_and_version_go_to_standard_output(void **state)
{
    (void)state;
    assert_says((char *[]){"netpool-worker", "--help", NULL}, 0, "Exit status:");
    assert_says((char *[]){"netpool-worker", "--version", NULL}, 0, "netpool-worker ");
}

static void b32_module_that_does_not_load_ends_with_the_loaders_words(void **state)
{
    (void)state;
    assert_says((char *[]){"netpool-worker", "--url", "ipc:///nonexistent/b", "--module", "/nonexistent/m.so", NULL},
                1, "/nonexistent/m.so: cannot open shared object file");
}

static void unusable_credentials_are_named(void **state)
{
    (void)state;
    assert_says((char *[]){"netpool-worker", "--url", "tls://127.0.0.1:1", "--ca", "/nonexistent/ca.pem", "--cert",
                           "/nonexistent/c.pem", "--key", "/nonexistent/k.pem", NULL},
                1, "/nonexistent/");
}

static void b5_broker_away_for_too_long_ends_the_worker_as_unreachable(void **state)
{
    (void)state;
    assert_says((char *[]){"netpool-worker", "--url", "ipc:///nonexistent/broker", "--reconnect-ms", "200",
                           "--log-level", "off", NULL},
                3, "away for 200 ms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_usage_is_refused_in_one_line),
        cmocka_unit_test(help_and_version_go_to_standard_output),
        cmocka_unit_test(b32_module_that_does_not_load_ends_with_the_loaders_words),
        cmocka_unit_test(unusable_credentials_are_named),
        cmocka_unit_test(b5_broker_away_for_too_long_ends_the_worker_as_unreachable),
    };
    return cmocka_run_group_tests_name("worker program", tests, NULL, NULL);
}
