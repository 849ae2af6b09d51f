/* The heap of deadlines against a plain search. */
#include "broker/timers.h"
#include "common/clock.h"
#include "common/random.h"
#include "tests/support/cmocka_all.h"

enum { COUNT = 200, STEPS = 20000 };

static void an_empty_heap_has_no_deadline(void **state)
{
    struct timers timers = {0};
    struct timer timer = {0};
    (void)state;
    assert_null(timers_first(&timers));
    assert_int_equal(timers_deadline(&timers), NP_NEVER);
    timers_remove(&timers, &timer);
    timers_fini(&timers);
}

static void the_earliest_timer_comes_first_whatever_is_set_moved_or_removed(void **state)
{
    struct timers timers = {0};
    struct timer all[COUNT] = {0};
    struct np_random random = {.state = 4711};
    (void)state;
    assert_int_equal(timers_reserve(&timers, COUNT), NETPOOL_OK);
    for (int step = 0; step < STEPS; step++) {
        struct timer *timer = &all[np_random_below(&random, COUNT)];
        if (np_random_below(&random, 3) == 0) {
            timers_remove(&timers, timer);
            assert_int_equal(timer->place, 0);
        } else {
            timers_set(&timers, timer, (int64_t)np_random_below(&random, 1000));
        }
        int64_t earliest = NP_NEVER;
        for (int i = 0; i < COUNT; i++) {
            if (all[i].place != 0 && all[i].at < earliest) {
                earliest = all[i].at;
            }
        }
        assert_int_equal(timers_deadline(&timers), earliest);
    }
    timers_fini(&timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_deadline),
        cmocka_unit_test(the_earliest_timer_comes_first_whatever_is_set_moved_or_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
