/* Programs that ask for more than they take, or for more than there is: the broker holds to its bounds, and the other
 * programs do not notice. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/protocol_peer.h"
#include "tests/system/broker_fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

enum { HOSTILE = 1, WORKER = 2, OTHER = 3, TASK_SIZE = 16, LARGE_RESULT = 1024 * 1024 };
#define PATIENCE_NS (60 * NP_NS_PER_S)
#define QUIET_NS NP_NS_PER_S /* nothing more for so long, beyond what must come: that was all */

/* One program that misbehaves, one that does not, and a worker, driven in turn by one thread. */
struct stage {
    struct protocol_peer hostile, other, worker;
    uint64_t hostile_tasks, hostile_bytes; /* submitted */
    uint64_t credit_tasks, credit_bytes;   /* of the hostile program */
    size_t answered[OTHER + 1];            /* by session */
    uint8_t *result;
};

static void enter_all(struct stage *stage, const struct broker_fixture *fixture)
{
    *stage = (struct stage){.result = calloc(1, LARGE_RESULT)};
    assert_non_null(stage->result);
    protocol_peer_connect_tls(&stage->worker, fixture->dir, NP__ROLE__WORKER, "w", fixture->broker.port);
    protocol_peer_enter(&stage->worker, NP__ROLE__WORKER, WORKER);
    protocol_peer_connect_tls(&stage->other, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_enter(&stage->other, NP__ROLE__CLIENT, OTHER);
    protocol_peer_connect_tls(&stage->hostile, fixture->dir, NP__ROLE__CLIENT, "c", fixture->broker.port);
    protocol_peer_hello(&stage->hostile, NP__ROLE__CLIENT, HOSTILE);
    struct protocol_message *welcome = protocol_peer_expect(&stage->hostile, NP__ENVELOPE__KIND_WELCOME);
    stage->credit_tasks = welcome->envelope->welcome->credit_tasks;
    stage->credit_bytes = welcome->envelope->welcome->credit_bytes;
    protocol_message_destroy(welcome);
}

static void leave_all(struct stage *stage)
{
    protocol_peer_close(&stage->hostile);
    protocol_peer_close(&stage->other);
    protocol_peer_close(&stage->worker);
    free(stage->result);
}

static struct protocol_message *next_of(struct protocol_peer *peer, Np__Envelope__KindCase kind)
{
    for (struct np_list *node = np_list_pop_front(&peer->received); node != NULL;
         node = np_list_pop_front(&peer->received)) {
        struct protocol_message *message = NP_CONTAINER(node, struct protocol_message, link);
        if (message->envelope->kind_case == kind) {
            return message;
        }
        protocol_message_destroy(message);
    }
    if (peer->is_closed) {
        fail_msg("a peer was cut: %s", peer->closed_reason);
    }
    return NULL;
}

static void submit(struct protocol_peer *client, uint64_t first, size_t count)
{
    static const uint8_t body[NP_BATCH_TASKS_MAX * TASK_SIZE];
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    uint32_t sizes[NP_BATCH_TASKS_MAX];
    for (size_t i = 0; i < count; i++) {
        seqs[i] = first + i;
        sizes[i] = TASK_SIZE;
    }
    Np__Submit message = NP__SUBMIT__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    message.function = (char *)"double";
    message.n_seqs = message.n_sizes = count;
    message.seqs = seqs;
    message.sizes = sizes;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &message;
    protocol_peer_send(client, &envelope, body, count * TASK_SIZE);
}

static void answer(struct stage *stage, const Np__Assign *tasks, size_t row, uint32_t size, uint64_t compute_ns)
{
    Np__Results results = NP__RESULTS__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    uint32_t attempt = tasks->n_attempts > 0 ? tasks->attempts[row] : 1;
    results.session = tasks->session;
    results.epoch = stage->worker.epoch;
    results.n_seqs = results.n_sizes = results.n_compute_ns = results.n_attempts = 1;
    results.seqs = &tasks->seqs[row];
    results.sizes = &size;
    results.compute_ns = &compute_ns;
    results.attempts = &attempt;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    protocol_peer_send(&stage->worker, &envelope, stage->result, size);
    stage->answered[tasks->session.data[0]]++;
}

/* The worker does everything that has been assigned; a task of the hostile program has a large result. */
static void work(struct stage *stage, uint32_t hostile_size, uint64_t compute_ns)
{
    protocol_peer_run_until(&stage->worker, np_clock_now() + NP_NS_PER_MS);
    struct protocol_message *assign;
    while ((assign = next_of(&stage->worker, NP__ENVELOPE__KIND_ASSIGN)) != NULL) {
        const Np__Assign *tasks = assign->envelope->assign;
        uint32_t size = tasks->session.data[0] == HOSTILE ? hostile_size : TASK_SIZE;
        for (size_t i = 0; i < tasks->n_seqs; i++) {
            answer(stage, tasks, i, size, compute_ns);
        }
        protocol_message_destroy(assign);
    }
}

/* Says that it is there and takes nothing. */
static void live_without_reading(struct protocol_peer *peer, int64_t *next)
{
    Np__Heartbeat heartbeat = NP__HEARTBEAT__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    if (np_clock_now() >= *next) {
        *next = np_clock_now() + NP_NS_PER_S;
        envelope.kind_case = NP__ENVELOPE__KIND_HEARTBEAT;
        envelope.heartbeat = &heartbeat;
        assert_int_equal(channel_send(peer->channel, &envelope, NULL, 0, CHANNEL_URGENT), NETPOOL_OK);
        channel_flush(peer->channel);
    }
}

/* One more task of the other program, and its result; the worker and the hostile program go on meanwhile. */
static void expect_service(struct stage *stage, uint64_t seq, int64_t *next_heartbeat)
{
    int64_t patience = np_clock_now() + PATIENCE_NS;
    struct protocol_message *results = NULL;
    submit(&stage->other, seq, 1);
    while (results == NULL) {
        assert_true(np_clock_now() < patience);
        work(stage, LARGE_RESULT, NP_NS_PER_MS);
        live_without_reading(&stage->hostile, next_heartbeat);
        protocol_peer_run_until(&stage->other, np_clock_now() + NP_NS_PER_MS);
        results = next_of(&stage->other, NP__ENVELOPE__KIND_RESULTS);
    }
    assert_int_equal(results->envelope->results->seqs[0], seq);
    protocol_message_destroy(results);
}

static void never_read(struct broker_fixture *fixture, const char *gateways)
{
    enum { TASKS = 600, MEMORY_MIB = 64 };
    const char *const bounds[] = {
        "--max-memory", "64M", "--max-payload", "2M", "--gateways", gateways, "--session-grace-ms", "300", NULL};
    struct stage stage;
    int64_t next_heartbeat = 0;
    broker_fixture_start(fixture, bounds, 0);
    enter_all(&stage, fixture);
    submit(&stage.hostile, 1, TASKS);
    /* Its tasks run until the broker has as much of its results as it may hold. */
    int64_t patience = np_clock_now() + PATIENCE_NS;
    int64_t quiet_since = np_clock_now();
    for (size_t before = 0; before < MEMORY_MIB / 2 || np_clock_now() - quiet_since < QUIET_NS;) {
        assert_true(np_clock_now() < patience);
        work(&stage, LARGE_RESULT, NP_NS_PER_MS);
        protocol_peer_run_until(&stage.other, np_clock_now() + NP_NS_PER_MS);
        live_without_reading(&stage.hostile, &next_heartbeat);
        quiet_since = stage.answered[HOSTILE] != before ? np_clock_now() : quiet_since;
        before = stage.answered[HOSTILE];
    }
    for (uint64_t seq = 1; seq <= 100; seq++) {
        expect_service(&stage, seq, &next_heartbeat);
    }
    assert_in_range(stage.answered[HOSTILE], MEMORY_MIB / 2, MEMORY_MIB + 40);
    print_message("%zu large results taken, peak %ld MiB\n", stage.answered[HOSTILE],
                  broker_peak_kib(&fixture->broker) / 1024);
    assert_true(IS_SANITIZED || broker_peak_kib(&fixture->broker) < (MEMORY_MIB + 64) * 1024L);
    /* It vanishes: its memory is given to others. */
    protocol_peer_close(&stage.hostile);
    broker_expect_log(&fixture->broker, "has not come back");
    submit(&stage.other, 101, 1);
    while (stage.answered[OTHER] < 101) {
        work(&stage, LARGE_RESULT, NP_NS_PER_MS);
    }
    protocol_peer_close(&stage.other);
    protocol_peer_close(&stage.worker);
    free(stage.result);
    broker_fixture_stop(fixture);
}

static void b14_program_that_never_reads_is_paused_and_broker_memory_stays_bounded(void **state)
{
    never_read(*state, "0");
}

static void b14_program_that_never_reads_is_paused_behind_a_gateway_thread(void **state)
{
    never_read(*state, "2");
}

/* Tasks from `first` on, which the broker has finished. */
static void acknowledge(struct protocol_peer *client, uint64_t first, size_t count)
{
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    Np__Acknowledge message = NP__ACKNOWLEDGE__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    assert_in_range(count, 1, NP_BATCH_TASKS_MAX);
    for (size_t i = 0; i < count; i++) {
        seqs[i] = first + i;
    }
    message.n_seqs = count;
    message.seqs = seqs;
    envelope.kind_case = NP__ENVELOPE__KIND_ACKNOWLEDGE;
    envelope.acknowledge = &message;
    assert_int_equal(channel_send(client->channel, &envelope, NULL, 0, CHANNEL_URGENT), NETPOOL_OK);
    channel_flush(client->channel);
}

/* What it says it has taken piles up for its link. */
static void b14_program_that_acknowledges_what_it_never_reads_is_cut(void **state)
{
    enum { TASKS = 400, PEAK_MIB = 160 };
    struct broker_fixture *fixture = *state;
    const char *const bounds[] = {"--max-payload", "2M", "--max-memory", "64M", NULL};
    struct stage stage;
    int64_t next_heartbeat = 0;
    uint64_t seq = 0;
    size_t acknowledged = 0;
    broker_fixture_start(fixture, bounds, 0);
    enter_all(&stage, fixture);
    submit(&stage.hostile, 1, TASKS);
    while (acknowledged < TASKS && !stage.hostile.is_closed) {
        work(&stage, LARGE_RESULT, NP_NS_PER_MS);
        size_t answered = stage.answered[HOSTILE];
        expect_service(&stage, ++seq, &next_heartbeat); /* comes behind those answers, so the broker has them */
        if (answered > acknowledged) {
            acknowledge(&stage.hostile, acknowledged + 1, answered - acknowledged);
            acknowledged = answered;
        } else if (seq > TASKS) {
            break; /* nothing more is assigned: it is gone */
        }
    }
    broker_expect_log(&fixture->broker, "the peer does not read what it is sent");
    expect_service(&stage, ++seq, &next_heartbeat);
    print_message("cut after %zu large results, peak %ld MiB\n", acknowledged,
                  broker_peak_kib(&fixture->broker) / 1024);
    assert_true(IS_SANITIZED || broker_peak_kib(&fixture->broker) < PEAK_MIB * 1024L);
    leave_all(&stage);
    broker_fixture_stop(fixture);
}

/* As much of `most` tasks as the credit allows. */
static void flood(struct stage *stage, uint64_t most)
{
    struct protocol_message *message;
    protocol_peer_run_until(&stage->hostile, np_clock_now() + NP_NS_PER_MS);
    while ((message = next_of(&stage->hostile, NP__ENVELOPE__KIND_CREDIT)) != NULL) {
        stage->credit_tasks = message->envelope->credit->tasks;
        stage->credit_bytes = message->envelope->credit->bytes;
        protocol_message_destroy(message);
    }
    uint64_t count = most - stage->hostile_tasks;
    if (count > stage->credit_tasks - stage->hostile_tasks) {
        count = stage->credit_tasks - stage->hostile_tasks;
    }
    if (count > (stage->credit_bytes - stage->hostile_bytes) / TASK_SIZE) {
        count = (stage->credit_bytes - stage->hostile_bytes) / TASK_SIZE;
    }
    while (count > 0) {
        size_t batch = count < NP_BATCH_TASKS_MAX ? count : NP_BATCH_TASKS_MAX;
        submit(&stage->hostile, stage->hostile_tasks + 1, batch);
        stage->hostile_tasks += batch;
        stage->hostile_bytes += batch * TASK_SIZE;
        count -= batch;
    }
}

static void b15_flooding_program_is_slowed_by_credit_and_others_keep_their_share(void **state)
{
    enum { WANTED = 1000000, HELD_MAX = (8 + 1) * 1024 * 1024 / TASK_SIZE, TASKS = 10, BYTES_A_TASK = 256 };
    struct broker_fixture *fixture = *state;
    const char *const bounds[] = {"--max-memory", "8M", "--max-payload", "1M", NULL};
    struct stage stage;
    broker_fixture_start(fixture, bounds, 0);
    enter_all(&stage, fixture);
    int64_t patience = np_clock_now() + PATIENCE_NS;
    int64_t quiet_since = np_clock_now();
    for (uint64_t before = 0; before < HELD_MAX / 4 || np_clock_now() - quiet_since < QUIET_NS;) {
        assert_true(np_clock_now() < patience);
        flood(&stage, WANTED);
        protocol_peer_run_until(&stage.worker, np_clock_now() + NP_NS_PER_MS);
        protocol_peer_run_until(&stage.other, np_clock_now() + NP_NS_PER_MS);
        quiet_since = stage.hostile_tasks != before ? np_clock_now() : quiet_since;
        before = stage.hostile_tasks;
    }
    assert_in_range(stage.hostile_tasks, HELD_MAX / 4, HELD_MAX);
    /* The broker learns how long a task takes; then ten tasks of another program alternate with the flood's. */
    for (size_t before = stage.answered[HOSTILE]; stage.answered[HOSTILE] < before + 20;) {
        work(&stage, TASK_SIZE, NP_NS_PER_MS);
    }
    size_t begin = stage.answered[HOSTILE];
    submit(&stage.other, 1, TASKS);
    while (stage.answered[OTHER] < TASKS) {
        assert_true(np_clock_now() < patience);
        work(&stage, TASK_SIZE, NP_NS_PER_MS);
    }
    print_message("%llu tasks held, peak %ld MiB; beside %d tasks of another program %zu of the flood ran\n",
                  (unsigned long long)stage.hostile_tasks, broker_peak_kib(&fixture->broker) / 1024, TASKS,
                  stage.answered[HOSTILE] - begin);
    assert_in_range(stage.answered[HOSTILE] - begin, 0, 6 * TASKS);
    assert_true(IS_SANITIZED || broker_peak_kib(&fixture->broker) < HELD_MAX / 1024L * BYTES_A_TASK + 40 * 1024L);
    leave_all(&stage);
    broker_fixture_stop(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(b14_program_that_never_reads_is_paused_and_broker_memory_stays_bounded,
                                        broker_fixture_set_up, broker_fixture_tear_down),
        cmocka_unit_test_setup_teardown(b14_program_that_never_reads_is_paused_behind_a_gateway_thread,
                                        broker_fixture_set_up, broker_fixture_tear_down),
        cmocka_unit_test_setup_teardown(b14_program_that_acknowledges_what_it_never_reads_is_cut,
                                        broker_fixture_set_up, broker_fixture_tear_down),
        cmocka_unit_test_setup_teardown(b15_flooding_program_is_slowed_by_credit_and_others_keep_their_share,
                                        broker_fixture_set_up, broker_fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
