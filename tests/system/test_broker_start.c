/* netpool-broker starts, or says in one line what is wrong and where. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/protocol_peer.h"
#include "tests/system/broker_fixture.h"
#include "transport/ipc.h"

/* The broker must end with `code`, and its one line must have each of the texts. */
static void expect_failure(struct broker_fixture *fixture, const char *const *arguments, int code, const char *what,
                           const char *where)
{
    assert_int_equal(broker_start_failing(&fixture->broker, arguments), code);
    const char *log = fixture->broker.log;
    const char *newline = strchr(log, '\n');
    if (newline == NULL || newline[1] != '\0' || strstr(log, what) == NULL || strstr(log, where) == NULL) {
        fail_msg("expected one line with '%s' and '%s', got:\n%s", what, where, log);
    }
}

static void wrong_usage_exits_with_2_and_names_the_option(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const unknown[] = {"--bogus", NULL};
    const char *const number[] = {"--max-payload", "2G", NULL};
    const char *const listen[] = {"--listen", "127.0.0.1:99999", NULL};
    const char *const argument[] = {"--ipc", fixture->socket, "extra", NULL};
    expect_failure(fixture, unknown, 2, "--bogus", "no such option");
    expect_failure(fixture, number, 2, "--max-payload", "2G");
    expect_failure(fixture, listen, 2, "--listen", "127.0.0.1:99999");
    expect_failure(fixture, argument, 2, "extra", "netpool-broker");
    fixture->has_ended_well = true;
}

static void missing_credentials_exit_with_2_and_name_the_option(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const arguments[] = {"--listen", "127.0.0.1:0", "--ca", fixture->ca, NULL};
    (void)unsetenv("NETPOOL_CERT");
    expect_failure(fixture, arguments, 2, "--cert", "needed");
    fixture->has_ended_well = true;
}

static void credentials_may_come_from_the_environment(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const arguments[] = {"--listen", "127.0.0.1:0", NULL};
    (void)setenv("NETPOOL_CA", fixture->ca, 1);
    (void)setenv("NETPOOL_CERT", fixture->cert, 1);
    (void)setenv("NETPOOL_KEY", fixture->key, 1);
    broker_start(&fixture->broker, arguments, 0);
    (void)unsetenv("NETPOOL_CA");
    (void)unsetenv("NETPOOL_CERT");
    (void)unsetenv("NETPOOL_KEY");
    broker_fixture_stop(fixture);
}

static void expect_start_failure(struct broker_fixture *fixture, const char *key, const char *what)
{
    const char *const arguments[] = {"--listen",    "127.0.0.1:0", "--ca", fixture->ca, "--cert",
                                     fixture->cert, "--key",       key,    NULL};
    expect_failure(fixture, arguments, 1, what, key);
}

static void b29_unusable_keys_are_refused_and_named(void **state)
{
    struct broker_fixture *fixture = *state;
    char key[128];
    (void)snprintf(key, sizeof key, "%s/absent.key", fixture->dir);
    expect_start_failure(fixture, key, "No such file");
    (void)snprintf(key, sizeof key, "%s/client-c.key", fixture->dir);
    expect_start_failure(fixture, key, "does not");
    assert_int_equal(chmod(fixture->key, 0644), 0);
    expect_start_failure(fixture, fixture->key, "0644");
    fixture->has_ended_well = true;
}

static void a_tcp_address_in_use_is_refused_and_named(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    struct broker_fixture *second = calloc(1, sizeof *second);
    char address[32];
    assert_non_null(second);
    broker_fixture_start(fixture, none, 0);
    (void)snprintf(address, sizeof address, "127.0.0.1:%s", fixture->broker.port);
    const char *const arguments[] = {"--listen",    address, "--ca",       fixture->ca, "--cert",
                                     fixture->cert, "--key", fixture->key, NULL};
    expect_failure(second, arguments, 1, "in use", address);
    free(second);
    broker_fixture_stop(fixture);
}

static void an_ipc_socket_in_use_is_refused_and_one_left_behind_is_replaced(void **state)
{
    struct broker_fixture *fixture = *state;
    struct broker_fixture *second = calloc(1, sizeof *second);
    const char *const arguments[] = {"--ipc", fixture->socket, NULL};
    struct stat status;
    assert_non_null(second);
    broker_start(&fixture->broker, arguments, 0);
    expect_failure(second, arguments, 1, "in use", fixture->socket);
    free(second);
    assert_int_equal(broker_stop(&fixture->broker, SIGKILL), 128 + SIGKILL);
    assert_int_equal(stat(fixture->socket, &status), 0);
    broker_start(&fixture->broker, arguments, 0);
    broker_fixture_stop(fixture);
    assert_int_not_equal(stat(fixture->socket, &status), 0);
}

static void an_ipc_path_that_is_no_socket_is_refused_and_kept(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const arguments[] = {"--ipc", fixture->ca, NULL};
    struct stat status;
    expect_failure(fixture, arguments, 1, "not a socket", fixture->ca);
    assert_int_equal(stat(fixture->ca, &status), 0);
    fixture->has_ended_well = true;
}

static void an_ipc_directory_open_to_others_is_refused(void **state)
{
    struct broker_fixture *fixture = *state;
    char directory[96];
    (void)snprintf(directory, sizeof directory, "%s/ipc", fixture->dir);
    const char *const arguments[] = {"--ipc", fixture->socket, NULL};
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_int_equal(chmod(directory, 0755), 0);
    expect_failure(fixture, arguments, 1, "0755", directory);
    fixture->has_ended_well = true;
}

static void an_ipc_link_to_nobody_fails_at_once_and_says_where(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const arguments[] = {"--ipc", fixture->socket, NULL};
    netpool_error error = {0};
    struct link *link;
    assert_int_equal(ipc_link_connect(&link, fixture->context, fixture->socket, &error), NETPOOL_UNREACHABLE);
    assert_non_null(strstr(error.message, fixture->socket));
    broker_start(&fixture->broker, arguments, 0);
    assert_int_equal(broker_stop(&fixture->broker, SIGKILL), 128 + SIGKILL);
    assert_int_equal(ipc_link_connect(&link, fixture->context, fixture->socket, &error), NETPOOL_UNREACHABLE);
    assert_non_null(strstr(error.message, fixture->socket));
    fixture->has_ended_well = true;
}

static void the_end_of_the_broker_is_noticed_at_once_over_ipc(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const arguments[] = {"--ipc", fixture->socket, NULL};
    struct protocol_peer client;
    broker_start(&fixture->broker, arguments, 0);
    protocol_peer_connect_ipc(&client, fixture->context, NP__ROLE__CLIENT, fixture->socket);
    protocol_peer_enter(&client, NP__ROLE__CLIENT, 1);
    assert_int_equal(broker_stop(&fixture->broker, SIGKILL), 128 + SIGKILL);
    protocol_peer_expect_closed(&client);
    assert_int_equal(client.closed_status, NETPOOL_UNREACHABLE);
    assert_null(strstr(client.closed_reason, "nothing was heard")); /* as after some seconds */
    protocol_peer_close(&client);
    fixture->has_ended_well = true;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, broker_fixture_set_up, broker_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(wrong_usage_exits_with_2_and_names_the_option),
        TEST(missing_credentials_exit_with_2_and_name_the_option),
        TEST(credentials_may_come_from_the_environment),
        TEST(b29_unusable_keys_are_refused_and_named),
        TEST(a_tcp_address_in_use_is_refused_and_named),
        TEST(an_ipc_socket_in_use_is_refused_and_one_left_behind_is_replaced),
        TEST(an_ipc_path_that_is_no_socket_is_refused_and_kept),
        TEST(an_ipc_directory_open_to_others_is_refused),
        TEST(an_ipc_link_to_nobody_fails_at_once_and_says_where),
        TEST(the_end_of_the_broker_is_noticed_at_once_over_ipc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
