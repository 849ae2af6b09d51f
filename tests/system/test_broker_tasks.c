/* netpool-broker hands tasks from clients to workers and results back: over TLS served by the core's own thread, over
 * TLS served by gateway threads, and over ipc. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/protocol_peer.h"
#include "tests/system/broker_fixture.h"

static void start(struct broker_fixture *fixture, const char *gateways)
{
    const char *more[] = {"--ipc", fixture->socket, "--gateways", gateways, NULL};
    broker_fixture_start(fixture, more, 0);
}

static void submit(struct protocol_peer *client, uint64_t first, size_t count, const uint8_t *payload, size_t size)
{
    uint64_t seqs[64];
    uint32_t sizes[64];
    uint8_t *body = malloc(count * size);
    assert_non_null(body);
    for (size_t i = 0; i < count; i++) {
        seqs[i] = first + i;
        sizes[i] = (uint32_t)size;
        memcpy(body + i * size, payload, size);
    }
    Np__Submit message = NP__SUBMIT__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    message.function = (char *)"double";
    message.n_seqs = message.n_sizes = count;
    message.seqs = seqs;
    message.sizes = sizes;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &message;
    protocol_peer_send(client, &envelope, body, count * size);
    free(body);
}

/* Takes assignments until `count` tasks have come, and answers each with its payload. */
static void echo(struct protocol_peer *worker, size_t count)
{
    while (count > 0) {
        struct protocol_message *assign = protocol_peer_expect(worker, NP__ENVELOPE__KIND_ASSIGN);
        const Np__Assign *tasks = assign->envelope->assign;
        assert_string_equal(tasks->function, "double");
        Np__Results results = NP__RESULTS__INIT;
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        uint64_t compute_ns[64] = {0};
        assert_true(tasks->n_seqs <= count && tasks->n_seqs <= 64);
        results.session = tasks->session;
        results.epoch = worker->epoch;
        results.n_seqs = results.n_sizes = results.n_compute_ns = tasks->n_seqs;
        results.seqs = tasks->seqs;
        results.sizes = tasks->sizes;
        results.compute_ns = compute_ns;
        envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
        envelope.results = &results;
        protocol_peer_send(worker, &envelope, assign->body, assign->body_size);
        count -= tasks->n_seqs;
        protocol_message_destroy(assign);
    }
}

/* Takes results until `count` have come; each is of `size` bytes and has the payload. */
static void collect(struct protocol_peer *client, size_t count, const uint8_t *payload, size_t size)
{
    while (count > 0) {
        struct protocol_message *message = protocol_peer_expect(client, NP__ENVELOPE__KIND_RESULTS);
        const Np__Results *results = message->envelope->results;
        assert_true(results->n_seqs <= count);
        assert_int_equal(message->body_size, results->n_seqs * size);
        for (size_t i = 0; i < results->n_seqs; i++) {
            assert_memory_equal(message->body + i * size, payload, size);
        }
        count -= results->n_seqs;
        protocol_message_destroy(message);
    }
}

static void run_tasks(struct protocol_peer *client, struct protocol_peer *worker)
{
    enum { LARGE = 3 * 1024 * 1024 + 17 };
    uint8_t *large = malloc(LARGE);
    assert_non_null(large);
    for (size_t i = 0; i < LARGE; i++) {
        large[i] = (uint8_t)(i * 2654435761U >> 7);
    }
    protocol_peer_enter(worker, NP__ROLE__WORKER, 2);
    protocol_peer_enter(client, NP__ROLE__CLIENT, 1);
    submit(client, 1, 40, large, 16);
    echo(worker, 40);
    collect(client, 40, large, 16);
    submit(client, 41, 1, large, LARGE);
    echo(worker, 1);
    collect(client, 1, large, LARGE);
    free(large);
}

static void run_over_tls(struct broker_fixture *fixture, const char *gateways)
{
    struct protocol_peer client;
    struct protocol_peer worker;
    start(fixture, gateways);
    protocol_peer_connect_tls(&client, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_connect_tls(&worker, fixture->dir, NP__ROLE__WORKER, "w", fixture->broker.port);
    run_tasks(&client, &worker);
    protocol_peer_close(&client);
    protocol_peer_close(&worker);
    broker_fixture_stop(fixture);
}

static void tasks_run_over_tls_in_the_cores_own_thread(void **state)
{
    run_over_tls(*state, "0");
}

static void tasks_run_over_tls_through_two_gateway_threads(void **state)
{
    run_over_tls(*state, "2");
}

static void tasks_run_over_ipc(void **state)
{
    struct broker_fixture *fixture = *state;
    struct protocol_peer client;
    struct protocol_peer worker;
    start(fixture, "0");
    protocol_peer_connect_ipc(&client, fixture->context, NP__ROLE__CLIENT, fixture->socket);
    protocol_peer_connect_ipc(&worker, fixture->context, NP__ROLE__WORKER, fixture->socket);
    run_tasks(&client, &worker);
    protocol_peer_close(&client);
    protocol_peer_close(&worker);
    broker_fixture_stop(fixture);
}

static void a_client_over_ipc_uses_a_worker_over_tls(void **state)
{
    struct broker_fixture *fixture = *state;
    struct protocol_peer client;
    struct protocol_peer worker;
    start(fixture, "1");
    protocol_peer_connect_ipc(&client, fixture->context, NP__ROLE__CLIENT, fixture->socket);
    protocol_peer_connect_tls(&worker, fixture->dir, NP__ROLE__WORKER, "w", fixture->broker.port);
    run_tasks(&client, &worker);
    protocol_peer_close(&client);
    protocol_peer_close(&worker);
    broker_fixture_stop(fixture);
}

/* The task of a worker whose ipc connection is gone is given to another at once, and not because it was silent. */
static void the_end_of_an_ipc_worker_is_noticed_at_once(void **state)
{
    struct broker_fixture *fixture = *state;
    struct protocol_peer client;
    struct protocol_peer lost;
    struct protocol_peer worker;
    const uint8_t payload[16] = "sixteen bytes ..";
    start(fixture, "0");
    protocol_peer_connect_ipc(&client, fixture->context, NP__ROLE__CLIENT, fixture->socket);
    protocol_peer_connect_ipc(&lost, fixture->context, NP__ROLE__WORKER, fixture->socket);
    protocol_peer_connect_ipc(&worker, fixture->context, NP__ROLE__WORKER, fixture->socket);
    protocol_peer_enter(&lost, NP__ROLE__WORKER, 2);
    protocol_peer_enter(&client, NP__ROLE__CLIENT, 1);
    submit(&client, 1, 1, payload, sizeof payload);
    protocol_message_destroy(protocol_peer_expect(&lost, NP__ENVELOPE__KIND_ASSIGN));
    protocol_peer_enter(&worker, NP__ROLE__WORKER, 3);
    protocol_peer_close(&lost);
    struct protocol_message *assign = protocol_peer_expect(&worker, NP__ENVELOPE__KIND_ASSIGN);
    broker_expect_log(&fixture->broker, "gone: ");
    assert_null(strstr(fixture->broker.log, "nothing was heard"));
    assert_int_equal(assign->envelope->assign->n_attempts, 1);
    assert_int_equal(assign->envelope->assign->attempts[0], 2);
    protocol_message_destroy(assign);
    protocol_peer_close(&client);
    protocol_peer_close(&worker);
    broker_fixture_stop(fixture);
}

static void b31_sigterm_says_goodbye_to_every_peer(void **state)
{
    struct broker_fixture *fixture = *state;
    static const char *const modes[] = {"0", "2"};
    for (size_t i = 0; i < 2; i++) {
        struct protocol_peer over_tls;
        struct protocol_peer over_ipc;
        start(fixture, modes[i]);
        protocol_peer_connect_tls(&over_tls, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
        protocol_peer_connect_ipc(&over_ipc, fixture->context, NP__ROLE__WORKER, fixture->socket);
        protocol_peer_enter(&over_tls, NP__ROLE__CLIENT, 1);
        protocol_peer_enter(&over_ipc, NP__ROLE__WORKER, 2);
        int64_t asked = np_clock_now();
        assert_int_equal(broker_stop(&fixture->broker, SIGTERM), 0);
        assert_true(np_clock_now() - asked < 10 * NP_NS_PER_S);
        protocol_peer_expect_closed(&over_tls);
        protocol_peer_expect_closed(&over_ipc);
        assert_int_equal(over_tls.closed_status, NETPOOL_CLOSED);
        assert_int_equal(over_ipc.closed_status, NETPOOL_CLOSED);
        assert_string_equal(over_tls.closed_reason, "the broker is shutting down");
        assert_string_equal(over_ipc.closed_reason, "the broker is shutting down");
        protocol_peer_close(&over_tls);
        protocol_peer_close(&over_ipc);
    }
    fixture->has_ended_well = true;
}

static void an_idle_broker_uses_no_processor_time(void **state)
{
    struct broker_fixture *fixture = *state;
    struct protocol_peer client;
    struct protocol_peer worker;
    start(fixture, "2");
    protocol_peer_connect_ipc(&client, fixture->context, NP__ROLE__CLIENT, fixture->socket);
    protocol_peer_connect_tls(&worker, fixture->dir, NP__ROLE__WORKER, "w", fixture->broker.port);
    run_tasks(&client, &worker);
    enum { WINDOW_MS = 2 * NP_HEARTBEAT_MS, SLEEPS_MAX = 150, CPU_MAX_MS = WINDOW_MS / 5 };
    long sleeps = broker_sleeps(&fixture->broker);
    long cpu_ms = broker_cpu_ms(&fixture->broker);
    /* Two heartbeats later: the peers answer, nothing else happens. A sanitizer has a thread that wakes up by itself.
     */
    protocol_peer_run_until(&client, np_clock_now() + WINDOW_MS * NP_NS_PER_MS);
    assert_in_range(broker_sleeps(&fixture->broker) - sleeps, 0, SLEEPS_MAX);
    assert_in_range(broker_cpu_ms(&fixture->broker) - cpu_ms, 0, CPU_MAX_MS);
    protocol_peer_close(&client);
    protocol_peer_close(&worker);
    broker_fixture_stop(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tasks_run_over_tls_in_the_cores_own_thread, broker_fixture_set_up,
                                        broker_fixture_tear_down),
        cmocka_unit_test_setup_teardown(tasks_run_over_tls_through_two_gateway_threads, broker_fixture_set_up,
                                        broker_fixture_tear_down),
        cmocka_unit_test_setup_teardown(tasks_run_over_ipc, broker_fixture_set_up, broker_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_client_over_ipc_uses_a_worker_over_tls, broker_fixture_set_up,
                                        broker_fixture_tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_an_ipc_worker_is_noticed_at_once, broker_fixture_set_up,
                                        broker_fixture_tear_down),
        cmocka_unit_test_setup_teardown(b31_sigterm_says_goodbye_to_every_peer, broker_fixture_set_up,
                                        broker_fixture_tear_down),
        cmocka_unit_test_setup_teardown(an_idle_broker_uses_no_processor_time, broker_fixture_set_up,
                                        broker_fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
