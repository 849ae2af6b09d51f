/* Messages and structs as arguments and results: the types and functions of examples/arguments. */
#include <stdio.h>
#include <stdlib.h>

#include "examples/arguments/arguments.h"
#include "tests/system/pool/pool_cases.h"

enum { COUNT = 500 };

/* An order that somebody else's memory stands behind. */
static Demo__Order order_of(char *item, uint32_t *pieces, size_t count, double each)
{
    Demo__Order order = DEMO__ORDER__INIT;
    order.item = item;
    order.pieces = pieces;
    order.n_pieces = count;
    order.each = each;
    return order;
}

static void a7_messages_are_argument_and_result_of_a_task(void **state)
{
    netpool *pool = pool_of(state);
    char item[] = "bolt";
    uint32_t pieces[] = {100, 20, 3};
    Demo__Order order = order_of(item, pieces, 3, 0.5);
    netpool_future *future;
    netpool_result result;
    Demo__Quote *quote = NULL;
    netpool_error error;
    assert_int_equal(price_submit(pool, &order, NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_OK);
    assert_int_equal(demo__quote__result(&result, &quote, &error), NETPOOL_OK);
    assert_string_equal(quote->text, "123 x bolt");
    assert_true(quote->price == 61.5);
    demo__quote__free_unpacked(quote, NULL);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a7_map_over_messages_keeps_their_order(void **state)
{
    netpool *pool = pool_of(state);
    static uint32_t pieces[COUNT];
    static Demo__Order orders[COUNT];
    static const Demo__Order *in[COUNT];
    static Demo__Quote *out[COUNT];
    char item[] = "nut";
    netpool_error error;
    for (uint32_t i = 0; i < COUNT; i++) {
        pieces[i] = i;
        orders[i] = order_of(item, &pieces[i], 1, 2);
        in[i] = &orders[i];
    }
    if (price_map(pool, in, COUNT, out, NULL, &error) != NETPOOL_OK) {
        fail_msg("%s", error.message);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(out[i]->price == 2 * (double)i);
        demo__quote__free_unpacked(out[i], NULL);
    }
    netpool_close(&pool);
}

static void a7_stream_takes_messages_and_gives_them(void **state)
{
    netpool *pool = pool_of(state);
    netpool_stream *stream;
    netpool_result result;
    netpool_error error;
    char item[] = "nut";
    assert_int_equal(netpool_stream_open(pool, "price", NULL, &stream), NETPOOL_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        Demo__Order order = order_of(item, &i, 1, 2);
        assert_int_equal(demo__order__put(stream, &order, 60000), NETPOOL_OK);
    }
    netpool_stream_end(stream);
    for (uint32_t i = 0; i < COUNT; i++) {
        Demo__Quote *quote = NULL;
        assert_int_equal(netpool_stream_next(stream, 60000, NULL, &result), NETPOOL_OK);
        assert_int_equal(demo__quote__result(&result, &quote, &error), NETPOOL_OK);
        assert_true(quote->price == 2 * (double)i);
        demo__quote__free_unpacked(quote, NULL);
    }
    netpool_stream_close(&stream);
    netpool_close(&pool);
}

static void a7_bytes_that_are_no_message_are_named(void **state)
{
    netpool *pool = pool_of(state);
    static const char garbage[] = "\x0a\x7f no message";
    netpool_future *future;
    netpool_result result;
    netpool_error error;
    Demo__Quote *quote = NULL;
    assert_int_equal(netpool_submit(pool, "price", bytes_of(garbage, sizeof garbage), NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_FAILED);
    assert_string_equal(result.failure->message, "14 bytes are no message demo.Order");
    assert_int_equal(demo__quote__result(&result, &quote, &error), NETPOOL_FAILED);
    assert_string_equal(error.message, "14 bytes are no message demo.Order");
    netpool_future_free(&future);
    assert_int_equal(netpool_submit(pool, "echo", bytes_of(garbage, sizeof garbage), NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_OK);
    assert_int_equal(demo__quote__result(&result, &quote, &error), NETPOOL_INVALID);
    assert_string_equal(error.message, "a result of 14 bytes is no message demo.Quote");
    assert_null(quote);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a20_incomplete_messages_are_not_sent(void **state)
{
    netpool *pool = pool_of(state);
    char item[] = "nut";
    Demo__Order good = order_of(item, NULL, 0, 1);
    Demo__Order broken = order_of(item, NULL, 2, 1);
    const Demo__Order *in[] = {&good, &broken};
    Demo__Quote *out[2];
    netpool_future *future;
    netpool_error error;
    assert_int_equal(price_submit(pool, &broken, NULL, &future), NETPOOL_INVALID);
    assert_null(future);
    assert_int_equal(price_submit(pool, NULL, NULL, &future), NETPOOL_INVALID);
    assert_int_equal(price_map(pool, in, 2, out, NULL, &error), NETPOOL_INVALID);
    assert_string_equal(error.message, "item 1: no complete message");
    assert_null(out[0]);
    assert_int_equal(price_map(pool, NULL, 2, out, NULL, &error), NETPOOL_INVALID);
    assert_int_equal(price_map(pool, in, 0, NULL, NULL, &error), NETPOOL_OK);
    netpool_close(&pool);
}

static void a7_structs_are_arguments_and_results(void **state)
{
    netpool *pool = pool_of(state);
    static struct triangle in[COUNT];
    static struct measures out[COUNT];
    netpool_future *future;
    netpool_result result;
    struct measures measures;
    netpool_error error;
    for (size_t i = 0; i < COUNT; i++) {
        double scale = (double)i + 1;
        in[i] = (struct triangle){3 * scale, 4 * scale, 5 * scale};
    }
    assert_int_equal(measure_map(pool, in, COUNT, out, NULL, &error), NETPOOL_OK);
    for (size_t i = 0; i < COUNT; i++) {
        double scale = (double)i + 1;
        assert_true(out[i].circumference == 12 * scale && out[i].area == 6 * scale * scale);
    }
    assert_int_equal(measure_submit(pool, &in[1], NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_OK);
    assert_int_equal(measures_result(&result, &measures, &error), NETPOOL_OK);
    assert_true(measures.area == 24);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void a7_structs_of_another_size_are_named(void **state)
{
    netpool *pool = pool_of(state);
    netpool_future *future;
    netpool_result result;
    struct measures measures;
    netpool_error error;
    assert_int_equal(netpool_submit(pool, "measure", bytes_of("1234567", 7), NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_FAILED);
    assert_string_equal(result.failure->message, "expected struct triangle (24 bytes), got 7 bytes");
    assert_int_equal(measures_result(&result, &measures, NULL), NETPOOL_FAILED);
    netpool_future_free(&future);
    assert_int_equal(netpool_submit(pool, "echo", bytes_of("1234567", 7), NULL, &future), NETPOOL_OK);
    assert_int_equal(netpool_wait(future, 60000, &result), NETPOOL_OK);
    assert_int_equal(measures_result(&result, &measures, &error), NETPOOL_INVALID);
    assert_string_equal(error.message, "expected struct measures (16 bytes), got a result of 7 bytes");
    netpool_future_free(&future);
    assert_int_equal(measure_submit(pool, NULL, NULL, &future), NETPOOL_INVALID);
    netpool_close(&pool);
}

const struct CMUnitTest typed_cases[] = {
    cmocka_unit_test(a7_messages_are_argument_and_result_of_a_task),
    cmocka_unit_test(a7_map_over_messages_keeps_their_order),
    cmocka_unit_test(a7_stream_takes_messages_and_gives_them),
    cmocka_unit_test(a7_bytes_that_are_no_message_are_named),
    cmocka_unit_test(a20_incomplete_messages_are_not_sent),
    cmocka_unit_test(a7_structs_are_arguments_and_results),
    cmocka_unit_test(a7_structs_of_another_size_are_named),
};
const size_t typed_case_count = sizeof typed_cases / sizeof typed_cases[0];
