/* Client sessions: HELLO, credit, delivery, acknowledgement, resume, end; and status. */
#include <malloc.h>

#include "tests/unit/core_rig.h"

enum { CLIENT = 1 };

static const Np__Welcome *welcome_of(struct rig *rig, uint64_t peer)
{
    const struct rig_message *message = rig_take(rig, peer, NP__ENVELOPE__KIND_WELCOME);
    assert_non_null(message);
    return message->envelope->welcome;
}

static void b41_no_common_version_is_refused_naming_both_ranges(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    Np__Hello hello = rig_hello_of(NP__ROLE__CLIENT, CLIENT);
    hello.version_min = 3;
    hello.version_max = 5;
    uint64_t peer = rig_hello(rig, &hello, NP__ROLE__NONE, "");
    assert_closed(rig, peer, NETPOOL_REFUSED);
    assert_non_null(strstr(rig->closed_reason, "3 to 5"));
    assert_non_null(strstr(rig->closed_reason, "1 to 1"));
    rig_free(rig);
}

static void b25_a_role_that_is_not_the_certificates_is_refused(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    Np__Hello hello = rig_hello_of(NP__ROLE__WORKER, CLIENT);
    uint64_t peer = rig_hello(rig, &hello, NP__ROLE__CLIENT, "alice");
    assert_closed(rig, peer, NETPOOL_REFUSED);
    hello.role = NP__ROLE__BROKER;
    peer = rig_hello(rig, &hello, NP__ROLE__NONE, "");
    assert_closed(rig, peer, NETPOOL_REFUSED);
    rig_free(rig);
}

static void b23_messages_that_a_role_may_not_send_close_the_link(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_say(rig, client, NP__ENVELOPE__KIND_READY);
    assert_closed(rig, client, NETPOOL_PROTOCOL);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, worker, (struct rig_task){.function = "f", .first = 1, .count = 1});
    assert_closed(rig, worker, NETPOOL_PROTOCOL);
    rig_free(rig);
}

static void b21_no_hello_in_time_closes_the_link(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    core_connect(rig->core, 5, &(struct core_peer){.name = "", .address = "x"}, rig->now);
    assert_int_equal(core_deadline(rig->core), rig->now + NP_HELLO_TIMEOUT_MS * NP_NS_PER_MS);
    rig_advance(rig, NP_HELLO_TIMEOUT_MS - 1);
    assert_int_equal(rig->closed_peer, 0);
    rig_advance(rig, 1);
    assert_int_equal(rig->closed_peer, 5);
    rig_free(rig);
}

static void the_certificates_name_counts_and_the_payload_limit_is_the_smaller_one(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1, .max_payload = 1000000};
    struct rig *rig = rig_new(&config);
    Np__Hello hello = rig_hello_of(NP__ROLE__CLIENT, CLIENT);
    hello.max_payload = 5000;
    uint64_t peer = rig_hello(rig, &hello, NP__ROLE__CLIENT, "alice");
    rig_flush(rig);
    const Np__Welcome *welcome = welcome_of(rig, peer);
    assert_int_equal(welcome->max_payload, 5000);
    assert_int_equal(welcome->epoch, 7);
    assert_false(welcome->resumed);
    assert_true(welcome->credit_bytes >= 1000000);
    assert_string_equal(session_find(rig->core, hello.session.data)->name, "alice");
    Np__Hello other = rig_hello_of(NP__ROLE__CLIENT, CLIENT);
    other.resume = true;
    uint64_t thief = rig_hello(rig, &other, NP__ROLE__CLIENT, "mallory");
    assert_closed(rig, thief, NETPOOL_REFUSED);
    rig_free(rig);
}

static void submitting_beyond_the_credit_closes_the_link(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1, .client_tasks = 100};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, CLIENT, false);
    assert_int_equal(welcome_of(rig, client)->credit_tasks, 100);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 100});
    rig_flush(rig);
    assert_int_equal(rig->closed_peer, 0);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 101, .count = 1});
    assert_closed(rig, client, NETPOOL_PROTOCOL);
    rig_free(rig);
}

static void credit_comes_back_with_acknowledgements_and_is_cumulative(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1, .client_tasks = 100};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 100, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 100});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 100);
    for (uint64_t seq = 1; seq <= 50; seq++) {
        rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = seq});
    }
    rig_flush(rig);
    assert_null(rig_take(rig, client, NP__ENVELOPE__KIND_CREDIT)); /* results are held, too */
    rig_acknowledge(rig, client, 1, 50);
    rig_flush(rig);
    const struct rig_message *credit = rig_take(rig, client, NP__ENVELOPE__KIND_CREDIT);
    assert_non_null(credit);
    assert_true(credit->urgent);
    assert_int_equal(credit->envelope->credit->tasks, 150);
    rig_free(rig);
}

static void the_brokers_bounds_hold_over_all_clients_but_for_their_floors(void **state)
{
    (void)state;
    struct core_config config = {
        .recovery_ns = -1, .max_tasks = 1000, .max_memory = 100000, .max_payload = 10000, .client_bytes = 50000};
    struct rig *rig = rig_new(&config);
    uint64_t tasks = 0;
    uint64_t bytes = 0;
    for (uint8_t id = 1; id <= 40; id++) {
        const Np__Welcome *welcome = welcome_of(rig, rig_client(rig, id, false));
        assert_true(welcome->credit_tasks >= SESSION_FLOOR_TASKS && welcome->credit_bytes >= 10000);
        tasks += welcome->credit_tasks;
        bytes += welcome->credit_bytes;
    }
    assert_true(tasks <= 1000 + 40 * SESSION_FLOOR_TASKS);
    assert_true(bytes <= 100000 + 40 * 10000);
    rig_free(rig);
}

static void a_client_that_holds_nothing_may_always_submit_the_largest_payload(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1, .max_payload = 100000, .client_bytes = 100000};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .size = 10});
    rig_flush(rig);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1});
    rig_flush(rig);
    rig_acknowledge(rig, client, 1, 1);
    rig_flush(rig);
    uint64_t bytes = 0;
    const struct rig_message *credit;
    while ((credit = rig_take(rig, client, NP__ENVELOPE__KIND_CREDIT)) != NULL) {
        bytes = credit->envelope->credit->bytes;
    }
    assert_int_equal(bytes, 100010);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 2, .count = 1, .size = 100000});
    rig_flush(rig);
    assert_int_equal(rig->closed_peer, 0);
    rig_free(rig);
}

static void large_payloads_and_results_are_shared_and_not_copied(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    uint64_t other = rig_worker(rig, 3, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1, .size = 100000});
    const void *payload = rig->given;
    rig_flush(rig);
    const struct rig_message *assign = rig_take(rig, worker, NP__ENVELOPE__KIND_ASSIGN);
    assert_non_null(assign);
    assert_ptr_equal(assign->body, payload);
    rig_disconnect(rig, worker, false);
    rig_flush(rig);
    assign = rig_take(rig, other, NP__ENVELOPE__KIND_ASSIGN); /* another attempt has it, too */
    assert_non_null(assign);
    assert_ptr_equal(assign->body, payload);
    rig_result(rig, other, (struct rig_result){.session = CLIENT, .seq = 1, .attempt = 2, .size = 200000});
    const void *result = rig->given;
    rig_flush(rig);
    const struct rig_message *results = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS);
    assert_non_null(results);
    assert_ptr_equal(results->body, result);
    rig_acknowledge(rig, client, 1, 1);
    assert_int_equal(rig_stats(rig).memory_bytes, 0);
    rig_free(rig);
}

static void seqs_must_ascend_and_repetitions_are_ignored(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 10});
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 5, .count = 10}); /* b9 */
    assert_int_equal(rig_stats(rig).queued, 14);
    uint64_t seqs[] = {20, 20};
    uint32_t sizes[] = {0, 0};
    Np__Submit submit = NP__SUBMIT__INIT;
    submit.function = (char *)"f";
    submit.n_seqs = submit.n_sizes = 2;
    submit.seqs = seqs;
    submit.sizes = sizes;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    struct np_message message = {.envelope = &envelope};
    core_receive(rig->core, client, &message, rig->now);
    assert_closed(rig, client, NETPOOL_PROTOCOL);
    rig_free(rig);
}

static void delivery_is_bounded_until_acknowledged_and_one_result_always_fits(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1, .delivery_bytes = 1000};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 10, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 5});
    rig_flush(rig);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = seq, .size = 400});
    }
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 5, .size = 5000});
    rig_flush(rig);
    assert_int_equal(rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS)->envelope->results->n_seqs, 2);
    assert_null(rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS));
    rig_acknowledge(rig, client, 1, 2);
    rig_flush(rig);
    assert_int_equal(rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS)->envelope->results->n_seqs, 2);
    rig_acknowledge(rig, client, 3, 2);
    rig_acknowledge(rig, client, 3, 2); /* again */
    rig_flush(rig);
    assert_result(rig, client, 5, NETPOOL_OK);
    rig_free(rig);
}

static void dispatch_pauses_while_a_client_does_not_take_its_results(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1, .max_payload = 1000, .client_bytes = 1000};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 20});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 2);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1, .size = 600});
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 2, .size = 600});
    rig_flush(rig);
    assert_int_equal(rig_take_assigned(rig, worker), 0);
    rig_acknowledge(rig, client, 1, 1);
    rig_flush(rig);
    assert_true(rig_take_assigned(rig, worker) > 0);
    rig_free(rig);
}

/* The worker's answer to one task: it failed, with a stack text of `size` bytes. */
static void fail_with_stack(struct rig *rig, uint64_t worker, uint64_t seq, size_t size)
{
    uint8_t session[NP_SESSION_SIZE] = {CLIENT};
    char stack[NP_STACK_MAX + 1] = "";
    uint32_t none = 0;
    uint32_t status = NETPOOL_FAILED;
    uint64_t compute_ns = 10 * NP_NS_PER_MS; /* nothing is assigned ahead of it */
    memset(stack, 's', size);
    Np__Failure failure = NP__FAILURE__INIT;
    failure.stack = stack;
    Np__Failure *failures[] = {&failure};
    Np__Results results = NP__RESULTS__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    results.session = (ProtobufCBinaryData){.data = session, .len = sizeof session};
    results.epoch = rig->core->config.epoch;
    results.n_seqs = results.n_sizes = results.n_statuses = results.n_compute_ns = results.n_failures = 1;
    results.seqs = &seq;
    results.sizes = &none;
    results.statuses = &status;
    results.compute_ns = &compute_ns;
    results.failures = failures;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    rig_give(rig, worker, &envelope, NULL, 0);
}

static void b14_failure_records_count_for_delivery_memory_and_the_clients_window(void **state)
{
    enum { STACK = 4000, TASKS = 40 };
    (void)state;
    struct core_config config = {
        .recovery_ns = -1, .max_payload = 1000, .client_bytes = 10 * STACK, .delivery_bytes = 5 * STACK};
    struct rig *rig = rig_new(&config);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = TASKS});
    rig_flush(rig);
    uint64_t done = 0;
    for (size_t given = rig_take_assigned(rig, worker); given > 0; given = rig_take_assigned(rig, worker)) {
        for (; given > 0; given--) {
            fail_with_stack(rig, worker, ++done, STACK);
        }
        rig_flush(rig);
    }
    assert_in_range(done, 10, 14); /* the window, and what was assigned before it was reached */
    assert_true(rig_stats(rig).memory_bytes >= done * STACK);
    size_t rows = 0;
    for (const struct rig_message *message; (message = rig_take(rig, client, NP__ENVELOPE__KIND_RESULTS)) != NULL;) {
        rows += message->envelope->results->n_seqs;
    }
    assert_int_equal(rows, 4); /* the fifth, with what is beside the stack, is beyond the bound */
    rig_acknowledge(rig, client, 1, 4);
    rig_flush(rig);
    assert_result(rig, client, 8, NETPOOL_FAILED);
    rig_acknowledge(rig, client, 5, 4);
    rig_flush(rig);
    assert_true(rig_take_assigned(rig, worker) > 0);
    rig_free(rig);
}

static void acknowledging_what_is_not_finished_closes_the_link(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    rig_acknowledge(rig, client, 1, 1);
    assert_closed(rig, client, NETPOOL_PROTOCOL);
    rig_free(rig);
}

static void a_client_that_comes_back_gets_every_unacknowledged_result_again(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 10, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 3});
    rig_flush(rig);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1});
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 2});
    rig_flush(rig);
    rig_acknowledge(rig, client, 1, 1);
    rig_disconnect(rig, client, false);
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 3});
    rig_flush(rig);
    uint64_t back = rig_client(rig, CLIENT, true);
    const Np__Welcome *welcome = welcome_of(rig, back);
    assert_true(welcome->resumed);
    assert_int_equal(welcome->received_seq, 3);
    const struct rig_message *results = rig_take(rig, back, NP__ENVELOPE__KIND_RESULTS);
    assert_int_equal(results->envelope->results->n_seqs, 2);
    assert_int_equal(results->envelope->results->seqs[0], 2);
    assert_int_equal(results->envelope->results->seqs[1], 3);
    rig_free(rig);
}

static void a_newer_link_of_a_live_session_replaces_the_older_one(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t old = rig_client(rig, CLIENT, false);
    rig_submit(rig, old, (struct rig_task){.function = "f", .first = 1, .count = 3});
    uint64_t back = rig_client(rig, CLIENT, true);
    assert_int_equal(rig->closed_peer, old);
    assert_int_equal(rig->closed_status, NETPOOL_CLOSED);
    assert_true(welcome_of(rig, back)->resumed);
    assert_int_equal(rig_stats(rig).queued, 3);
    assert_int_equal(rig_stats(rig).clients, 1);
    rig_free(rig);
}

static void b6_a_client_that_does_not_come_back_leaves_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 100, .size = 100});
    rig_flush(rig);
    rig_disconnect(rig, client, false);
    assert_int_equal(core_deadline(rig->core), rig->now + 10 * NP_NS_PER_S);
    rig_advance(rig, 10000);
    assert_int_equal(rig_stats(rig).queued, 0);
    assert_int_equal(rig_stats(rig).clients, 0);
    const struct rig_message *withdraw = rig_take(rig, worker, NP__ENVELOPE__KIND_WITHDRAW);
    assert_int_equal(withdraw->envelope->withdraw->n_seqs, 2);
    Np__Hello hello = rig_hello_of(NP__ROLE__CLIENT, CLIENT);
    hello.resume = true;
    uint64_t early = rig_hello(rig, &hello, NP__ROLE__NONE, "");
    assert_closed(rig, early, NETPOOL_TIMEOUT); /* it is to try again: leases are still being ended */
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1, .status = NETPOOL_CANCELLED});
    rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 2});
    assert_int_equal(rig_stats(rig).memory_bytes, 0);
    assert_null(session_find(rig->core, hello.session.data));
    assert_false(welcome_of(rig, rig_client(rig, CLIENT, true))->resumed);
    rig_free(rig);
}

static void a_client_that_says_goodbye_ends_its_session_at_once(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 100, .size = 300});
    rig_disconnect(rig, client, true);
    assert_int_equal(rig_stats(rig).memory_bytes, 0);
    assert_int_equal(rig_stats(rig).clients, 0);
    assert_null(session_find(rig->core, rig_hello_of(NP__ROLE__CLIENT, CLIENT).session.data));
    rig_free(rig);
}

static void results_beyond_a_workers_credit_close_its_link(void **state)
{
    (void)state;
    struct core_config config = {.recovery_ns = -1, .max_payload = 1 << 20};
    struct rig *rig = rig_new(&config);
    uint64_t worker = rig_worker(rig, 2, 1, "f");
    uint64_t credit = welcome_of(rig, worker)->credit_bytes;
    uint64_t sent = 0;
    while (sent + (1 << 20) <= credit) { /* nothing is flushed, so nothing more is granted to its knowledge */
        rig_result(rig, worker, (struct rig_result){.session = CLIENT, .seq = 1, .size = 1 << 20});
        sent += 1 << 20;
    }
    rig_flush(rig);
    const struct rig_message *message = rig_take(rig, worker, NP__ENVELOPE__KIND_CREDIT);
    assert_non_null(message);
    assert_true(message->envelope->credit->bytes >= sent + (1 << 20));
    rig_free(rig);
}

static void status_tells_clients_about_workers_and_admins_about_clients(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 10, .size = 10});
    rig_submit(rig, client, (struct rig_task){.function = "g", .first = 11, .count = 5, .size = 10});
    uint64_t worker = rig_joining_worker(rig, 2, 2, "f g");
    rig_say(rig, worker, NP__ENVELOPE__KIND_READY);
    rig_joining_worker(rig, 3, 2, "h");
    rig_flush(rig);
    rig_say(rig, client, NP__ENVELOPE__KIND_STATUS_REQUEST);
    rig_advance(rig, 1500);
    const Np__Status *status = rig_take(rig, client, NP__ENVELOPE__KIND_STATUS)->envelope->status;
    assert_int_equal(status->uptime_ms, 1500);
    assert_int_equal(status->queued, 11);
    assert_int_equal(status->running, 4);
    assert_int_equal(status->n_workers, 2);
    assert_string_equal(status->workers[0]->name, "worker-2");
    assert_string_equal(status->workers[0]->state, "ready");
    assert_string_equal(status->workers[1]->state, "joining");
    assert_int_equal(status->workers[0]->held, 4);
    assert_int_equal(status->n_clients, 0);
    assert_int_equal(status->client_count, 1);
    assert_int_equal(status->n_waiting, 0);

    rig_disconnect(rig, worker, false);
    Np__Hello hello = rig_hello_of(NP__ROLE__ADMIN, 9);
    uint64_t admin = rig_hello(rig, &hello, NP__ROLE__NONE, "");
    rig_say(rig, admin, NP__ENVELOPE__KIND_STATUS_REQUEST);
    rig_flush(rig);
    status = rig_take(rig, admin, NP__ENVELOPE__KIND_STATUS)->envelope->status;
    assert_int_equal(status->n_clients, 1);
    assert_true(status->clients[0]->connected);
    assert_int_equal(status->clients[0]->queued, 15);
    assert_int_equal(status->clients[0]->memory_bytes, 150);
    assert_int_equal(status->n_waiting, 2);
    assert_non_null(strstr(status->waiting[0], "no worker has it"));
    rig_free(rig);
}

static void b31_shutdown_says_goodbye_to_all_and_lets_nobody_in(void **state)
{
    (void)state;
    struct rig *rig = rig_new(NULL);
    uint64_t client = rig_client(rig, CLIENT, false);
    core_shutdown(rig->core, "going down for maintenance", rig->now);
    rig_submit(rig, client, (struct rig_task){.function = "f", .first = 1, .count = 1});
    assert_closed(rig, client, NETPOOL_CLOSED);
    assert_string_equal(rig->closed_reason, "going down for maintenance");
    assert_int_equal(rig_stats(rig).queued, 0);
    core_connect(rig->core, 99, &(struct core_peer){.name = "", .address = "x"}, rig->now);
    rig_flush(rig);
    assert_int_equal(rig->closed_peer, 99);
    rig_free(rig);
}

/* One empty task that shares nothing with others; past the rig, whose look at everything would take long. */
static void submit_of_its_own_sort(struct rig *rig, uint64_t client, uint64_t seq, unsigned sort)
{
    char text[NP_NAME_MAX];
    snprintf(text, sizeof text, "a=%0*u", NP_NAME_MAX - 8, (unsigned)seq);
    char *labels[] = {text, (char *)"b"};
    uint32_t size = 0;
    Np__Submit submit = NP__SUBMIT__INIT;
    submit.function = sort == 4 ? text : (char *)"f";
    submit.n_seqs = submit.n_sizes = 1;
    submit.seqs = &seq;
    submit.sizes = &size;
    submit.labels = labels;
    submit.n_labels = sort == 0 ? 2 : 0;
    submit.priority = sort == 1 ? (int32_t)seq : 0;
    submit.lanes = &seq;
    submit.n_lanes = sort == 2 ? 1 : 0;
    submit.retry_delay_ms = sort == 3 ? (uint32_t)seq : 0;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    struct np_message message = {.envelope = &envelope};
    core_receive(rig->core, client, &message, rig->now);
}

/* Kinds, queues, demands, labels and lanes take memory as payloads do. Empty tasks take no credit of bytes. */
static uint64_t flood(struct rig *rig, const struct session *session, uint64_t client, unsigned sort)
{
    uint64_t seq = 0;
    while (session->granted_tasks > session->submitted_tasks) {
        for (uint64_t left = session->granted_tasks - session->submitted_tasks; left > 0; left--) {
            submit_of_its_own_sort(rig, client, ++seq, sort);
        }
        core_flush(rig->core, rig->now);
    }
    rig_flush(rig);
    return seq;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void b15_tasks_that_are_each_of_another_sort_are_held_to_the_brokers_memory(void **state)
{
    enum { MEMORY = 1 << 20, SORTS = 5, TASK_BYTES = 400, OTHER = 2 };
    (void)state;
    for (unsigned sort = 0; sort < SORTS; sort++) {
        struct core_config config = {.recovery_ns = -1, .max_memory = MEMORY, .max_payload = 65536};
        struct rig *rig = rig_new(&config);
        uint64_t client = rig_client(rig, CLIENT, false);
        struct session *session = NP_CONTAINER(np_list_front(&rig->core->all_sessions), struct session, node);
        size_t before = heap_bytes();
        uint64_t tasks = flood(rig, session, client, sort);
        size_t taken = heap_bytes() - before;
        uint64_t counted = rig_stats(rig).memory_bytes;
        print_message("sort %u: %u tasks, %u bytes counted, %u taken\n", sort, (unsigned)tasks, (unsigned)counted,
                      (unsigned)taken);
        assert_in_range(counted, MEMORY / 4, MEMORY);
        assert_true(taken <= counted + tasks * TASK_BYTES);

        uint64_t other = rig_client(rig, OTHER, false);
        uint64_t worker = rig_worker(rig, 3, 1, "g");
        for (uint64_t seq = 1; seq <= 4; seq++) {
            rig_submit(rig, other, (struct rig_task){.function = "g", .first = seq, .count = 1, .size = 100});
            rig_flush(rig);
            assert_int_equal(rig_take_assigned(rig, worker), 1);
            rig_result(rig, worker, (struct rig_result){.session = OTHER, .seq = seq});
            rig_flush(rig);
            assert_result(rig, other, seq, NETPOOL_OK);
            rig_acknowledge(rig, other, seq, 1);
        }
        assert_int_equal(rig->closed_peer, 0);
        rig_disconnect(rig, client, true);
        rig_flush(rig);
        assert_int_equal(rig_stats(rig).memory_bytes, 0);
        rig_free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b41_no_common_version_is_refused_naming_both_ranges),
        cmocka_unit_test(b25_a_role_that_is_not_the_certificates_is_refused),
        cmocka_unit_test(b23_messages_that_a_role_may_not_send_close_the_link),
        cmocka_unit_test(b21_no_hello_in_time_closes_the_link),
        cmocka_unit_test(the_certificates_name_counts_and_the_payload_limit_is_the_smaller_one),
        cmocka_unit_test(submitting_beyond_the_credit_closes_the_link),
        cmocka_unit_test(credit_comes_back_with_acknowledgements_and_is_cumulative),
        cmocka_unit_test(the_brokers_bounds_hold_over_all_clients_but_for_their_floors),
        cmocka_unit_test(a_client_that_holds_nothing_may_always_submit_the_largest_payload),
        cmocka_unit_test(large_payloads_and_results_are_shared_and_not_copied),
        cmocka_unit_test(seqs_must_ascend_and_repetitions_are_ignored),
        cmocka_unit_test(delivery_is_bounded_until_acknowledged_and_one_result_always_fits),
        cmocka_unit_test(dispatch_pauses_while_a_client_does_not_take_its_results),
        cmocka_unit_test(b14_failure_records_count_for_delivery_memory_and_the_clients_window),
        cmocka_unit_test(acknowledging_what_is_not_finished_closes_the_link),
        cmocka_unit_test(a_client_that_comes_back_gets_every_unacknowledged_result_again),
        cmocka_unit_test(a_newer_link_of_a_live_session_replaces_the_older_one),
        cmocka_unit_test(b6_a_client_that_does_not_come_back_leaves_nothing),
        cmocka_unit_test(a_client_that_says_goodbye_ends_its_session_at_once),
        cmocka_unit_test(results_beyond_a_workers_credit_close_its_link),
        cmocka_unit_test(status_tells_clients_about_workers_and_admins_about_clients),
        cmocka_unit_test(b31_shutdown_says_goodbye_to_all_and_lets_nobody_in),
        cmocka_unit_test(b15_tasks_that_are_each_of_another_sort_are_held_to_the_brokers_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
