/* Buffers, arenas, tables, random numbers, URLs, errors. */
#include <string.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/random.h"
#include "common/slab.h"
#include "common/table.h"
#include "common/text.h"
#include "common/url.h"
#include "tests/support/cmocka_all.h"

static void buffer_keeps_bytes_in_order_under_random_use(void **state)
{
    (void)state;
    struct np_buffer buffer = {0};
    struct np_random random = {1};
    uint8_t next_in = 0;
    uint8_t next_out = 0;
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[300];
        size_t size = np_random_below(&random, sizeof bytes);
        for (size_t j = 0; j < size; j++) {
            bytes[j] = next_in++;
        }
        assert_int_equal(np_buffer_append(&buffer, bytes, size), NETPOOL_OK);
        size_t take = np_random_below(&random, np_buffer_size(&buffer) + 1);
        for (size_t j = 0; j < take; j++) {
            assert_int_equal(np_buffer_data(&buffer)[j], next_out++);
        }
        np_buffer_consume(&buffer, take);
        assert_true(buffer.capacity <= 64 * 1024);
    }
    np_buffer_fini(&buffer);
}

static void buffer_refuses_a_size_that_overflows(void **state)
{
    (void)state;
    struct np_buffer buffer = {0};
    assert_int_equal(np_buffer_append(&buffer, "x", 1), NETPOOL_OK);
    assert_null(np_buffer_reserve(&buffer, SIZE_MAX - 4));
    assert_int_equal(np_buffer_size(&buffer), 1);
    np_buffer_fini(&buffer);
}

static void arena_holds_to_its_budget_and_alignment(void **state)
{
    (void)state;
    struct np_arena arena = {0};
    assert_null(np_arena_allocate(&arena, 1));
    for (int round = 0; round < 3; round++) {
        np_arena_reset(&arena, 100000);
        size_t got = 0;
        for (size_t size = 1;; size = size * 3 % 4001) {
            void *memory = np_arena_allocate(&arena, size);
            if (memory == NULL) {
                break;
            }
            assert_int_equal((uintptr_t)memory % 16, 0);
            memset(memory, 0xAB, size);
            got += size;
        }
        assert_in_range(got, 90000, 100000);
    }
    assert_null(np_arena_allocate(&arena, SIZE_MAX));
    np_arena_fini(&arena);
}

/* The most neighbouring places that are taken: what a search may have to walk. */
static size_t longest_run(const struct np_table *table)
{
    size_t longest = 0;
    size_t run = 0;
    for (size_t i = 0; i < table->capacity; i++) {
        run = table->head->runs[i].end != 0 ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void b15_keys_chosen_to_collide_spread_in_a_table_with_a_secret_seed(void **state)
{
    enum { KEYS = 4096 };
    const uint64_t inverse = UINT64_C(0xF1DE83E19937733D); /* of the table's multiplier, modulo 2^64 */
    struct np_table known = {0};
    struct np_table secret = {.seed = UINT64_C(0x6c62272e07bb0143)};
    char value;
    (void)state;
    assert_int_equal(inverse * UINT64_C(0x9E3779B97F4A7C15), 1);
    for (uint64_t hash = UINT64_C(0x100000001), found = 0; found < KEYS;
         hash += UINT64_C(0x100000001)) { /* its halves cancel out */
        uint64_t end = hash * inverse;
        if (end % NP_TABLE_RUN == 0) {
            found++;
            assert_int_equal(np_table_put(&known, end - 1, &value), NETPOOL_OK);
            assert_int_equal(np_table_put(&secret, end - 1, &value), NETPOOL_OK);
        }
    }
    assert_true(longest_run(&known) >= KEYS); /* the attack works without the secret */
    assert_in_range(longest_run(&secret), 1, 200);
    np_table_fini(&known);
    np_table_fini(&secret);
    assert_true(secret.seed != 0);
}

/* Keys that follow each other, lie apart, or are the largest there are. */
static uint64_t key_of(size_t index, uint64_t distance)
{
    return distance == 0 ? UINT64_MAX - index : index * distance;
}

/* The run of the two largest keys would end beyond all numbers. Keys at both ends, put and taken in all kinds of
 * orders. */
static void keys_at_both_ends_are_kept_apart(void **state)
{
    (void)state;
    static const uint64_t keys[] = {0,         1, 2, 3, 4, 5, 6, 7, UINT64_MAX - 9, UINT64_MAX - 2, UINT64_MAX - 1,
                                    UINT64_MAX};
    enum { KEYS = sizeof keys / sizeof keys[0] };
    struct np_random random = {.state = 42};
    struct np_table table = {0};
    char marks[KEYS];
    bool is_in[KEYS] = {false};
    for (int step = 0; step < 100000; step++) {
        size_t i = np_random_below(&random, KEYS);
        size_t other = np_random_below(&random, KEYS);
        if (is_in[i]) {
            assert_ptr_equal(np_table_take(&table, keys[i]), &marks[i]);
        } else {
            assert_null(np_table_find(&table, keys[i]));
            assert_int_equal(np_table_put(&table, keys[i], &marks[i]), NETPOOL_OK);
        }
        is_in[i] = !is_in[i];
        assert_ptr_equal(np_table_find(&table, keys[other]), is_in[other] ? &marks[other] : NULL);
    }
    np_table_fini(&table);
}

static void check_table(uint64_t distance)
{
    enum { KEYS = 5000 };
    static char present[KEYS];
    struct np_table table = {0};
    struct np_random random = {2};
    size_t count = 0;
    memset(present, 0, sizeof present);
    for (int i = 0; i < 400000; i++) {
        size_t index = np_random_below(&random, KEYS);
        /* Phases that mostly fill and mostly empty, so that it grows and shrinks. */
        bool put = np_random_below(&random, 10) < ((i / 40000) % 2 == 0 ? 8U : 2U);
        if (put) {
            assert_int_equal(np_table_put(&table, key_of(index, distance), &present[index]), NETPOOL_OK);
            count += !present[index];
            present[index] = 1;
        } else {
            void *taken = np_table_take(&table, key_of(index, distance));
            assert_ptr_equal(taken, present[index] ? &present[index] : NULL);
            count -= present[index] != 0;
            present[index] = 0;
        }
        index = np_random_below(&random, KEYS);
        void *found = np_table_find(&table, key_of(index, distance));
        assert_ptr_equal(found, present[index] ? &present[index] : NULL);
        assert_int_equal(table.count, count);
    }
    size_t cursor = 0;
    size_t walked = 0;
    for (char *value = np_table_next(&table, &cursor); value != NULL; value = np_table_next(&table, &cursor)) {
        assert_int_equal(*value, 1);
        assert_ptr_equal(np_table_find(&table, key_of((size_t)(value - present), distance)), value);
        walked++;
    }
    assert_int_equal(walked, count);
    np_table_fini(&table);
}

static void table_agrees_with_a_plain_array(void **state)
{
    (void)state;
    check_table(0);
    check_table(1);
    check_table(3);
    check_table(64);
}

static void records_of_a_slab_do_not_overlap_and_its_pages_are_given_back(void **state)
{
    (void)state;
    enum { RECORDS = 50000, SIZE = 192 };
    static unsigned char *records[RECORDS];
    struct np_slab slab;
    struct np_random random = {3};
    np_slab_init(&slab, SIZE);
    for (int i = 0; i < 400000; i++) {
        size_t index = np_random_below(&random, RECORDS);
        bool fills = (i / 100000) % 2 == 0;
        if (records[index] == NULL && fills) {
            records[index] = np_slab_take(&slab);
            assert_non_null(records[index]);
            assert_int_equal((uintptr_t)records[index] % 16, 0);
            memset(records[index], (int)(index % 251), SIZE);
        } else if (records[index] != NULL && !fills) {
            assert_int_equal(records[index][0], index % 251);
            assert_memory_equal(records[index], records[index] + 1, SIZE - 1);
            np_slab_give(records[index]);
            records[index] = NULL;
        }
    }
    for (size_t i = 0; i < RECORDS; i++) {
        np_slab_give(records[i]);
    }
    assert_in_range(slab.empty_count, 0, 64);
    np_slab_fini(&slab);
}

static void random_numbers_follow_the_published_sequence(void **state)
{
    (void)state;
    struct np_random random = {1234567};
    assert_true(np_random_next(&random) == UINT64_C(6457827717110365317));
    assert_true(np_random_next(&random) == UINT64_C(3203168211198807973));
    for (int i = 0; i < 1000; i++) {
        assert_true(np_random_below(&random, 7) < 7);
    }
}

static void well_formed_urls_are_taken_apart(void **state)
{
    (void)state;
    struct np_url url;
    assert_int_equal(np_url_parse(&url, "local", NULL), NETPOOL_OK);
    assert_int_equal(url.kind, NP_URL_LOCAL);
    assert_int_equal(url.count, 0);
    assert_int_equal(np_url_parse(&url, "local:8", NULL), NETPOOL_OK);
    assert_int_equal(url.count, 8);
    assert_int_equal(np_url_parse(&url, "threads:4", NULL), NETPOOL_OK);
    assert_int_equal(url.kind, NP_URL_THREADS);
    assert_int_equal(np_url_parse(&url, "ipc:///run/netpool/socket", NULL), NETPOOL_OK);
    assert_string_equal(url.path, "/run/netpool/socket");
    assert_int_equal(np_url_parse(&url, "tls://broker.example:4750", NULL), NETPOOL_OK);
    assert_string_equal(url.host, "broker.example");
    assert_string_equal(url.port, "4750");
    assert_int_equal(np_url_parse(&url, "tls://10.0.0.1", NULL), NETPOOL_OK);
    assert_string_equal(url.port, NP_URL_DEFAULT_PORT);
    assert_int_equal(np_url_parse(&url, "tls://[::1]:0", NULL), NETPOOL_OK);
    assert_string_equal(url.host, "::1");
    assert_string_equal(url.port, "0");
    assert_int_equal(np_url_parse(&url, "tls://[fe80::1]", NULL), NETPOOL_OK);
    assert_string_equal(url.port, NP_URL_DEFAULT_PORT);
}

static void malformed_urls_are_refused_with_the_accepted_forms(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "locale",         "local:",           "local:0",       "local:-1",     "local:4097",
        "local:1x",   "threads:0",      "threads:",         "ipc://",        "ipc://a/b",    "tls://",
        "tls://:1",   "tls://host:",    "tls://host:65536", "tls://host:1a", "tls://a:b:1",  "tls://[::1",
        "tls://[]:1", "tls://host/x:1", "http://host:1",    "tcp://host:1",  "TLS://host:1", "tls:/host",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct np_url url = {.count = 77};
        netpool_error error = {0};
        assert_int_equal(np_url_parse(&url, bad[i], &error), NETPOOL_INVALID);
        assert_non_null(strstr(error.message, "tls://HOST:PORT"));
        assert_int_equal(url.count, 77);
    }
    char longest[300];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest, "ipc:///", 7);
    struct np_url url;
    assert_int_equal(np_url_parse(&url, longest, NULL), NETPOOL_INVALID);
}

static void errors_stay_on_one_line(void **state)
{
    (void)state;
    netpool_error error;
    assert_int_equal(np_error_set(&error, NETPOOL_FAILED, "a\nb\r%s", "c"), NETPOOL_FAILED);
    assert_string_equal(error.message, "a?b?c");
    assert_int_equal(np_error_set(NULL, NETPOOL_LOST, "x"), NETPOOL_LOST);
    for (int status = 0; status <= NETPOOL_NOT_INITIALIZED; status++) {
        assert_string_not_equal(netpool_status_name((netpool_status)status), "UNKNOWN");
        assert_string_not_equal(netpool_status_text((netpool_status)status), "unknown status");
    }
    assert_string_equal(netpool_status_name((netpool_status)999), "UNKNOWN");
}

static void text_is_never_cut_inside_a_character(void **state)
{
    (void)state;
    static const char word[] = "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80!"; /* of 1, 2, 3 and 4 bytes */
    static const size_t whole[] = {0, 1, 2, 3, 3, 5, 6, 6, 6, 9, 10, 10, 10, 10, 14, 15};
    assert_int_equal(sizeof whole / sizeof *whole, sizeof word);
    for (size_t size = 0; size < sizeof word; size++) {
        char copied[sizeof word];
        char formatted[sizeof word];
        assert_int_equal(np_text_whole(word, size), whole[size]);
        assert_int_equal(np_text_copy(copied, size + 1, word), size == sizeof word - 1);
        assert_int_equal(strlen(copied), whole[size]);
        np_text_format(formatted, size + 1, "%s", word);
        assert_string_equal(formatted, copied);
    }
    assert_int_equal(np_text_whole("\x80\x80\x80\x80\x80", 5), 5); /* not UTF-8 */
    assert_int_equal(np_text_whole("\xa9", 1), 1);
}

static void limited_log_counts_what_it_leaves_out(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    np_log_open(ends[1], NP_LOG_INFO);
    struct np_log_limit limit = {0};
    for (int i = 0; i < 100; i++) {
        np_log_limited(&limit, 1, NP_LOG_WARNING, "test", "again\nforged");
    }
    np_log_limited(&limit, 1 + NP_NS_PER_S, NP_LOG_WARNING, "test", "later");
    np_log(NP_LOG_DEBUG, "test", "not wanted");
    np_log_open(-1, NP_LOG_OFF);
    close(ends[1]);
    char text[8192];
    ssize_t size = read(ends[0], text, sizeof text - 1);
    assert_true(size > 0);
    text[size] = '\0';
    close(ends[0]);
    size_t lines = 0;
    for (char *c = text; *c != '\0'; c++) {
        lines += *c == '\n';
    }
    assert_int_equal(lines, 12);
    assert_non_null(strstr(text, "warning test: again?forged\n"));
    assert_non_null(strstr(text, "90 more lines"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_keeps_bytes_in_order_under_random_use),
        cmocka_unit_test(buffer_refuses_a_size_that_overflows),
        cmocka_unit_test(arena_holds_to_its_budget_and_alignment),
        cmocka_unit_test(table_agrees_with_a_plain_array),
        cmocka_unit_test(records_of_a_slab_do_not_overlap_and_its_pages_are_given_back),
        cmocka_unit_test(keys_at_both_ends_are_kept_apart),
        cmocka_unit_test(b15_keys_chosen_to_collide_spread_in_a_table_with_a_secret_seed),
        cmocka_unit_test(random_numbers_follow_the_published_sequence),
        cmocka_unit_test(well_formed_urls_are_taken_apart),
        cmocka_unit_test(malformed_urls_are_refused_with_the_accepted_forms),
        cmocka_unit_test(errors_stay_on_one_line),
        cmocka_unit_test(text_is_never_cut_inside_a_character),
        cmocka_unit_test(limited_log_counts_what_it_leaves_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
