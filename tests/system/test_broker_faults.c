/* What netpool-broker does with connections that are not, or not yet, peers, and with peers that break the rules. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/protocol_peer.h"
#include "tests/system/broker_fixture.h"

/* Whoever must not wait for a deadline meets one beyond the patience of the test. */
static const char *const long_deadline[] = {"--handshake-timeout-ms", "60000", NULL};

static void say(int fd, const void *data, size_t size)
{
    assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), size);
}

/* An authenticated client's TLS connection, to say bytes that no channel would. */
struct raw_peer {
    SSL_CTX *context;
    SSL *ssl;
};

static void raw_peer_connect(struct raw_peer *peer, const struct broker_fixture *fixture)
{
    char cert[128];
    char key[128];
    (void)snprintf(cert, sizeof cert, "%s/client-c.pem", fixture->dir);
    (void)snprintf(key, sizeof key, "%s/client-c.key", fixture->dir);
    peer->context = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_use_certificate_file(peer->context, cert, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(peer->context, key, SSL_FILETYPE_PEM), 1);
    peer->ssl = SSL_new(peer->context);
    assert_int_equal(SSL_set_fd(peer->ssl, broker_fixture_connect(fixture)), 1);
    assert_int_equal(SSL_connect(peer->ssl), 1);
}

/* Waits until the broker has closed the connection. */
static void raw_peer_expect_cut(struct raw_peer *peer)
{
    char bytes[4096];
    struct timeval patience = {.tv_sec = 20};
    int fd = SSL_get_fd(peer->ssl);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    errno = 0;
    while (SSL_read(peer->ssl, bytes, sizeof bytes) > 0) {
    }
    assert_int_not_equal(errno, EAGAIN);
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->context);
    close(fd);
}

/* Is traffic as it should be? A client comes in and is welcomed. */
static void expect_service(struct broker_fixture *fixture)
{
    struct protocol_peer client;
    protocol_peer_connect_tls(&client, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_enter(&client, NP__ROLE__CLIENT, 9);
    protocol_peer_close(&client);
}

static void b20_garbage_and_plain_http_are_closed_at_once(void **state)
{
    struct broker_fixture *fixture = *state;
    const char http[] = "GET / HTTP/1.1\r\nHost: broker\r\n\r\n";
    uint8_t garbage[512];
    broker_fixture_start(fixture, long_deadline, 0);
    memset(garbage, 0xa5, sizeof garbage);
    int fd = broker_fixture_connect(fixture);
    say(fd, http, sizeof http - 1);
    expect_cut(fd);
    fd = broker_fixture_connect(fixture);
    say(fd, garbage, sizeof garbage);
    expect_cut(fd);
    broker_expect_log(&fixture->broker, "is refused");
    expect_service(fixture);
    broker_fixture_stop(fixture);
}

static void b20_a_flood_of_garbage_is_logged_at_a_limited_rate(void **state)
{
    enum { LINES_A_SECOND = 10 };
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    size_t lines = 0;
    broker_fixture_start(fixture, none, 0);
    int64_t begin = np_clock_now();
    for (int i = 0; i < 200; i++) {
        int fd = broker_fixture_connect(fixture);
        say(fd, "garbage\r\n\r\n", 11);
        expect_cut(fd);
    }
    size_t seconds = (size_t)((np_clock_now() - begin) / NP_NS_PER_S) + 2; /* begun ones */
    expect_service(fixture);
    broker_fixture_stop(fixture);
    for (const char *line = fixture->broker.log; (line = strstr(line, "is refused")) != NULL; line++) {
        lines++;
    }
    assert_in_range(lines, 1, LINES_A_SECOND * seconds);
}

static void b21_silent_connections_are_dropped_at_the_deadline(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const deadline[] = {"--handshake-timeout-ms", "700", NULL};
    broker_fixture_start(fixture, deadline, 0);
    int64_t begin = np_clock_now();
    int silent = broker_fixture_connect(fixture);
    int half = broker_fixture_connect(fixture);
    say(half, "\x16\x03\x01\x02\x00\x01\x00\x01", 8); /* a ClientHello begins so */
    expect_cut(silent);
    expect_cut(half);
    /* not before the deadline, and not as late as without the option */
    assert_in_range(np_clock_now() - begin, 699 * NP_NS_PER_MS, NP_HANDSHAKE_TIMEOUT_MS * NP_NS_PER_MS);
    broker_expect_log(&fixture->broker, "the handshake did not finish in time");
    broker_fixture_stop(fixture);
}

static void b21_no_hello_after_the_handshake_is_dropped_at_the_deadline(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const deadline[] = {"--hello-timeout-ms", "700", NULL};
    struct raw_peer peer;
    broker_fixture_start(fixture, deadline, 0);
    raw_peer_connect(&peer, fixture);
    raw_peer_expect_cut(&peer);
    broker_expect_log(&fixture->broker, "no hello in time");
    broker_fixture_stop(fixture);
}

static void b21_pending_connections_from_one_address_are_capped(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const caps[] = {"--max-pending-per-address", "3", "--handshake-timeout-ms", "20000", NULL};
    int pending[3];
    broker_fixture_start(fixture, caps, 0);
    for (int i = 0; i < 3; i++) {
        pending[i] = broker_fixture_connect(fixture);
    }
    expect_cut(broker_fixture_connect(fixture));
    broker_expect_log(&fixture->broker, "3 connections from this address are in handshake");
    close(pending[0]);
    close(pending[1]);
    close(pending[2]);
    broker_fixture_stop(fixture);
}

static void b21_pending_connections_in_all_are_capped_and_more_wait(void **state)
{
    struct broker_fixture *fixture = *state;
    /* long enough for the handshake of who waits, should the machine be slow */
    const char *const caps[] = {"--max-pending", "2", "--handshake-timeout-ms", "2500", NULL};
    broker_fixture_start(fixture, caps, 0);
    int first = broker_fixture_connect(fixture);
    int second = broker_fixture_connect(fixture);
    expect_service(fixture); /* waits in the queue until the deadline has made room */
    expect_cut(first);
    expect_cut(second);
    broker_fixture_stop(fixture);
}

static void b21_silent_connections_do_not_slow_the_peers_that_are_in(void **state)
{
    struct broker_fixture *fixture = *state;
    int silent[60];
    broker_fixture_start(fixture, long_deadline, 0);
    for (int i = 0; i < 60; i++) {
        silent[i] = broker_fixture_connect(fixture);
    }
    expect_service(fixture); /* long before their deadline */
    for (int i = 0; i < 60; i++) {
        close(silent[i]);
    }
    broker_fixture_stop(fixture);
}

static void refuse_prefix(struct broker_fixture *fixture, uint32_t header_size, uint32_t body_size)
{
    struct raw_peer peer;
    uint8_t prefix[8];
    for (unsigned i = 0; i < 4; i++) {
        prefix[i] = (uint8_t)(header_size >> (8 * i));
        prefix[4 + i] = (uint8_t)(body_size >> (8 * i));
    }
    raw_peer_connect(&peer, fixture);
    assert_int_equal(SSL_write(peer.ssl, prefix, sizeof prefix), sizeof prefix);
    raw_peer_expect_cut(&peer);
}

static void b18_bad_length_prefixes_close_the_link(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    broker_fixture_start(fixture, none, 0);
    refuse_prefix(fixture, 0, 0);
    refuse_prefix(fixture, NP_FRAME_HEADER_MAX + 1, 0);
    refuse_prefix(fixture, 1, NP_FRAME_BODY_MAX + 1);
    refuse_prefix(fixture, UINT32_MAX, UINT32_MAX);
    broker_expect_log(&fixture->broker, "PROTOCOL");
    expect_service(fixture);
    broker_fixture_stop(fixture);
}

static void expect_protocol_error(struct protocol_peer *peer)
{
    protocol_peer_expect_closed(peer);
    assert_int_equal(peer->closed_status, NETPOOL_PROTOCOL);
    protocol_peer_close(peer);
}

static void b23_a_message_that_the_role_may_not_send_closes_the_link(void **state)
{
    struct broker_fixture *fixture = *state;
    static const char *const gateways[][3] = {{"--gateways", "0", NULL}, {"--gateways", "1", NULL}};
    Np__Drain drain = NP__DRAIN__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_DRAIN;
    envelope.drain = &drain;
    for (size_t i = 0; i < 2; i++) {
        struct protocol_peer client;
        broker_fixture_start(fixture, gateways[i], 0);
        protocol_peer_connect_tls(&client, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
        protocol_peer_enter(&client, NP__ROLE__CLIENT, 1);
        protocol_peer_send(&client, &envelope, NULL, 0);
        expect_protocol_error(&client);
        broker_fixture_stop(fixture);
    }
}

static void b23_a_message_before_hello_closes_the_link(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    struct protocol_peer client;
    Np__StatusRequest request = NP__STATUS_REQUEST__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_STATUS_REQUEST;
    envelope.status_request = &request;
    broker_fixture_start(fixture, none, 0);
    protocol_peer_connect_tls(&client, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_send(&client, &envelope, NULL, 0);
    expect_protocol_error(&client);
    broker_fixture_stop(fixture);
}

static void b23_a_hello_in_another_role_than_the_certificates_is_refused(void **state)
{
    struct broker_fixture *fixture = *state;
    const char *const none[] = {NULL};
    struct protocol_peer client;
    broker_fixture_start(fixture, none, 0);
    protocol_peer_connect_tls(&client, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_hello(&client, NP__ROLE__WORKER, 1);
    protocol_peer_expect_closed(&client);
    assert_int_equal(client.closed_status, NETPOOL_REFUSED);
    protocol_peer_close(&client);
    broker_fixture_stop(fixture);
}

/* `descriptors` is all the broker has: more connections than that wait, those that are in go on, nothing spins. */
static void run_out_of_descriptors(struct broker_fixture *fixture, unsigned descriptors, const char *complaint)
{
    const char *const none[] = {NULL};
    struct protocol_peer client;
    int waiting[60];
    broker_fixture_start(fixture, none, descriptors);
    protocol_peer_connect_tls(&client, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_enter(&client, NP__ROLE__CLIENT, 1);
    for (int i = 0; i < 60; i++) {
        waiting[i] = broker_fixture_connect(fixture);
    }
    broker_expect_log(&fixture->broker, complaint);
    long before = broker_cpu_ms(&fixture->broker);
    protocol_peer_run_until(&client, np_clock_now() + 2 * NP_NS_PER_S);
    assert_in_range(broker_cpu_ms(&fixture->broker) - before, 0, 700); /* one that spins takes all of it */
    assert_false(client.is_closed);
    for (int i = 0; i < 60; i++) {
        close(waiting[i]);
    }
    expect_service(fixture);
    protocol_peer_close(&client);
    broker_fixture_stop(fixture);
}

static void b17_connections_over_the_descriptor_limit_wait(void **state)
{
    run_out_of_descriptors(*state, 40, "as many as the limit of open files");
}

static void b17_without_descriptors_accepting_pauses_and_peers_go_on(void **state)
{
    run_out_of_descriptors(*state, 20, "new connections wait");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, broker_fixture_set_up, broker_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(b20_garbage_and_plain_http_are_closed_at_once),
        TEST(b20_a_flood_of_garbage_is_logged_at_a_limited_rate),
        TEST(b21_silent_connections_are_dropped_at_the_deadline),
        TEST(b21_no_hello_after_the_handshake_is_dropped_at_the_deadline),
        TEST(b21_pending_connections_from_one_address_are_capped),
        TEST(b21_pending_connections_in_all_are_capped_and_more_wait),
        TEST(b21_silent_connections_do_not_slow_the_peers_that_are_in),
        TEST(b18_bad_length_prefixes_close_the_link),
        TEST(b23_a_message_that_the_role_may_not_send_closes_the_link),
        TEST(b23_a_message_before_hello_closes_the_link),
        TEST(b23_a_hello_in_another_role_than_the_certificates_is_refused),
        TEST(b17_connections_over_the_descriptor_limit_wait),
        TEST(b17_without_descriptors_accepting_pauses_and_peers_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
