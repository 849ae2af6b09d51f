/* When a waiting caller looks for a while before it sleeps. */
#include "client/spin.h"
#include "tests/support/cmocka_all.h"

static void short_waits_are_looked_for(void **state)
{
    (void)state;
    struct spin spin = {.is_possible = true};
    assert_true(spin_pays(&spin));
    for (int i = 0; i < 100; i++) {
        spin_note(&spin, SPIN_MAX_NS / 2, false);
        assert_true(spin_pays(&spin));
    }
}

static void one_long_wait_ends_it_and_some_ten_short_ones_bring_it_back(void **state)
{
    (void)state;
    struct spin spin = {.is_possible = true, .typical_ns = SPIN_MAX_NS / 4};
    spin_note(&spin, INT64_MAX / 2, false);
    assert_false(spin_pays(&spin));
    for (int i = 0; i < 1000; i++) {
        spin_note(&spin, INT64_MAX / 2, false);
    }
    int waits = 0;
    for (; !spin_pays(&spin); waits++) {
        spin_note(&spin, SPIN_MAX_NS / 4, false);
    }
    assert_in_range(waits, 2, 10);
}

static void polling_does_not_make_waits_short(void **state)
{
    (void)state;
    struct spin spin = {.is_possible = true};
    spin_note(&spin, INT64_MAX / 2, false);
    spin_note(&spin, INT64_MAX / 2, false);
    for (int i = 0; i < 100; i++) {
        spin_note(&spin, 1000, true);
        assert_false(spin_pays(&spin));
    }
    spin = (struct spin){.is_possible = true};
    spin_note(&spin, INT64_MAX / 2, true); /* long enough, though given up */
    spin_note(&spin, INT64_MAX / 2, true);
    assert_false(spin_pays(&spin));
}

static void nobody_looks_where_it_takes_the_only_processor(void **state)
{
    (void)state;
    struct spin spin = {.is_possible = false};
    assert_false(spin_pays(&spin));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_waits_are_looked_for),
        cmocka_unit_test(one_long_wait_ends_it_and_some_ten_short_ones_bring_it_back),
        cmocka_unit_test(polling_does_not_make_waits_short),
        cmocka_unit_test(nobody_looks_where_it_takes_the_only_processor),
    };
    return cmocka_run_group_tests_name("spin", tests, NULL, NULL);
}
