/* The broker's port is real TLS 1.3 with certificates on both sides: openssl's own client can talk to it, and whoever
 * must not come in is refused with the reason in the broker's log. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/ca/authority.h"
#include "common/clock.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/odd_certificate.h"
#include "tests/support/protocol_peer.h"
#include "tests/system/broker_fixture.h"

enum { OUTPUT_SIZE = 32768, PATIENCE_MS = 20000 };

/* Runs `openssl s_client` against the broker with DIR/STEM.pem and DIR/STEM.key ("" = no certificate) and `option`;
 * returns its exit status. It stays connected until the broker closes. */
static int s_client(const struct broker_fixture *fixture, const char *stem, const char *option, char *output)
{
    char command[1024];
    char files[400] = "";
    if (stem[0] != '\0') {
        (void)snprintf(files, sizeof files, "-cert %s/%s.pem -key %s/%s.key", fixture->dir, stem, fixture->dir, stem);
    }
    (void)snprintf(command, sizeof command,
                   "exec openssl s_client -connect 127.0.0.1:%s -CAfile %s -verify_return_error -ign_eof %s %s "
                   "< /dev/null 2>&1",
                   fixture->broker.port, fixture->ca, files, option);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    size_t size = fread(output, 1, OUTPUT_SIZE - 1, pipe);
    output[size] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void s_client_with_a_client_certificate_completes_tls_1_3(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const more[] = {"--hello-timeout-ms", "300", NULL};
    char output[OUTPUT_SIZE];
    broker_fixture_start(fixture, more, 0);
    (void)s_client(fixture, "client-c", "-tls1_3", output);
    assert_non_null(strstr(output, "TLSv1.3"));
    assert_non_null(strstr(output, "TLS_AES_128_GCM_SHA256"));
    assert_non_null(strstr(output, "Verify return code: 0 (ok)"));
    broker_expect_log(&fixture->broker, "no hello in time"); /* so the handshake was done on our side, too */
    broker_fixture_stop(fixture);
}

static void expect_refused(struct broker_fixture *fixture, const char *stem, const char *option, const char *reason)
{
    char output[OUTPUT_SIZE];
    assert_int_not_equal(s_client(fixture, stem, option, output), 0);
    broker_expect_log(&fixture->broker, reason);
}

static void b20_tls_1_2_is_refused_with_the_reason_in_the_log(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    broker_fixture_start(fixture, none, 0);
    expect_refused(fixture, "client-c", "-tls1_2", "is refused: ");
    broker_fixture_stop(fixture);
    assert_non_null(strstr(fixture->broker.log, "TLS"));
}

static void b25_no_certificate_is_refused_with_the_reason_in_the_log(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    broker_fixture_start(fixture, none, 0);
    expect_refused(fixture, "", "", "certificate");
    broker_fixture_stop(fixture);
}

static void write_odd(struct broker_fixture *fixture, const struct certificate_plan *plan, const char *stem)
{
    struct odd_authority authority;
    assert_true(odd_authority_open(&authority, fixture->dir));
    assert_true(odd_certificate_write(&authority, plan, fixture->dir, stem));
    odd_authority_fini(&authority);
}

static void b25_wrong_certificates_are_refused_with_the_reason_in_the_log(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    char uri[192];
    const char *uris[1];
    struct certificate_plan plan = odd_plan(NP__ROLE__CLIENT, "test", "old", uri, uris);
    plan.valid_from_s = -7200;
    plan.valid_for_s = 3600;
    write_odd(fixture, &plan, "expired");
    plan = odd_plan(NP__ROLE__CLIENT, "test", "two", uri, uris);
    const char *two[] = {uris[0], "netpool://test/client/other"};
    plan.uris = two;
    plan.uri_count = 2;
    write_odd(fixture, &plan, "two");
    plan = odd_plan(NP__ROLE__CLIENT, "test", "none", uri, uris);
    plan.uri_count = 0;
    write_odd(fixture, &plan, "none");
    plan = odd_plan(NP__ROLE__BROKER, "test", "false", uri, uris);
    plan.server_auth = plan.client_auth = true; /* the role alone is wrong */
    write_odd(fixture, &plan, "role");
    broker_fixture_start(fixture, none, 0);
    expect_refused(fixture, "expired", "", "expired");
    expect_refused(fixture, "two", "", "2 URI");
    expect_refused(fixture, "none", "", "no URI");
    expect_refused(fixture, "role", "", "role");
    broker_fixture_stop(fixture);
}

static void b25_a_certificate_of_another_ca_is_refused_with_the_reason_in_the_log(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    char other[96];
    (void)snprintf(other, sizeof other, "%s/other", fixture->dir);
    assert_int_equal(ca_init(other, "test", NULL), NETPOOL_OK);
    assert_int_equal(ca_issue(other, NP__ROLE__CLIENT, "c", NULL, 0, NULL), NETPOOL_OK);
    broker_fixture_start(fixture, none, 0);
    expect_refused(fixture, "other/client-c", "", "is refused: ");
    broker_fixture_stop(fixture);
    assert_non_null(strstr(fixture->broker.log, "CA"));
}

static void cut_a_revoked_peer(struct broker_fixture *fixture, const char *gateways)
{
    const char *const more[] = {"--crl", fixture->crl, "--gateways", gateways, NULL};
    struct ca_selection selection = {.name = "c", .role = NP__ROLE__CLIENT};
    struct ca_terms terms = {0};
    struct protocol_peer client;
    struct protocol_peer worker;
    size_t count;
    broker_fixture_start(fixture, more, 0);
    protocol_peer_connect_tls(&client, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_connect_tls(&worker, fixture->dir, NP__ROLE__WORKER, "w", fixture->broker.port);
    protocol_peer_enter(&client, NP__ROLE__CLIENT, 1);
    protocol_peer_enter(&worker, NP__ROLE__WORKER, 2);
    assert_int_equal(ca_revoke(fixture->dir, &selection, &terms, &count, NULL), NETPOOL_OK);
    int64_t reloaded = np_clock_now();
    assert_int_equal(kill(fixture->broker.pid, SIGHUP), 0);
    protocol_peer_expect_closed(&client);
    assert_int_equal(client.closed_status, NETPOOL_CREDENTIALS);
    assert_true(np_clock_now() - reloaded < 5 * NP_NS_PER_S);
    protocol_peer_run_until(&worker, np_clock_now() + 100 * NP_NS_PER_MS);
    assert_false(worker.is_closed);
    expect_refused(fixture, "client-c", "", "revoked");
    protocol_peer_close(&client);
    protocol_peer_close(&worker);
    broker_fixture_stop(fixture);
}

static void b26_sighup_cuts_a_revoked_peer_of_the_cores_thread(void **state)
{
    cut_a_revoked_peer(*state, "0");
}

static void b26_sighup_cuts_a_revoked_peer_of_a_gateway_thread(void **state)
{
    cut_a_revoked_peer(*state, "2");
}

static void b29_a_reload_with_a_wrong_key_keeps_the_old_pair(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    struct protocol_peer client;
    char other[128];
    broker_fixture_start(fixture, none, 0);
    (void)snprintf(other, sizeof other, "%s/worker-w.key", fixture->dir);
    assert_int_equal(rename(other, fixture->key), 0);
    assert_int_equal(kill(fixture->broker.pid, SIGHUP), 0);
    broker_expect_log(&fixture->broker, "the old certificates stay in use");
    protocol_peer_connect_tls(&client, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_enter(&client, NP__ROLE__CLIENT, 1);
    protocol_peer_close(&client);
    broker_fixture_stop(fixture);
}

static void b28_a_new_certificate_is_used_after_sighup_and_peers_stay(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    const char *hosts[] = {"127.0.0.1"};
    struct ca_terms terms = {.replace = true};
    struct protocol_peer before;
    struct protocol_peer after;
    broker_fixture_start(fixture, none, 0);
    protocol_peer_connect_tls(&before, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_enter(&before, NP__ROLE__CLIENT, 1);
    assert_int_equal(ca_issue_with(fixture->dir, NP__ROLE__BROKER, "b", hosts, 1, &terms, NULL), NETPOOL_OK);
    assert_int_equal(kill(fixture->broker.pid, SIGHUP), 0);
    broker_expect_log(&fixture->broker, "certificates reloaded");
    protocol_peer_connect_tls(&after, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_enter(&after, NP__ROLE__CLIENT, 2);
    protocol_peer_run_until(&before, np_clock_now() + 100 * NP_NS_PER_MS);
    assert_false(before.is_closed);
    protocol_peer_close(&before);
    protocol_peer_close(&after);
    broker_fixture_stop(fixture);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, broker_fixture_set_up, broker_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(s_client_with_a_client_certificate_completes_tls_1_3),
        TEST(b20_tls_1_2_is_refused_with_the_reason_in_the_log),
        TEST(b25_no_certificate_is_refused_with_the_reason_in_the_log),
        TEST(b25_wrong_certificates_are_refused_with_the_reason_in_the_log),
        TEST(b25_a_certificate_of_another_ca_is_refused_with_the_reason_in_the_log),
        TEST(b26_sighup_cuts_a_revoked_peer_of_the_cores_thread),
        TEST(b26_sighup_cuts_a_revoked_peer_of_a_gateway_thread),
        TEST(b29_a_reload_with_a_wrong_key_keeps_the_old_pair),
        TEST(b28_a_new_certificate_is_used_after_sighup_and_peers_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
