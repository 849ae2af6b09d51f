/* Sums of where time went, and the chunk size that they suggest. */
#include "client/profile.h"
#include "common/clock.h"
#include "tests/support/cmocka_all.h"

static const char *const worker = "worker-1";
static const char *const other_worker = "worker-2";

/* Finished at `total_ns` after its submission at 1000. */
static void book(struct np_profile *profile, uint64_t items, uint64_t queue_ns, uint64_t compute_ns,
                 uint64_t total_ns, const char *name, uint32_t pid)
{
    struct np_task task = {.submitted = 1000, .input_size = 10};
    struct np_outcome outcome = {.status = NETPOOL_OK,
                                 .size = 4,
                                 .attempt = 1,
                                 .pid = pid,
                                 .worker = name,
                                 .queue_ns = queue_ns,
                                 .compute_ns = compute_ns,
                                 .now = 1000 + (int64_t)total_ns};
    profile_book(profile, &task, &outcome, items);
}

static void sums_are_over_all_tasks(void **state)
{
    (void)state;
    struct np_profile profile;
    netpool_profile out;
    profile_init(&profile, NULL);
    book(&profile, 100, 200, 5000, 6000, worker, 7);
    book(&profile, 50, 100, 2500, 3000, worker, 8);
    book(&profile, 50, 0, 2500, 4000, other_worker, 7);
    book(&profile, 50, 0, 2500, 2400, worker, 7); /* clocks of two hosts: never below 0 */
    profile_book_serializing(&profile, 300);
    profile_read(&profile, 4, &out);
    assert_int_equal(out.tasks, 4);
    assert_int_equal(out.items, 250);
    assert_int_equal(out.failed, 0);
    assert_int_equal(out.bytes_in, 40);
    assert_int_equal(out.bytes_out, 16);
    assert_int_equal(out.wall_ns, 6000);
    assert_int_equal(out.queue_ns, 300);
    assert_int_equal(out.compute_ns, 12500);
    assert_int_equal(out.serialize_ns, 300);
    assert_int_equal(out.transfer_ns, 800 + 400 + 1500 - 300);
    assert_int_equal(out.executors, 3);
    assert_int_equal(out.chunk, 63);
    profile_fini(&profile);
}

static void nothing_finished_is_all_zero(void **state)
{
    (void)state;
    struct np_profile profile;
    netpool_profile out = {.tasks = 1};
    static const netpool_profile zero;
    profile_init(&profile, NULL);
    profile_read(&profile, 4, &out);
    assert_memory_equal(&out, &zero, sizeof out);
    profile_fini(&profile);
}

static void task_that_never_ran_has_only_waited(void **state)
{
    (void)state;
    struct np_profile profile;
    netpool_profile out;
    struct np_task task = {.submitted = 1000};
    struct np_outcome outcome = {.status = NETPOOL_CANCELLED, .worker = "", .now = 5000};
    profile_init(&profile, NULL);
    profile_book(&profile, &task, &outcome, 1);
    profile_read(&profile, 4, &out);
    assert_int_equal(out.failed, 1);
    assert_int_equal(out.queue_ns, 4000);
    assert_int_equal(out.transfer_ns, 0);
    assert_int_equal(out.executors, 0);
    assert_int_equal(out.suggested_chunk, 0);
    profile_fini(&profile);
}

static void part_of_a_pool_has_its_share_of_the_serializing(void **state)
{
    (void)state;
    struct np_profile pool;
    struct np_profile part;
    netpool_profile out;
    profile_init(&pool, NULL);
    profile_book_serializing(&pool, 5000); /* before the part began */
    book(&pool, 1, 0, 100, 1000, worker, 7);
    profile_init(&part, &pool);
    profile_book_serializing(&pool, 400);
    for (int i = 0; i < 3; i++) {
        book(&pool, 1, 0, 100, 10000, worker, 7);
        book(&part, 1, 0, 100, 10000, worker, 7);
    }
    profile_read(&part, 4, &out);
    assert_int_equal(out.serialize_ns, 400);
    assert_int_equal(out.transfer_ns, 3 * 9900 - 400);
    book(&pool, 1, 0, 100, 10000, worker, 7); /* somebody else's */
    profile_read(&part, 4, &out);
    assert_int_equal(out.serialize_ns, 300);
    profile_fini(&part);
    profile_fini(&pool);
}

static void chunk_keeps_overhead_at_a_twentieth(void **state)
{
    (void)state;
    /* Items of 1 us, 100 us a task: 2000 items are 2 ms. */
    assert_int_equal(profile_suggest_chunk(1000000, UINT64_C(1000000000), 100000, 4), 2000);
    /* Items of 10 ms: one is enough. */
    assert_int_equal(profile_suggest_chunk(1000, UINT64_C(10000000000), 100000, 4), 1);
    /* Items of 1.5 us: rounded up. */
    assert_int_equal(profile_suggest_chunk(1000000, UINT64_C(1500000000), 100000, 4), 1334);
    assert_int_equal(profile_suggest_chunk(1000000, UINT64_C(1000000000), 0, 4), 1);
}

static void chunk_leaves_each_executor_eight_tasks(void **state)
{
    (void)state;
    assert_int_equal(profile_suggest_chunk(32000, 32000, 100000, 4), 1000);
    assert_int_equal(profile_suggest_chunk(32000, 32000, 100000, 40), 100);
    assert_int_equal(profile_suggest_chunk(10, 10, 100000, 4), 1);
    assert_int_equal(profile_suggest_chunk(80, 80, UINT64_MAX, 0), 10); /* nothing known of executors: one */
}

static void chunk_of_unknown_items_is_unknown(void **state)
{
    (void)state;
    assert_int_equal(profile_suggest_chunk(0, 0, 100000, 4), 0);
    assert_int_equal(profile_suggest_chunk(1000, 0, 100000, 4), 0);
}

/* The most crowded moments say nothing of what a task costs. */
static void suggestion_is_from_the_least_overhead_seen(void **state)
{
    (void)state;
    struct np_profile profile;
    netpool_profile out;
    profile_init(&profile, NULL);
    for (int i = 0; i < 100; i++) {
        book(&profile, 10000, 0, 10000000, 10000000 + 50000000, worker, 7);
    }
    book(&profile, 10000, 0, 10000000, 10000000 + 100000, worker, 7);
    profile_read(&profile, 4, &out);
    assert_int_equal(out.suggested_chunk, 2000);
    profile_fini(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_over_all_tasks),
        cmocka_unit_test(nothing_finished_is_all_zero),
        cmocka_unit_test(task_that_never_ran_has_only_waited),
        cmocka_unit_test(part_of_a_pool_has_its_share_of_the_serializing),
        cmocka_unit_test(chunk_keeps_overhead_at_a_twentieth),
        cmocka_unit_test(chunk_leaves_each_executor_eight_tasks),
        cmocka_unit_test(chunk_of_unknown_items_is_unknown),
        cmocka_unit_test(suggestion_is_from_the_least_overhead_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
