/* Results leave a worker as far as the credit and the link allow, and the rest waits for a reason that will end. */
#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/memory_link.h"
#include "worker/outbox.h"

enum { MIB = 1024 * 1024, COUNT = 5 };

struct desk {
    struct reactor *reactor;
    struct memory_wire wire;
    struct channel *channel;
    struct outbox outbox;
    struct batch *batch;
    uint64_t sent_bytes;
};

static void on_received(void *owner, struct channel *channel, struct np_message *message)
{
    (void)owner;
    (void)channel;
    (void)message;
    fail_msg("nobody speaks to this worker");
}

static void on_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    (void)owner;
    (void)channel;
    (void)status;
    fail_msg("%s", reason);
}

static const struct channel_handler handler = {.received = on_received, .closed = on_closed};

/* With five results of a MiB. */
static int open_desk(void **state)
{
    struct desk *desk = calloc(1, sizeof *desk);
    const struct channel_options options = {.local_role = NP__ROLE__WORKER, .max_payload = MIB};
    assert_int_equal(reactor_new(&desk->reactor, NULL), NETPOOL_OK);
    memory_wire_init(&desk->wire);
    struct link *link = memory_link_new(&desk->wire.back, &desk->wire.forth);
    assert_int_equal(channel_new(&desk->channel, desk->reactor, link, &options, &handler, NULL, NULL), NETPOOL_OK);
    assert_int_equal(reactor_turn(desk->reactor, 0), 1);
    assert_true(channel_is_open(desk->channel));
    outbox_init(&desk->outbox);
    desk->batch = calloc(1, sizeof *desk->batch);
    for (uint64_t seq = 1; seq <= COUNT; seq++) {
        const struct task task = {.batch = desk->batch, .seq = seq, .attempt = 1};
        const struct outbox_result result = {.task = &task, .size = MIB};
        uint8_t *body = np_block_new(MIB);
        memset(body, 1, MIB);
        outbox_add_large(&desk->outbox, &result, body);
    }
    *state = desk;
    return 0;
}

static int close_desk(void **state)
{
    struct desk *desk = *state;
    channel_destroy(&desk->channel);
    outbox_fini(&desk->outbox);
    memory_wire_fini(&desk->wire);
    reactor_destroy(&desk->reactor);
    free(desk->batch);
    free(desk);
    return 0;
}

/* Were one kept back, nothing would tell when its turn has come: the channel has nothing to write any more. */
static void a_link_that_takes_all_gets_all(void **state)
{
    struct desk *desk = *state;
    outbox_send(&desk->outbox, desk->channel, UINT64_MAX, &desk->sent_bytes);
    assert_true(outbox_is_empty(&desk->outbox));
    assert_int_equal(desk->sent_bytes, COUNT * MIB);
    assert_int_equal(channel_backlog(desk->channel), 0);
    assert_true(np_buffer_size(&desk->wire.forth.bytes) > COUNT * MIB);
}

static void a_link_that_is_full_has_few_waiting_in_front_of_it(void **state)
{
    struct desk *desk = *state;
    desk->wire.forth.capacity = MIB / 2;
    for (uint64_t taken = 0; !outbox_is_empty(&desk->outbox) || channel_backlog(desk->channel) > 0;) {
        outbox_send(&desk->outbox, desk->channel, UINT64_MAX, &desk->sent_bytes);
        assert_in_range(channel_backlog(desk->channel), 0, 2 * MIB + 4096);
        size_t size = np_buffer_size(&desk->wire.forth.bytes);
        assert_true(size > 0);
        taken += size;
        assert_in_range(taken, 0, COUNT * MIB + (uint64_t)64 * 1024);
        np_buffer_clear(&desk->wire.forth.bytes);
    }
    assert_int_equal(desk->sent_bytes, COUNT * MIB);
}

static void no_more_leaves_than_there_is_credit_for(void **state)
{
    struct desk *desk = *state;
    outbox_send(&desk->outbox, desk->channel, 2 * MIB + 1, &desk->sent_bytes);
    assert_int_equal(desk->sent_bytes, 2 * MIB);
    assert_int_equal(channel_backlog(desk->channel), 0);
    outbox_send(&desk->outbox, desk->channel, COUNT * MIB, &desk->sent_bytes);
    assert_true(outbox_is_empty(&desk->outbox));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_link_that_takes_all_gets_all, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(a_link_that_is_full_has_few_waiting_in_front_of_it, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(no_more_leaves_than_there_is_credit_for, open_desk, close_desk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
