/* Arguments that cannot be (A20): each public call refuses them, and netpool_last_error names the call. */
#include <stdint.h>

#include "tests/system/pool/pool_cases.h"

/* Words of another call stand there before. */
static void forget_words(void)
{
    assert_int_equal(netpool_wait(NULL, 0, NULL), NETPOOL_INVALID);
    assert_int_equal(netpool_cancel(NULL), NETPOOL_INVALID);
}

static void assert_words_of(const char *call)
{
    const char *words = netpool_last_error();
    if (strncmp(words, call, strlen(call)) != 0 || strncmp(words + strlen(call), ": ", 2) != 0) {
        fail_msg("%s left the words '%s'", call, words);
    }
}

#define ASSERT_REFUSED(status, call, ...)            \
    do {                                             \
        forget_words();                              \
        assert_int_equal(call(__VA_ARGS__), status); \
        assert_words_of(#call);                      \
    } while (0)

/* The same for calls that return nothing. */
#define ASSERT_SPOKEN(call, ...) \
    do {                         \
        forget_words();          \
        call(__VA_ARGS__);       \
        assert_words_of(#call);  \
    } while (0)

static void a20_null_is_refused_by_name(void **state)
{
    (void)state;
    const netpool_bytes input = {0};
    netpool_profile profile;
    uint64_t number;
    double part;
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_open, NULL, "threads:1", NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_submit, NULL, NULL, input, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_cancel_pending, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_wait_many, NULL, SIZE_MAX, NETPOOL_ALL_COMPLETED, 0, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_as_completed, NULL, SIZE_MAX, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_completion_next, NULL, 0, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_map, NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_map_bytes, NULL, NULL, NULL, 0, NULL, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_reduce, NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_reduce_bytes, NULL, NULL, NULL, 0, NULL, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_stream_open, NULL, NULL, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_stream_put, NULL, input, 0);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_stream_next, NULL, 0, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_get_info, NULL, NULL, 0, NULL);
    ASSERT_REFUSED(false, netpool_is_done, NULL);
    ASSERT_SPOKEN(netpool_get_progress, NULL, NULL, NULL);
    ASSERT_SPOKEN(netpool_get_profile, NULL, &profile);
    ASSERT_SPOKEN(netpool_stream_end, NULL);
    ASSERT_SPOKEN(netpool_stream_get_progress, NULL, &number, &part);
    ASSERT_SPOKEN(netpool_stream_get_profile, NULL, &profile);
    ASSERT_SPOKEN(netpool_stream_get_profile, NULL, NULL);
    netpool_terminate(NULL);
    netpool_future_free(NULL);
    netpool_stream_close(NULL);
    netpool_info_free(NULL);
    netpool_free_results(NULL, 1);
    netpool_init(NULL, NULL);
}

static void a20_arrays_that_no_memory_can_hold_are_refused(void **state)
{
    netpool *pool = pool_of(state);
    char bytes[16] = {0};
    netpool_bytes items[1] = {{bytes, 8}};
    netpool_bytes results[1];
    ASSERT_REFUSED(NETPOOL_TOO_LARGE, netpool_submit, pool, "square", bytes_of(bytes, SIZE_MAX), NULL,
                   &(netpool_future *){NULL});
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_map, pool, "square", bytes, SIZE_MAX, 8, bytes, 8, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_TOO_LARGE, netpool_map, pool, "square", bytes, 1, SIZE_MAX, bytes, 8, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_TOO_LARGE, netpool_map, pool, "square", bytes, 1, 8, bytes, SIZE_MAX, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_map_bytes, pool, "square", items, SIZE_MAX / 8, results, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_map_bytes, NULL, "square", items, SIZE_MAX, results, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_reduce, pool, "square", bytes, SIZE_MAX, 8, bytes, 8, NULL, NULL);
    ASSERT_REFUSED(NETPOOL_TOO_LARGE, netpool_reduce, pool, "square", bytes, 1, SIZE_MAX, bytes, SIZE_MAX, NULL,
                   NULL);
    ASSERT_REFUSED(NETPOOL_INVALID, netpool_reduce_bytes, pool, "square", items, SIZE_MAX, results, NULL, NULL);
    netpool_close(&pool);
}

const struct CMUnitTest argument_cases[] = {
    cmocka_unit_test(a20_null_is_refused_by_name),
    cmocka_unit_test(a20_arrays_that_no_memory_can_hold_are_refused),
};
const size_t argument_case_count = sizeof argument_cases / sizeof argument_cases[0];
