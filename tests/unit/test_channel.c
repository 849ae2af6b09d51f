/* Channels over a wire in memory: framing under every split, large bodies, order, roles, liveness, ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/random.h"
#include "proto/limits.h"
#include "tests/support/block_of.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/memory_link.h"
#include "transport/channel.h"

enum { SEEN_MAX = 64 };

struct end {
    struct channel *channel;
    struct link *link; /* the channel's */
    int opened;
    int closed;
    netpool_status status;
    char reason[600];
    int seen;
    Np__Envelope__KindCase kinds[SEEN_MAX];
    uint64_t marks[SEEN_MAX]; /* first seq, or credit */
    uint8_t *body;            /* of the last message, taken */
    const uint8_t *body_at;   /* where it lay */
    size_t body_size;
    bool destroy_on_message;
};

struct pair {
    struct reactor *reactor;
    struct memory_wire wire;
    struct end client;
    struct end broker;
};

static void on_opened(void *owner, struct channel *channel)
{
    (void)channel;
    ((struct end *)owner)->opened++;
}

static void on_received(void *owner, struct channel *channel, struct np_message *message)
{
    struct end *end = owner;
    assert_true(end->seen < SEEN_MAX);
    assert_int_equal(end->closed, 0);
    end->kinds[end->seen] = message->envelope->kind_case;
    if (message->envelope->kind_case == NP__ENVELOPE__KIND_SUBMIT) {
        end->marks[end->seen] = message->envelope->submit->seqs[0];
    }
    end->seen++;
    np_block_free(end->body);
    end->body_size = message->body_size;
    end->body_at = message->body;
    end->body = np_message_take_body(message);
    assert_non_null(end->body);
    if (end->destroy_on_message) {
        assert_ptr_equal(channel, end->channel);
        channel_destroy(&end->channel);
    }
}

static void on_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    (void)channel;
    struct end *end = owner;
    end->closed++;
    end->status = status;
    (void)snprintf(end->reason, sizeof end->reason, "%s", reason);
}

static const struct channel_handler handler = {on_opened, on_received, on_closed};

static void open_end(struct pair *pair, struct end *end, struct link *link, Np__Role role)
{
    struct channel_options options = {
        .local_role = role, .max_payload = 10 * 1024 * 1024, .heartbeat_ns = 1000, .timeout_ns = NP_NS_PER_S * 1000};
    end->link = link;
    assert_int_equal(channel_new(&end->channel, pair->reactor, link, &options, &handler, end, NULL), NETPOOL_OK);
}

static int setup(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);
    assert_int_equal(reactor_new(&pair->reactor, NULL), NETPOOL_OK);
    memory_wire_init(&pair->wire);
    open_end(pair, &pair->client, memory_link_new(&pair->wire.back, &pair->wire.forth), NP__ROLE__CLIENT);
    open_end(pair, &pair->broker, memory_link_new(&pair->wire.forth, &pair->wire.back), NP__ROLE__BROKER);
    assert_int_equal(reactor_turn(pair->reactor, 0), 2);
    assert_int_equal(pair->client.opened + pair->broker.opened, 2);
    channel_set_remote_role(pair->client.channel, NP__ROLE__BROKER);
    channel_set_remote_role(pair->broker.channel, NP__ROLE__CLIENT);
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    channel_destroy(&pair->client.channel);
    channel_destroy(&pair->broker.channel);
    np_block_free(pair->client.body);
    np_block_free(pair->broker.body);
    memory_wire_fini(&pair->wire);
    reactor_destroy(&pair->reactor);
    free(pair);
    return 0;
}

static void send_submit(struct end *end, uint64_t seq, const void *body, size_t size, enum channel_urgency urgency)
{
    uint32_t sizes = (uint32_t)size;
    Np__Submit submit = NP__SUBMIT__INIT;
    submit.function = (char *)(uintptr_t) "echo";
    submit.seqs = &seq;
    submit.n_seqs = 1;
    submit.sizes = &sizes;
    submit.n_sizes = 1;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    void *block = block_of(body, size);
    assert_int_equal(channel_send(end->channel, &envelope, block, size, urgency), NETPOOL_OK);
    np_block_free(block);
}

static bool is_alive(const struct end *end)
{
    return end->channel != NULL && end->closed == 0;
}

/* Moves bytes from the client to the broker, and goodbyes back, until the client has nothing left to write. */
static void exchange(struct pair *pair)
{
    do {
        if (is_alive(&pair->client)) {
            channel_flush(pair->client.channel);
        }
        if (is_alive(&pair->broker)) {
            channel_ready(pair->broker.channel);
        }
        (void)reactor_turn(pair->reactor, 0);
    } while (is_alive(&pair->broker) && ((is_alive(&pair->client) && channel_backlog(pair->client.channel) > 0) ||
                                         np_buffer_size(&pair->wire.forth.bytes) > 0));
    (void)reactor_turn(pair->reactor, 0);
}

static uint8_t *pattern(size_t size)
{
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    struct np_random random = {size};
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)np_random_next(&random);
    }
    return bytes;
}

static void b19_messages_arrive_whole_however_the_bytes_are_cut(void **state)
{
    struct pair *pair = *state;
    static const size_t steps[] = {0, 1, 7, 4096};
    uint8_t *bytes = pattern(100);
    for (size_t i = 0; i < 4; i++) {
        pair->wire.forth.read_step = steps[i];
        pair->wire.forth.write_step = steps[3 - i];
        for (uint64_t seq = 1; seq <= 5; seq++) {
            send_submit(&pair->client, seq, bytes, 20 * seq, CHANNEL_IN_ORDER);
        }
        pair->broker.seen = 0;
        exchange(pair);
        assert_int_equal(pair->broker.seen, 5);
        for (uint64_t seq = 1; seq <= 5; seq++) {
            assert_int_equal(pair->broker.marks[seq - 1], seq);
        }
        assert_int_equal(pair->broker.body_size, 100);
        assert_memory_equal(pair->broker.body, bytes, 100);
    }
    free(bytes);
}

static void large_bodies_cross_in_chunks_and_urgent_messages_overtake_them(void **state)
{
    struct pair *pair = *state;
    size_t size = 5 * 1024 * 1024 + 3;
    uint8_t *bytes = pattern(size);
    pair->wire.forth.capacity = 128 * 1024; /* the link is slower than the sender */
    send_submit(&pair->client, 1, bytes, size, CHANNEL_IN_ORDER);
    channel_flush(pair->client.channel);
    send_submit(&pair->client, 2, bytes, 10, CHANNEL_IN_ORDER);
    send_submit(&pair->client, 3, bytes, 10, CHANNEL_URGENT);
    assert_in_range(channel_backlog(pair->client.channel), size - 256 * 1024, size + 64 * 1024);
    exchange(pair);
    assert_int_equal(pair->broker.seen, 3);
    assert_int_equal(pair->broker.marks[0], 3);
    assert_int_equal(pair->broker.marks[1], 1);
    assert_int_equal(pair->broker.marks[2], 2);
    assert_int_equal(channel_backlog(pair->client.channel), 0);
    send_submit(&pair->client, 4, bytes, size, CHANNEL_IN_ORDER);
    exchange(pair);
    assert_int_equal(pair->broker.body_size, size);
    assert_memory_equal(pair->broker.body, bytes, size);
    free(bytes);
}

static void send_awkward_sizes(struct pair *pair, size_t unit)
{
    const size_t chunk = 64 * 1024;
    uint8_t *bytes = pattern(4 * chunk);
    pair->wire.forth.capacity = 5000;
    for (size_t i = 0; i < 3 * 128; i++) {
        size_t size = (1 + i / 128) * unit + 32 - i % 128; /* each chunk has a head of about ten bytes */
        const int urgent = 8;
        pair->broker.seen = 0;
        send_submit(&pair->client, 1, bytes + i, size, CHANNEL_IN_ORDER);
        for (int j = 0; j < urgent; j++) {
            channel_flush(pair->client.channel);
            channel_ready(pair->broker.channel);
            send_submit(&pair->client, 2, bytes, 10, CHANNEL_URGENT);
        }
        exchange(pair);
        assert_int_equal(pair->broker.seen, urgent + 1);
        int last = size > chunk ? urgent : 0; /* in one frame it was sent before them */
        assert_int_equal(pair->broker.marks[last], 1);
        if (size > chunk) {
            assert_int_equal(pair->broker.body_size, size);
            assert_memory_equal(pair->broker.body, bytes + i, size);
        }
        assert_int_equal(channel_backlog(pair->client.channel), 0);
    }
    free(bytes);
}

/* Around the sizes at which chunks are cut, with the link blocked in the middle of each and urgent messages between.
 */
static void large_bodies_of_awkward_sizes_survive_a_slow_link_and_urgent_messages(void **state)
{
    send_awkward_sizes(*state, (size_t)64 * 1024);
    send_awkward_sizes(*state, LINK_WRITE_SIZE);
}

static void large_bodies_are_shared_with_the_link_and_with_who_receives_them(void **state)
{
    struct pair *pair = *state;
    static uint8_t bytes[200000];
    uint8_t *block = block_of(bytes, sizeof bytes);
    pair->wire.forth.capacity = 1000;
    uint64_t seq = 1;
    uint32_t size = sizeof bytes;
    Np__Submit submit = NP__SUBMIT__INIT;
    submit.function = (char *)(uintptr_t) "echo";
    submit.seqs = &seq;
    submit.sizes = &size;
    submit.n_seqs = submit.n_sizes = 1;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_SUBMIT;
    envelope.submit = &submit;
    assert_int_equal(channel_send(pair->client.channel, &envelope, block, sizeof bytes, CHANNEL_IN_ORDER),
                     NETPOOL_OK);
    channel_flush(pair->client.channel);
    block[sizeof bytes - 1] = 7; /* against the rules, but so it is seen that there is no copy */
    np_block_free(block);
    exchange(pair);
    assert_int_equal(pair->broker.seen, 1);
    assert_ptr_equal(pair->broker.body, pair->broker.body_at);
    assert_int_equal(pair->broker.body[0], 0);
    assert_int_equal(pair->broker.body[sizeof bytes - 1], 7);
}

static void a_body_over_the_limit_is_refused_when_it_is_announced(void **state)
{
    struct pair *pair = *state;
    size_t size = 10 * 1024 * 1024 + 1;
    uint8_t *bytes = calloc(1, size);
    send_submit(&pair->client, 1, bytes, size, CHANNEL_IN_ORDER);
    exchange(pair);
    assert_int_equal(pair->broker.seen, 0);
    assert_int_equal(pair->broker.closed, 1);
    assert_int_equal(pair->broker.status, NETPOOL_PROTOCOL);
    assert_non_null(strstr(pair->broker.reason, "the limit is 10485760"));
    free(bytes);
}

static void b23_a_message_not_allowed_to_the_role_closes_both_sides_with_the_reason(void **state)
{
    struct pair *pair = *state;
    Np__Ready ready = NP__READY__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_READY;
    envelope.ready = &ready;
    assert_int_equal(channel_send(pair->client.channel, &envelope, NULL, 0, CHANNEL_IN_ORDER), NETPOOL_OK);
    exchange(pair);
    assert_int_equal(pair->broker.closed, 1);
    channel_ready(pair->client.channel);
    assert_int_equal(pair->client.closed, 1);
    assert_int_equal(pair->client.status, NETPOOL_PROTOCOL);
    assert_string_equal(pair->client.reason, pair->broker.reason);
    assert_non_null(strstr(pair->client.reason, "ready message is not allowed from a peer of role client"));
}

static void before_roles_are_known_only_the_opening_messages_pass(void **state)
{
    struct pair *pair = *state;
    channel_set_remote_role(pair->broker.channel, NP__ROLE__NONE);
    send_submit(&pair->client, 1, NULL, 0, CHANNEL_IN_ORDER);
    exchange(pair);
    assert_int_equal(pair->broker.seen, 0);
    assert_int_equal(pair->broker.closed, 1);
}

static void b13_a_wire_cut_inside_a_message_delivers_nothing_of_it(void **state)
{
    struct pair *pair = *state;
    uint8_t *bytes = pattern(200000);
    send_submit(&pair->client, 1, bytes, 200000, CHANNEL_IN_ORDER);
    channel_flush(pair->client.channel);
    pair->wire.forth.bytes.end -= 10;
    pair->wire.forth.broken = true;
    exchange(pair);
    channel_ready(pair->broker.channel);
    assert_int_equal(pair->broker.seen, 0);
    assert_int_equal(pair->broker.closed, 1);
    assert_int_equal(pair->broker.status, NETPOOL_UNREACHABLE);
    free(bytes);
}

/* Ticks the channel each second up to the fourth, as its owner would. */
static void tick_for_four_seconds(struct channel *channel)
{
    int64_t now = np_clock_now();
    for (int second = 1; second <= 4; second++) {
        channel_tick(channel, now + second * NP_NS_PER_S);
    }
}

static void b12_silence_past_the_timeout_is_noticed_and_heartbeats_prevent_it(void **state)
{
    struct pair *pair = *state;
    int64_t now = np_clock_now();
    channel_set_limits(pair->broker.channel, 1000, NP_NS_PER_S, 4 * NP_NS_PER_S);
    channel_tick(pair->client.channel, now + NP_NS_PER_S);
    assert_true(np_buffer_size(&pair->wire.forth.bytes) > 0);
    exchange(pair);
    assert_int_equal(pair->broker.seen, 0); /* heartbeats stay below */
    channel_tick(pair->broker.channel, now + 3 * NP_NS_PER_S);
    assert_int_equal(pair->broker.closed, 0);
    assert_true(channel_deadline(pair->broker.channel) <= np_clock_now() + 4 * NP_NS_PER_S);
    tick_for_four_seconds(pair->broker.channel);
    assert_int_equal(pair->broker.closed, 1);
    assert_int_equal(pair->broker.status, NETPOOL_UNREACHABLE);
    assert_non_null(strstr(pair->broker.reason, "nothing was heard from the peer for "));
    assert_true(channel_deadline(pair->broker.channel) == NP_NEVER);
}

/* A process that gets to a channel late has let it wait, which is not the peer's silence. */
static void what_has_come_is_read_before_a_peer_is_called_silent(void **state)
{
    struct pair *pair = *state;
    channel_set_limits(pair->broker.channel, 1000, 3 * NP_NS_PER_S, 4 * NP_NS_PER_S);
    send_submit(&pair->client, 1, NULL, 0, CHANNEL_IN_ORDER);
    channel_flush(pair->client.channel);
    int64_t now = np_clock_now();
    channel_tick(pair->broker.channel, now + 4 * NP_NS_PER_S);
    assert_int_equal(pair->broker.closed, 0);
    assert_int_equal(pair->broker.seen, 1);
}

/* Stopped and continued, or frozen together with the peer, which speaks up as soon as it runs again. */
static void who_has_slept_gives_the_peer_the_whole_timeout_again(void **state)
{
    struct pair *pair = *state;
    channel_set_limits(pair->broker.channel, 1000, NP_NS_PER_S, 4 * NP_NS_PER_S);
    pair->wire.back.capacity = 10;
    send_submit(&pair->broker, 1, NULL, 0, CHANNEL_IN_ORDER); /* something that the peer has not taken */
    channel_flush(pair->broker.channel);
    int64_t now = np_clock_now() + 1000 * NP_NS_PER_S;
    channel_tick(pair->broker.channel, now);
    assert_int_equal(pair->broker.closed, 0);
    assert_true(channel_deadline(pair->broker.channel) > now);
    for (int second = 1; second < 4; second++) {
        channel_tick(pair->broker.channel, now + second * NP_NS_PER_S);
        assert_int_equal(pair->broker.closed, 0);
    }
    channel_tick(pair->broker.channel, now + 4 * NP_NS_PER_S);
    assert_int_equal(pair->broker.closed, 1);
    assert_int_equal(pair->broker.status, NETPOOL_UNREACHABLE);
}

static void a_link_that_tells_the_end_of_its_peer_needs_no_signs_of_life(void **state)
{
    struct pair *pair = *state;
    pair->client.link->tells_end = true;
    channel_set_limits(pair->client.channel, 1000, NP_NS_PER_S, 4 * NP_NS_PER_S);
    pair->wire.forth.capacity = 10;
    send_submit(&pair->client, 1, NULL, 0, CHANNEL_IN_ORDER); /* the peer is stopped: it takes nothing, either */
    channel_flush(pair->client.channel);
    size_t written = np_buffer_size(&pair->wire.forth.bytes);
    pair->wire.forth.capacity = SIZE_MAX;
    tick_for_four_seconds(pair->client.channel);
    assert_int_equal(pair->client.closed, 0);
    assert_int_equal(np_buffer_size(&pair->wire.forth.bytes), written); /* no heartbeats pile up */
    assert_true(channel_deadline(pair->client.channel) == NP_NEVER);
    exchange(pair);
    assert_int_equal(pair->broker.seen, 1);
    channel_destroy(&pair->broker.channel);
    channel_ready(pair->client.channel);
    assert_int_equal(pair->client.closed, 1);
    assert_int_equal(pair->client.status, NETPOOL_UNREACHABLE);
}

static void b14_a_peer_that_takes_no_data_is_cut(void **state)
{
    struct pair *pair = *state;
    pair->wire.forth.capacity = 10;
    uint8_t bytes[100] = {0};
    send_submit(&pair->client, 1, bytes, sizeof bytes, CHANNEL_IN_ORDER);
    channel_flush(pair->client.channel);
    channel_set_limits(pair->client.channel, 1000, NP_NS_PER_S, 4 * NP_NS_PER_S);
    /* It goes on talking, so it is not silent. */
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    Np__Credit credit = NP__CREDIT__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CREDIT;
    envelope.credit = &credit;
    assert_int_equal(channel_send(pair->broker.channel, &envelope, NULL, 0, CHANNEL_URGENT), NETPOOL_OK);
    channel_flush(pair->broker.channel);
    channel_ready(pair->client.channel);
    assert_int_equal(pair->client.seen, 1);
    tick_for_four_seconds(pair->client.channel);
    assert_int_equal(pair->client.closed, 1);
    assert_int_equal(pair->client.status, NETPOOL_UNREACHABLE);
}

static void goodbye_ends_both_sides_with_its_words(void **state)
{
    struct pair *pair = *state;
    channel_close(pair->client.channel, NETPOOL_CLOSED, "the program ends");
    assert_int_equal(pair->client.closed, 0);
    exchange(pair);
    assert_int_equal(pair->client.closed, 1);
    assert_int_equal(pair->client.status, NETPOOL_CLOSED);
    assert_int_equal(pair->broker.closed, 1);
    assert_int_equal(pair->broker.status, NETPOOL_CLOSED);
    assert_string_equal(pair->broker.reason, "the program ends");
}

static void a_channel_can_be_destroyed_by_its_own_callback(void **state)
{
    struct pair *pair = *state;
    pair->broker.destroy_on_message = true;
    send_submit(&pair->client, 1, NULL, 0, CHANNEL_IN_ORDER);
    send_submit(&pair->client, 2, NULL, 0, CHANNEL_IN_ORDER);
    exchange(pair);
    assert_null(pair->broker.channel);
    assert_int_equal(pair->broker.seen, 1);
    channel_ready(pair->client.channel);
    assert_int_equal(pair->client.closed, 1);
    assert_int_equal(pair->client.status, NETPOOL_UNREACHABLE);
}

/* Feeds `bytes` to a fresh broker end and returns what it saw. */
static void feed(const uint8_t *bytes, size_t size, int *seen, int *closed)
{
    void *state = NULL;
    (void)setup(&state);
    struct pair *pair = state;
    assert_int_equal(np_buffer_append(&pair->wire.forth.bytes, bytes, size), NETPOOL_OK);
    exchange(pair);
    *seen = pair->broker.seen;
    *closed = pair->broker.closed;
    (void)teardown(&state);
}

static void b19_every_prefix_and_every_corrupted_byte_of_a_session_is_survived(void **state)
{
    struct pair *pair = *state;
    uint8_t *bytes = pattern(70000);
    send_submit(&pair->client, 1, bytes, 30, CHANNEL_IN_ORDER);
    send_submit(&pair->client, 2, bytes, 66000, CHANNEL_IN_ORDER);
    send_submit(&pair->client, 3, bytes, 3, CHANNEL_IN_ORDER);
    channel_flush(pair->client.channel);
    struct np_buffer *wire = &pair->wire.forth.bytes;
    size_t size = np_buffer_size(wire);
    uint8_t *session = malloc(size);
    memcpy(session, np_buffer_data(wire), size);
    np_buffer_clear(wire);
    int seen;
    int closed;
    feed(session, size, &seen, &closed);
    assert_int_equal(seen, 3);
    /* All of the structure, and a sample of the long payload. */
    for (size_t cut = 0; cut<size; cut += cut> 300 && cut < size - 300 ? 997 : 1) {
        feed(session, cut, &seen, &closed);
        assert_true(seen < 3 && closed == 0);
        for (unsigned flip = 1; flip < 256; flip = flip * 2 + 1) {
            session[cut] ^= (uint8_t)flip;
            feed(session, size, &seen, &closed);
            assert_true(seen <= 3);
            session[cut] ^= (uint8_t)flip;
        }
    }
    free(session);
    free(bytes);
}

int main(void)
{
#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_PAIR(b19_messages_arrive_whole_however_the_bytes_are_cut),
        WITH_PAIR(large_bodies_cross_in_chunks_and_urgent_messages_overtake_them),
        WITH_PAIR(large_bodies_of_awkward_sizes_survive_a_slow_link_and_urgent_messages),
        WITH_PAIR(large_bodies_are_shared_with_the_link_and_with_who_receives_them),
        WITH_PAIR(a_body_over_the_limit_is_refused_when_it_is_announced),
        WITH_PAIR(b23_a_message_not_allowed_to_the_role_closes_both_sides_with_the_reason),
        WITH_PAIR(before_roles_are_known_only_the_opening_messages_pass),
        WITH_PAIR(b13_a_wire_cut_inside_a_message_delivers_nothing_of_it),
        WITH_PAIR(b12_silence_past_the_timeout_is_noticed_and_heartbeats_prevent_it),
        WITH_PAIR(what_has_come_is_read_before_a_peer_is_called_silent),
        WITH_PAIR(who_has_slept_gives_the_peer_the_whole_timeout_again),
        WITH_PAIR(a_link_that_tells_the_end_of_its_peer_needs_no_signs_of_life),
        WITH_PAIR(b14_a_peer_that_takes_no_data_is_cut),
        WITH_PAIR(goodbye_ends_both_sides_with_its_words),
        WITH_PAIR(a_channel_can_be_destroyed_by_its_own_callback),
        WITH_PAIR(b19_every_prefix_and_every_corrupted_byte_of_a_session_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
