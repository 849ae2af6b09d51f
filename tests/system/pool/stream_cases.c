#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/system/pool/pool_cases.h"

enum { ITEMS = 100000 };

static netpool_stream *open_stream(netpool *pool, const char *function, const netpool_stream_options *options)
{
    netpool_stream *stream;
    assert_int_equal(netpool_stream_open(pool, function, options, &stream), NETPOOL_OK);
    return stream;
}

static void *put_all(void *context)
{
    netpool_stream *stream = context;
    for (uint64_t i = 0; i < ITEMS; i++) {
        if (netpool_stream_put(stream, bytes_of(&i, sizeof i), 60000) != NETPOOL_OK) {
            return NULL;
        }
    }
    netpool_stream_end(stream);
    return context;
}

static void a6_ordered_stream_gives_results_in_the_order_of_its_inputs(void **state)
{
    netpool *pool = pool_of(state);
    netpool_stream *stream = open_stream(pool, "square", NULL);
    pthread_t putter;
    void *returned;
    assert_int_equal(pthread_create(&putter, NULL, put_all, stream), 0);
    netpool_result result;
    uint64_t index;
    for (uint64_t i = 0; i < ITEMS; i++) {
        assert_int_equal(netpool_stream_next(stream, 60000, &index, &result), NETPOOL_OK);
        assert_int_equal(index, i);
        assert_int_equal(result.status, NETPOOL_OK);
        assert_int_equal(number_of(&result), i * i);
    }
    assert_int_equal(netpool_stream_next(stream, -1, &index, &result), NETPOOL_CLOSED);
    assert_int_equal(pthread_join(putter, &returned), 0);
    assert_ptr_equal(returned, stream);
    netpool_stream_close(&stream);
    assert_null(stream);
    netpool_close(&pool);
}

/* One thread that puts and takes. */
static void a6_unordered_stream_gives_each_result_once(void **state)
{
    netpool *pool = pool_of(state);
    netpool_stream_options options = {.unordered = true, .in_flight = 1000};
    netpool_stream *stream = open_stream(pool, "square", &options);
    unsigned char *seen = calloc(ITEMS, 1);
    netpool_result result;
    uint64_t index;
    uint64_t put = 0;
    assert_non_null(seen);
    for (uint64_t taken = 0; taken < ITEMS; taken++) {
        while (put < ITEMS && netpool_stream_put(stream, bytes_of(&put, sizeof put), 0) == NETPOOL_OK) {
            put++;
        }
        assert_int_equal(netpool_stream_next(stream, 60000, &index, &result), NETPOOL_OK);
        assert_true(index < put && put - taken <= 1000);
        assert_int_equal(seen[index], 0);
        seen[index] = 1;
        assert_int_equal(number_of(&result), index * index);
    }
    netpool_stream_end(stream);
    assert_int_equal(netpool_stream_next(stream, -1, NULL, NULL), NETPOOL_CLOSED);
    assert_int_equal(netpool_stream_put(stream, bytes_of("", 0), -1), NETPOOL_CLOSED);
    netpool_stream_close(&stream);
    free(seen);
    netpool_close(&pool);
}

static void *put_one_more(void *stream)
{
    return netpool_stream_put(stream, bytes_of("", 0), -1) == NETPOOL_OK ? stream : NULL;
}

/* The taker goes on only when the putter has: one free place must do. */
static void a6_a_single_free_place_is_enough_for_a_waiting_putter(void **state)
{
    netpool *pool = pool_of(state);
    netpool_stream_options options = {.in_flight = 64};
    netpool_stream *stream = open_stream(pool, "nothing", &options);
    while (netpool_stream_put(stream, bytes_of("", 0), 0) == NETPOOL_OK) {
    }
    for (int i = 0; i < 3; i++) {
        pthread_t putter;
        void *returned;
        assert_int_equal(pthread_create(&putter, NULL, put_one_more, stream), 0);
        assert_int_equal(netpool_stream_next(stream, 60000, NULL, NULL), NETPOOL_OK);
        assert_int_equal(pthread_join(putter, &returned), 0);
        assert_ptr_equal(returned, stream);
    }
    netpool_stream_close(&stream);
    netpool_close(&pool);
}

static void a6_failed_items_come_like_the_others(void **state)
{
    netpool *pool = pool_of(state);
    netpool_stream *stream = open_stream(pool, "fail_above", NULL);
    netpool_result result;
    uint64_t index;
    for (uint64_t i = 0; i < 2000; i++) {
        assert_int_equal(netpool_stream_put(stream, bytes_of(&i, sizeof i), 10000), NETPOOL_OK);
    }
    netpool_stream_end(stream);
    for (uint64_t i = 0; i < 2000; i++) {
        assert_int_equal(netpool_stream_next(stream, 20000, &index, &result), NETPOOL_OK);
        assert_int_equal(index, i);
        assert_int_equal(result.status, i > 1000 ? NETPOOL_FAILED : NETPOOL_OK);
        assert_true((result.failure != NULL) == (i > 1000));
    }
    netpool_stream_close(&stream);
    netpool_close(&pool);
}

static void a6_stream_is_bounded_in_items_and_bytes(void **state)
{
    netpool *pool = pool_of(state);
    static char block[60000];
    netpool_stream_options few = {.in_flight = 3};
    netpool_stream_options small = {.in_flight_bytes = 100000};
    netpool_stream *stream = open_stream(pool, "echo", &few);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(netpool_stream_put(stream, bytes_of("a", 1), 0), NETPOOL_OK);
    }
    assert_int_equal(netpool_stream_put(stream, bytes_of("a", 1), 0), NETPOOL_TIMEOUT);
    assert_int_equal(netpool_stream_put(stream, bytes_of("a", 1), 20), NETPOOL_TIMEOUT);
    assert_int_equal(netpool_stream_next(stream, 10000, NULL, NULL), NETPOOL_OK);
    assert_int_equal(netpool_stream_put(stream, bytes_of("a", 1), 0), NETPOOL_OK);
    netpool_stream_close(&stream);
    stream = open_stream(pool, "echo", &small);
    assert_int_equal(netpool_stream_put(stream, bytes_of(block, sizeof block), 0), NETPOOL_OK);
    assert_int_equal(netpool_stream_put(stream, bytes_of(block, sizeof block), 0), NETPOOL_TIMEOUT);
    assert_int_equal(netpool_stream_next(stream, 10000, NULL, NULL), NETPOOL_OK);
    assert_int_equal(netpool_stream_put(stream, bytes_of(block, sizeof block), 0), NETPOOL_OK);
    netpool_stream_close(&stream);
    netpool_close(&pool);
}

static void a6_stream_may_be_closed_in_the_middle(void **state)
{
    netpool *pool = pool_of(state);
    netpool_stream *stream = open_stream(pool, "sleep_ms", NULL);
    for (uint64_t i = 0; i < 500; i++) {
        uint64_t ms = 5;
        assert_int_equal(netpool_stream_put(stream, bytes_of(&ms, sizeof ms), 0), NETPOOL_OK);
    }
    assert_int_equal(netpool_stream_next(stream, 10000, NULL, NULL), NETPOOL_OK);
    netpool_stream_close(&stream);
    netpool_future *future = submit_number(pool, "square", 6, NULL); /* the pool goes on */
    assert_int_equal(netpool_wait(future, 20000, NULL), NETPOOL_OK);
    netpool_future_free(&future);
    netpool_close(&pool);
}

static void *put_until_refused(void *context)
{
    netpool_stream *stream = context;
    netpool_status status;
    do {
        status = netpool_stream_put(stream, bytes_of("a", 1), -1);
    } while (status == NETPOOL_OK);
    return status == NETPOOL_CLOSED ? stream : NULL;
}

static void a6_put_that_waits_is_told_of_the_end(void **state)
{
    netpool_stream_options few = {.in_flight = 4};
    for (int closes = 0; closes < 2; closes++) { /* of the stream, of the pool */
        netpool *pool = pool_of(state);
        netpool_stream *stream = open_stream(pool, "echo", &few);
        pthread_t putter;
        void *returned;
        assert_int_equal(pthread_create(&putter, NULL, put_until_refused, stream), 0);
        assert_int_equal(netpool_stream_next(stream, 10000, NULL, NULL), NETPOOL_OK);
        if (closes == 0) {
            netpool_stream_end(stream);
        } else {
            netpool_close(&pool);
        }
        assert_int_equal(pthread_join(putter, &returned), 0);
        assert_ptr_equal(returned, stream);
        netpool_stream_close(&stream);
        netpool_close(&pool);
    }
}

static void a6_empty_stream_ends_at_once(void **state)
{
    netpool *pool = pool_of(state);
    netpool_stream *stream = open_stream(pool, "echo", NULL);
    assert_int_equal(netpool_stream_next(stream, 0, NULL, NULL), NETPOOL_TIMEOUT);
    netpool_stream_end(stream);
    assert_int_equal(netpool_stream_next(stream, -1, NULL, NULL), NETPOOL_CLOSED);
    netpool_stream_close(&stream);
    netpool_stream_options reserved = {.reserved = {1}};
    assert_int_equal(netpool_stream_open(pool, "echo", &reserved, &stream), NETPOOL_INVALID);
    assert_int_equal(netpool_stream_open(pool, "a b", NULL, &stream), NETPOOL_INVALID);
    netpool_close(&pool);
}

struct race {
    netpool_stream *stream;
    atomic_bool has_begun;
    uint64_t put; /* with success */
};

static void *put_until_over(void *context)
{
    struct race *race = context;
    atomic_store(&race->has_begun, true);
    while (netpool_stream_put(race->stream, bytes_of(&race->put, sizeof race->put), 60000) == NETPOOL_OK) {
        race->put++;
    }
    return NULL;
}

static void *end_soon(void *context)
{
    struct race *race = context;
    while (!atomic_load(&race->has_begun)) {
        (void)sched_yield();
    }
    netpool_stream_end(race->stream);
    return NULL;
}

/* One thread puts, one ends, one takes. */
static void a6_each_item_that_was_put_comes_out_before_a_stream_that_is_ended_meanwhile_says_closed(void **state)
{
    netpool *pool = pool_of(state);
    for (int round = 0; round < 500; round++) {
        netpool_stream_options options = {.unordered = round % 2 == 0};
        struct race race = {.stream = open_stream(pool, "square", &options)};
        pthread_t threads[2];
        assert_int_equal(pthread_create(&threads[0], NULL, put_until_over, &race), 0);
        assert_int_equal(pthread_create(&threads[1], NULL, end_soon, &race), 0);
        uint64_t taken = 0;
        netpool_status status;
        while ((status = netpool_stream_next(race.stream, 60000, NULL, NULL)) == NETPOOL_OK) {
            taken++;
        }
        assert_int_equal(status, NETPOOL_CLOSED);
        assert_int_equal(pthread_join(threads[0], NULL) + pthread_join(threads[1], NULL), 0);
        assert_int_equal(taken, race.put);
        netpool_stream_close(&race.stream);
    }
    netpool_close(&pool);
}

const struct CMUnitTest stream_cases[] = {
    cmocka_unit_test(a6_ordered_stream_gives_results_in_the_order_of_its_inputs),
    cmocka_unit_test(a6_unordered_stream_gives_each_result_once),
    cmocka_unit_test(a6_a_single_free_place_is_enough_for_a_waiting_putter),
    cmocka_unit_test(a6_failed_items_come_like_the_others),
    cmocka_unit_test(a6_stream_is_bounded_in_items_and_bytes),
    cmocka_unit_test(a6_stream_may_be_closed_in_the_middle),
    cmocka_unit_test(a6_put_that_waits_is_told_of_the_end),
    cmocka_unit_test(a6_empty_stream_ends_at_once),
    cmocka_unit_test(a6_each_item_that_was_put_comes_out_before_a_stream_that_is_ended_meanwhile_says_closed),
};
const size_t stream_case_count = sizeof stream_cases / sizeof stream_cases[0];
