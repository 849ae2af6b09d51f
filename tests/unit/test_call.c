/* One call of a function: results, failures, blocks of items, and what an item costs. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "proto/limits.h"
#include "tests/support/cmocka_all.h"
#include "worker/executor/call.h"

struct outcome {
    netpool_status status;
    struct np_buffer result;
    char message[NP_MESSAGE_MAX + 1];
    uint64_t failed_item;
    struct call_state state;
};

static void run(struct outcome *outcome, netpool_function *function, const void *input, size_t size, uint32_t in,
                uint32_t out)
{
    struct call_request request = {.function = function,
                                   .input = {.data = input, .size = size},
                                   .item_in_size = in,
                                   .item_out_size = out,
                                   .first_item = 1000,
                                   .attempt = 3,
                                   .max_result = 1 << 20};
    outcome->failed_item = UINT64_MAX;
    outcome->status = call_run(&request, &outcome->state, &outcome->result, outcome->message, &outcome->failed_item);
}

static netpool_status twice(netpool_call *call, netpool_bytes input)
{
    assert_int_equal(netpool_attempt(call), 3);
    assert_int_equal(netpool_return(call, "something else", 14), NETPOOL_OK);
    return netpool_return(call, input.data, input.size);
}

static netpool_status nothing(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    return NETPOOL_OK;
}

static netpool_status too_much(netpool_call *call, netpool_bytes input)
{
    (void)input;
    assert_null(netpool_return_buffer(call, (1 << 20) + 1));
    return netpool_fail(call, "no room");
}

static netpool_status says_crashed(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    return NETPOOL_CRASHED;
}

static netpool_status long_words(netpool_call *call, netpool_bytes input)
{
    (void)input;
    return netpool_fail(call, "%5000d", 1);
}

/* What its executor shows while a function runs. */
static struct {
    struct call_state *state;
    uint64_t done;
    uint64_t total;
} shown;

static netpool_status half_way(netpool_call *call, netpool_bytes input)
{
    netpool_progress(call, 5, 10);
    shown.done = atomic_load(&shown.state->done);
    shown.total = atomic_load(&shown.state->total);
    return netpool_return(call, input.data, input.size);
}

static void a24_progress_of_an_item_is_part_of_its_blocks(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    shown.state = &outcome.state;
    run(&outcome, half_way, "abcdefgh", 8, 2, 2);
    assert_int_equal(shown.done, 35); /* the last of four items, each of 10, has done 5 */
    assert_int_equal(shown.total, 40);
    run(&outcome, half_way, "abcdefgh", 8, 0, 0);
    assert_int_equal(shown.done, 5);
    assert_int_equal(shown.total, 10);
    np_buffer_fini(&outcome.result);
}

static void last_result_counts_and_none_is_empty(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    run(&outcome, twice, "abc", 3, 0, 0);
    assert_int_equal(outcome.status, NETPOOL_OK);
    assert_int_equal(np_buffer_size(&outcome.result), 3);
    assert_memory_equal(np_buffer_data(&outcome.result), "abc", 3);
    run(&outcome, nothing, "abc", 3, 0, 0);
    assert_int_equal(outcome.status, NETPOOL_OK);
    assert_int_equal(np_buffer_size(&outcome.result), 0);
    np_buffer_fini(&outcome.result);
}

static void failures_are_failures_whatever_the_function_calls_them(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    run(&outcome, too_much, NULL, 0, 0, 0);
    assert_int_equal(outcome.status, NETPOOL_TOO_LARGE);
    run(&outcome, says_crashed, NULL, 0, 0, 0);
    assert_int_equal(outcome.status, NETPOOL_FAILED);
    assert_string_equal(outcome.message, netpool_status_text(NETPOOL_CRASHED));
    run(&outcome, long_words, NULL, 0, 0, 0);
    assert_int_equal(outcome.status, NETPOOL_FAILED);
    assert_int_equal(strlen(outcome.message), NP_MESSAGE_MAX);
    np_buffer_fini(&outcome.result);
}

static netpool_status increment(netpool_call *call, netpool_bytes input)
{
    uint64_t number;
    memcpy(&number, input.data, sizeof number);
    number++;
    return netpool_return(call, &number, sizeof number);
}

static netpool_status fails_on_seven(netpool_call *call, netpool_bytes input)
{
    if (netpool_item(call) == 1007) {
        return netpool_fail(call, "seven");
    }
    void *place = netpool_return_buffer(call, 3);
    assert_non_null(place);
    memcpy(place, input.data, 3);
    return NETPOOL_OK;
}

static netpool_status smaller_than_its_room(netpool_call *call, netpool_bytes input)
{
    char *place = netpool_return_buffer(call, 100000);
    assert_non_null(place);
    memcpy(place, input.data, input.size);
    memset(place + input.size, 'x', 100000 - input.size);
    return netpool_return(call, place, input.size);
}

static netpool_status wrong_size(netpool_call *call, netpool_bytes input)
{
    return netpool_return(call, input.data, 2);
}

static netpool_status cancels_itself(netpool_call *call, netpool_bytes input)
{
    struct call_state *shared = *(struct call_state *const *)input.data;
    if (netpool_item(call) == 1002) {
        atomic_store(&shared->cancelled, 1);
    }
    return NETPOOL_OK;
}

static void result_may_turn_out_smaller_than_its_room(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    run(&outcome, smaller_than_its_room, "hello", 5, 0, 0);
    assert_int_equal(outcome.status, NETPOOL_OK);
    assert_int_equal(np_buffer_size(&outcome.result), 5);
    assert_memory_equal(np_buffer_data(&outcome.result), "hello", 5);
    np_buffer_fini(&outcome.result);
}

static void blocks_give_one_result_an_item(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    uint64_t numbers[100];
    for (uint64_t i = 0; i < 100; i++) {
        numbers[i] = i * i;
    }
    run(&outcome, increment, numbers, sizeof numbers, 8, 8);
    assert_int_equal(outcome.status, NETPOOL_OK);
    assert_int_equal(np_buffer_size(&outcome.result), sizeof numbers);
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t number;
        memcpy(&number, np_buffer_data(&outcome.result) + i * 8, 8);
        assert_int_equal(number, i * i + 1);
    }
    run(&outcome, nothing, numbers, sizeof numbers, 8, 0);
    assert_int_equal(outcome.status, NETPOOL_OK);
    assert_int_equal(np_buffer_size(&outcome.result), 0);
    run(&outcome, increment, numbers, 0, 8, 8);
    assert_int_equal(outcome.status, NETPOOL_OK);
    np_buffer_fini(&outcome.result);
}

static void failed_item_of_a_block_is_named(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    const char input[30] = "";
    run(&outcome, fails_on_seven, input, sizeof input, 3, 3);
    assert_int_equal(outcome.status, NETPOOL_FAILED);
    assert_int_equal(outcome.failed_item, 7);
    assert_string_equal(outcome.message, "seven");
    assert_int_equal(np_buffer_size(&outcome.result), 0);
    run(&outcome, wrong_size, input, sizeof input, 3, 3);
    assert_int_equal(outcome.status, NETPOOL_FAILED);
    assert_int_equal(outcome.failed_item, 0);
    run(&outcome, nothing, input, sizeof input, 3, 3);
    assert_int_equal(outcome.status, NETPOOL_FAILED);
    run(&outcome, nothing, input, 29, 3, 3);
    assert_int_equal(outcome.status, NETPOOL_FAILED);
    run(&outcome, nothing, input, 30, 3, 1 << 20);
    assert_int_equal(outcome.status, NETPOOL_TOO_LARGE);
    np_buffer_fini(&outcome.result);
}

static void cancelled_block_stops_between_items(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    const struct call_state *states[10];
    for (int i = 0; i < 10; i++) {
        states[i] = &outcome.state;
    }
    run(&outcome, cancels_itself, states, sizeof states, sizeof states[0], 0);
    assert_int_equal(outcome.status, NETPOOL_CANCELLED);
    assert_int_equal(outcome.failed_item, 2);
    np_buffer_fini(&outcome.result);
}

static void item_of_a_block_costs_little_more_than_the_function(void **state)
{
    (void)state;
    enum { ITEMS = 100000 };
    struct outcome outcome = {0};
    uint64_t *numbers = calloc(ITEMS, sizeof *numbers);
    int64_t best = INT64_MAX;
    for (int round = 0; round < 5; round++) {
        int64_t start = np_clock_now();
        run(&outcome, increment, numbers, ITEMS * sizeof *numbers, 8, 8);
        best = np_earlier(best, np_clock_now() - start);
        assert_int_equal(outcome.status, NETPOOL_OK);
    }
    print_message("%.1f million items/s\n", ITEMS * 1e3 / (double)best);
    free(numbers);
    np_buffer_fini(&outcome.result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_result_counts_and_none_is_empty),
        cmocka_unit_test(failures_are_failures_whatever_the_function_calls_them),
        cmocka_unit_test(result_may_turn_out_smaller_than_its_room),
        cmocka_unit_test(blocks_give_one_result_an_item),
        cmocka_unit_test(a24_progress_of_an_item_is_part_of_its_blocks),
        cmocka_unit_test(failed_item_of_a_block_is_named),
        cmocka_unit_test(cancelled_block_stops_between_items),
        cmocka_unit_test(item_of_a_block_costs_little_more_than_the_function),
    };
    return cmocka_run_group_tests_name("call", tests, NULL, NULL);
}
