/*
 * Who is not let in, and that both sides are told why: the one that refuses in its own words (its log), the refused
 * one through the TLS alert (its user's error).
 */
#include "tests/support/cmocka_all.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/ca/authority.h"
#include "tests/system/tls_pair.h"
#include "transport/identity.h"
#include "transport/tls/context.h"
#include "transport/tls/reason.h"

#define DAY_S 86400

struct fixture {
    struct tls_ground ground;
    struct tls_ground foreign; /* another CA of a pool of the same name */
    struct tls_context *broker;
    struct tls_context *worker;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    tls_ground_init(&fixture->ground);
    tls_ground_init(&fixture->foreign);
    fixture->broker = tls_ground_context(&fixture->ground, "broker-main", NP__ROLE__BROKER, "crl.pem");
    fixture->worker = tls_ground_context(&fixture->ground, "worker-w1", NP__ROLE__WORKER, NULL);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    tls_context_destroy(&fixture->worker);
    tls_context_destroy(&fixture->broker);
    tls_ground_fini(&fixture->foreign);
    tls_ground_fini(&fixture->ground);
    free(fixture);
    return 0;
}

/* Gives a context a certificate that it would never have loaded. */
static void wear(struct tls_context *context, const struct odd_authority *authority,
                 const struct certificate_plan *plan)
{
    X509 *certificate = NULL;
    EVP_PKEY *key = NULL;
    assert_true(odd_certificate_new(authority, plan, &certificate, &key));
    assert_int_equal(SSL_CTX_use_cert_and_key(context->ssl, certificate, key, NULL, 1), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

enum spoiled { BROKER_SIDE, WORKER_SIDE };

/* One side wears the spoiled certificate: the other refuses it with `reason`, and itself hears `verdict`. */
static void expect_refusal(struct fixture *fixture, enum spoiled side, const char *host, const char *reason,
                           const char *verdict)
{
    struct tls_pair pair;
    tls_pair_open(&pair, &fixture->ground, fixture->broker, fixture->worker, host);
    const struct tls_end *refusing = side == BROKER_SIDE ? &pair.peer : &pair.broker;
    const struct tls_end *refused = side == BROKER_SIDE ? &pair.broker : &pair.peer;
    if (strstr(refusing->message, reason) == NULL || strstr(refused->message, verdict) == NULL) {
        print_message("refusing: %s\nrefused:  %s\n", refusing->message, refused->message);
    }
    assert_non_null(strstr(refusing->message, reason));
    assert_int_equal(refusing->status, NETPOOL_CREDENTIALS);
    assert_false(refusing->established);
    assert_non_null(strstr(refusing->message, "127.0.0.1:"));
    assert_non_null(strstr(refused->message, verdict));
    assert_int_equal(refused->status, NETPOOL_REFUSED);
    assert_int_equal(refusing->link->peer.role, NP__ROLE__NONE);
    tls_pair_close(&pair);
}

static void spoil(struct fixture *fixture, enum spoiled side, const struct certificate_plan *plan, const char *reason,
                  const char *verdict)
{
    wear(side == BROKER_SIDE ? fixture->broker : fixture->worker, &fixture->ground.authority, plan);
    expect_refusal(fixture, side, "127.0.0.1", reason, verdict);
}

static struct certificate_plan plan_for(enum spoiled side, const char *pool, char uri[192], const char *uris[1])
{
    return side == BROKER_SIDE ? odd_plan(NP__ROLE__BROKER, pool, "main", uri, uris)
                               : odd_plan(NP__ROLE__WORKER, pool, "w1", uri, uris);
}

static void b25_expired_certificate_is_refused(void **state)
{
    for (int side = BROKER_SIDE; side <= WORKER_SIDE; side++) {
        char uri[192];
        const char *uris[1];
        struct certificate_plan plan = plan_for((enum spoiled)side, "lab", uri, uris);
        plan.valid_from_s = -2 * DAY_S;
        plan.valid_for_s = DAY_S;
        spoil(*state, (enum spoiled)side, &plan, "has expired", "refused our certificate: expired");
        tear_down(state);
        set_up(state);
    }
}

static void b25_certificate_not_yet_valid_is_refused(void **state)
{
    for (int side = BROKER_SIDE; side <= WORKER_SIDE; side++) {
        char uri[192];
        const char *uris[1];
        struct certificate_plan plan = plan_for((enum spoiled)side, "lab", uri, uris);
        plan.valid_from_s = DAY_S;
        spoil(*state, (enum spoiled)side, &plan, "is not yet valid", "refused our certificate: bad");
        tear_down(state);
        set_up(state);
    }
}

static void b25_certificate_of_another_ca_is_refused(void **state)
{
    for (int side = BROKER_SIDE; side <= WORKER_SIDE; side++) {
        struct fixture *fixture = *state;
        char uri[192];
        const char *uris[1];
        struct certificate_plan plan = plan_for((enum spoiled)side, "lab", uri, uris);
        wear(side == BROKER_SIDE ? fixture->broker : fixture->worker, &fixture->foreign.authority, &plan);
        expect_refusal(fixture, (enum spoiled)side, "127.0.0.1", "is signed by an unknown CA",
                       "refused our certificate: signed by an unknown CA");
        tear_down(state);
        set_up(state);
    }
}

static void b25_wrong_extended_key_usage_is_refused(void **state)
{
    static const struct {
        enum spoiled side;
        bool server;
        bool client;
        const char *reason;
    } rows[] = {
        {BROKER_SIDE, false, true, "no serverAuth"},
        {BROKER_SIDE, false, false, "has no extended key usage"},
        {WORKER_SIDE, true, false, "no clientAuth"},
        {WORKER_SIDE, false, false, "has no extended key usage"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char uri[192];
        const char *uris[1];
        struct certificate_plan plan = plan_for(rows[i].side, "lab", uri, uris);
        plan.server_auth = rows[i].server;
        plan.client_auth = rows[i].client;
        spoil(*state, rows[i].side, &plan, rows[i].reason, "refused our certificate: not meant for this use");
        tear_down(state);
        set_up(state);
    }
}

static void b25_wrong_role_is_refused(void **state)
{
    char uri[192];
    const char *uris[1];
    struct certificate_plan plan = plan_for(BROKER_SIDE, "lab", uri, uris);
    (void)snprintf(uri, sizeof uri, "netpool://lab/worker/w1");
    spoil(*state, BROKER_SIDE, &plan, "has role worker, expected broker", "refused our certificate: bad");
    tear_down(state);
    set_up(state);
    plan = plan_for(WORKER_SIDE, "lab", uri, uris);
    (void)snprintf(uri, sizeof uri, "netpool://lab/broker/main");
    spoil(*state, WORKER_SIDE, &plan, "has role broker, expected worker, client or admin",
          "refused our certificate: bad");
}

static void b25_identities_other_than_one_uri_are_refused(void **state)
{
    static const char *const two[] = {"netpool://lab/worker/w1", "netpool://lab/admin/root"};
    static const char *const malformed[] = {"netpool://lab/worker/w1/x"};
    static const struct {
        const char *const *uris;
        size_t count;
        const char *reason;
    } rows[] = {
        {NULL, 0, "no URI SAN"}, {two, 2, "2 URI SANs"}, {malformed, 1, "identity 'netpool://lab/worker/w1/x'"}};
    for (int side = BROKER_SIDE; side <= WORKER_SIDE; side++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            char uri[192];
            const char *uris[1];
            struct certificate_plan plan = plan_for((enum spoiled)side, "lab", uri, uris);
            plan.common_name = "netpool://lab/worker/w1"; /* must count for nothing */
            plan.uris = rows[i].uris;
            plan.uri_count = rows[i].count;
            spoil(*state, (enum spoiled)side, &plan, rows[i].reason, "refused our certificate: bad");
            tear_down(state);
            set_up(state);
        }
    }
}

static void b25_other_pool_is_refused(void **state)
{
    for (int side = BROKER_SIDE; side <= WORKER_SIDE; side++) {
        char uri[192];
        const char *uris[1];
        struct certificate_plan plan = plan_for((enum spoiled)side, "Lab", uri, uris);
        spoil(*state, (enum spoiled)side, &plan, "is for pool Lab, ours is lab", "refused our certificate: bad");
        tear_down(state);
        set_up(state);
    }
}

static void b25_wrong_host_name_is_refused(void **state)
{
    static const char *const names[][1] = {{"broker.example"}, {"127.0.0.2"}, {"l*host"}, {"*"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char uri[192];
        const char *uris[1];
        struct fixture *fixture = *state;
        struct certificate_plan plan = plan_for(BROKER_SIDE, "lab", uri, uris);
        plan.common_name = "localhost";
        plan.hosts = names[i];
        plan.host_count = certificate_host_is_valid(names[i][0]) ? 1 : 0;
        wear(fixture->broker, &fixture->ground.authority, &plan);
        expect_refusal(fixture, BROKER_SIDE, "127.0.0.1", "is not for host 127.0.0.1",
                       "refused our certificate: bad");
        expect_refusal(fixture, BROKER_SIDE, "localhost", "is not for host localhost",
                       "refused our certificate: bad");
        tear_down(state);
        set_up(state);
    }
}

static void b25_host_in_the_certificate_is_accepted(void **state)
{
    struct fixture *fixture = *state;
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    char uri[192];
    const char *uris[1];
    struct certificate_plan plan = plan_for(BROKER_SIDE, "lab", uri, uris);
    plan.hosts = hosts;
    plan.host_count = 2;
    wear(fixture->broker, &fixture->ground.authority, &plan);
    for (size_t i = 0; i < 2; i++) {
        struct tls_pair pair;
        tls_pair_open(&pair, &fixture->ground, fixture->broker, fixture->worker, hosts[i]);
        assert_true(pair.peer.established && pair.broker.established);
        tls_pair_close(&pair);
    }
}

static void revoke_name(const struct tls_ground *ground, const char *name)
{
    size_t count = 0;
    struct ca_terms terms = {0};
    struct ca_selection selection = {.name = name};
    assert_int_equal(ca_revoke(ground->dir, &selection, &terms, &count, NULL), NETPOOL_OK);
    assert_int_equal(count, 1);
}

static void b26_revoked_certificate_is_refused_after_a_reload(void **state)
{
    struct fixture *fixture = *state;
    uint64_t serial = tls_context_identity(fixture->worker)->serial;
    assert_false(tls_context_is_revoked(fixture->broker, serial));
    struct tls_pair before;
    tls_pair_open(&before, &fixture->ground, fixture->broker, fixture->worker, "127.0.0.1");
    assert_true(before.broker.established);
    revoke_name(&fixture->ground, "w1");
    revoke_name(&fixture->ground, "a1");
    tls_context_destroy(&fixture->broker); /* the link of before goes on without it */
    fixture->broker = tls_ground_context(&fixture->ground, "broker-main", NP__ROLE__BROKER, "crl.pem");
    assert_true(tls_context_is_revoked(fixture->broker, before.broker.link->peer.serial));
    assert_true(tls_context_is_revoked(fixture->broker, serial));
    assert_false(tls_context_is_revoked(fixture->broker, serial + 1));
    tls_pair_close(&before);
    expect_refusal(fixture, WORKER_SIDE, "127.0.0.1", "has been revoked", "refused our certificate: revoked");
    tls_context_destroy(&fixture->worker);
    fixture->worker = tls_ground_context(&fixture->ground, "client-c1", NP__ROLE__CLIENT, NULL);
    struct tls_pair pair;
    tls_pair_open(&pair, &fixture->ground, fixture->broker, fixture->worker, "127.0.0.1");
    assert_true(pair.broker.established);
    tls_pair_close(&pair);
}

/* A TLS 1.3 client is done before the broker has decided: what it writes then meets a socket that is closed already.
 */
static void verdict_is_heard_although_bytes_were_sent_before_it(void **state)
{
    struct fixture *fixture = *state;
    revoke_name(&fixture->ground, "w1");
    tls_context_destroy(&fixture->broker);
    fixture->broker = tls_ground_context(&fixture->ground, "broker-main", NP__ROLE__BROKER, "crl.pem");
    struct tls_pair pair;
    tls_pair_run(&pair, &fixture->ground, fixture->broker, fixture->worker, "127.0.0.1");
    assert_true(pair.peer.established && !pair.broker.established);
    uint8_t data[20000] = {0};
    const struct iovec part = {data, sizeof data};
    size_t taken;
    struct link *peer = pair.peer.link;
    assert_int_equal(peer->operations->write(peer, &part, 1, &taken, NULL), NETPOOL_OK);
    pair.broker.link->operations->destroy(pair.broker.link);
    pair.broker.link = NULL;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(peer->operations->write(peer, &part, 1, &taken, NULL), NETPOOL_OK);
    }
    netpool_status status = NETPOOL_OK;
    netpool_error error = {0};
    while (status == NETPOOL_OK) {
        size_t got;
        status = tls_end_read(&pair.peer, data, sizeof data, &got, &error);
    }
    assert_int_equal(status, NETPOOL_REFUSED);
    assert_non_null(strstr(error.message, "refused our certificate: revoked"));
    tls_pair_close(&pair);
}

/* Runs the broker's end against raw bytes until it gives up. */
static netpool_status feed(struct fixture *fixture, const void *bytes, size_t size, bool then_close,
                           netpool_error *error)
{
    int raw;
    struct tls_end end = {.link = tls_ground_accept(&fixture->ground, fixture->broker, &raw)};
    assert_int_equal(send(raw, bytes, size, MSG_NOSIGNAL), size);
    if (then_close) {
        assert_int_equal(shutdown(raw, SHUT_WR), 0);
    }
    netpool_status status = NETPOOL_OK;
    int calls = 0;
    while (status == NETPOOL_OK) {
        tls_end_wait(&end, false);
        status = end.link->operations->establish(end.link, &end.established, error);
        assert_false(end.established);
        calls++;
    }
    assert_true(calls <= 2); /* refused with the first bytes, nothing is collected */
    end.link->operations->destroy(end.link);
    assert_int_equal(close(raw), 0);
    return status;
}

static void b20_plain_http_and_garbage_are_refused_at_once(void **state)
{
    netpool_error error = {0};
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_int_equal(feed(*state, http, sizeof http - 1, false, &error), NETPOOL_PROTOCOL);
    assert_non_null(strstr(error.message, "plain HTTP request"));
    uint8_t garbage[512];
    memset(garbage, 0xa5, sizeof garbage);
    assert_int_equal(feed(*state, garbage, sizeof garbage, false, &error), NETPOOL_PROTOCOL);
    assert_non_null(strstr(error.message, "does not speak TLS"));
    static const uint8_t half_hello[] = {22, 3, 1, 2, 0, 1, 0, 1, 252};
    assert_int_equal(feed(*state, half_hello, sizeof half_hello, true, &error), NETPOOL_UNREACHABLE);
    assert_non_null(strstr(error.message, "during the TLS handshake"));
    static const uint8_t oversized[] = {22, 3, 1, 0xff, 0xff, 1, 0, 0, 0};
    assert_int_equal(feed(*state, oversized, sizeof oversized, false, &error), NETPOOL_PROTOCOL);
}

/* Runs a raw OpenSSL client against the broker; returns the broker's error. */
static void raw_client(struct fixture *fixture, SSL_CTX *context, netpool_error *error, unsigned long *client_error)
{
    int raw;
    struct tls_end end = {.link = tls_ground_accept(&fixture->ground, fixture->broker, &raw)};
    SSL *ssl = SSL_new(context);
    assert_int_equal(SSL_set_fd(ssl, raw), 1);
    SSL_set_connect_state(ssl);
    netpool_status status = NETPOOL_OK;
    while (status == NETPOOL_OK) {
        ERR_clear_error();
        (void)SSL_do_handshake(ssl);
        tls_end_wait(&end, false);
        status = end.link->operations->establish(end.link, &end.established, error);
        assert_false(end.established);
    }
    end.link->operations->destroy(end.link);
    ERR_clear_error();
    char byte;
    (void)SSL_read(ssl, &byte, 1);
    *client_error = ERR_peek_error();
    ERR_clear_error();
    SSL_free(ssl);
    assert_int_equal(close(raw), 0);
}

static void b20_tls_1_2_and_no_certificate_are_refused(void **state)
{
    SSL_CTX *old = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION), 1);
    netpool_error error = {0};
    unsigned long heard;
    raw_client(*state, old, &error, &heard);
    SSL_CTX_free(old);
    assert_int_equal(error.status, NETPOOL_PROTOCOL);
    assert_non_null(strstr(error.message, "does not speak TLS 1.3"));
    assert_int_equal(ERR_GET_REASON(heard), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);

    SSL_CTX *anonymous = SSL_CTX_new(TLS_client_method());
    raw_client(*state, anonymous, &error, &heard);
    SSL_CTX_free(anonymous);
    assert_non_null(strstr(error.message, "sent no certificate"));
    bool is_alert;
    struct tls_reason reason = tls_reason_of_error(heard, &is_alert);
    assert_true(is_alert);
    assert_non_null(strstr(reason.text, "a certificate is required"));
}

static void errors_of_the_host_program_do_not_confuse_a_link(void **state)
{
    struct fixture *fixture = *state;
    ERR_raise(ERR_LIB_SSL, SSL_R_WRONG_VERSION_NUMBER); /* left behind by a program that uses OpenSSL itself */
    struct tls_pair pair;
    tls_pair_open(&pair, &fixture->ground, fixture->broker, fixture->worker, "127.0.0.1");
    assert_true(pair.peer.established && pair.broker.established);
    tls_pair_close(&pair);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(b25_expired_certificate_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b25_certificate_not_yet_valid_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b25_certificate_of_another_ca_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b25_wrong_extended_key_usage_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b25_wrong_role_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b25_identities_other_than_one_uri_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b25_other_pool_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b25_wrong_host_name_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b25_host_in_the_certificate_is_accepted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b26_revoked_certificate_is_refused_after_a_reload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(verdict_is_heard_although_bytes_were_sent_before_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b20_plain_http_and_garbage_are_refused_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(b20_tls_1_2_and_no_certificate_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_of_the_host_program_do_not_confuse_a_link, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
