/* Tasks by their numbers. */
#include "client/dialogue/outstanding.h"
#include "tests/support/cmocka_all.h"

enum { MANY = 100000 };

static struct np_task made[MANY + 1]; /* only their addresses matter */

static void put(struct outstanding *tasks, uint64_t number)
{
    assert_int_equal(outstanding_put(tasks, number, &made[number]), NETPOOL_OK);
}

static void numbers_find_their_tasks(void **state)
{
    (void)state;
    struct outstanding tasks = {.count = 0};
    assert_null(outstanding_find(&tasks, 1));
    assert_null(outstanding_take(&tasks, 0));
    for (uint64_t number = 1; number <= MANY; number++) {
        put(&tasks, number);
    }
    assert_null(outstanding_find(&tasks, 0));
    assert_null(outstanding_find(&tasks, MANY + 1));
    assert_null(outstanding_find(&tasks, UINT64_MAX));
    for (uint64_t number = 1; number <= MANY; number++) {
        assert_ptr_equal(outstanding_find(&tasks, number), &made[number]);
        assert_ptr_equal(outstanding_take(&tasks, number), &made[number]);
        assert_null(outstanding_find(&tasks, number));
    }
    outstanding_fini(&tasks);
}

static void one_that_stays_behind_costs_no_ring(void **state)
{
    (void)state;
    struct outstanding tasks = {.count = 0};
    put(&tasks, 1);
    for (uint64_t number = 2; number <= MANY; number++) {
        put(&tasks, number);
        assert_ptr_equal(outstanding_take(&tasks, number), &made[number]);
    }
    assert_true(tasks.capacity < 1000);
    assert_ptr_equal(outstanding_find(&tasks, 1), &made[1]);
    assert_ptr_equal(outstanding_take(&tasks, 1), &made[1]);
    outstanding_fini(&tasks);
}

static void numbers_that_come_back_are_found(void **state)
{
    (void)state;
    struct outstanding tasks = {.count = 0};
    for (uint64_t number = 1; number <= 500; number++) {
        put(&tasks, number);
    }
    for (uint64_t number = 101; number <= 500; number++) {
        assert_ptr_equal(outstanding_take(&tasks, number), &made[number]);
    }
    for (uint64_t number = 5000; number <= 6000; number++) { /* those that are left are old ones now */
        put(&tasks, number);
    }
    for (uint64_t number = 101; number <= 500; number++) {
        put(&tasks, number);
    }
    for (uint64_t number = 1; number <= 500; number++) {
        assert_ptr_equal(outstanding_take(&tasks, number), &made[number]);
    }
    for (uint64_t number = 5000; number <= 6000; number++) {
        assert_ptr_equal(outstanding_take(&tasks, number), &made[number]);
    }
    put(&tasks, 3); /* all others are gone: it may be anything */
    assert_ptr_equal(outstanding_take(&tasks, 3), &made[3]);
    outstanding_fini(&tasks);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_find_their_tasks),
        cmocka_unit_test(one_that_stays_behind_costs_no_ring),
        cmocka_unit_test(numbers_that_come_back_are_found),
    };
    return cmocka_run_group_tests_name("outstanding", tests, NULL, NULL);
}
