/* What a worker remembers of how executors are to be prepared. */
#include <string.h>

#include "tests/support/cmocka_all.h"
#include "worker/slots/batch.h"
#include "worker/slots/preparation.h"

enum { SLOTS = 3 };

static struct preparation_order order_of(uint32_t number, const char *initializer, uint32_t link)
{
    static uint8_t session[NP_SESSION_SIZE];
    memset(session, (int)(number % 7), sizeof session); /* few buckets: many in each */
    memcpy(session + 4, &number, sizeof number);
    return (struct preparation_order){.session = session,
                                      .initializer = initializer,
                                      .input = (const uint8_t *)"in",
                                      .input_size = 2,
                                      .link = link};
}

static struct preparation *put(struct preparations *preparations, uint32_t number, const char *initializer,
                               uint32_t link)
{
    struct preparation_order order = order_of(number, initializer, link);
    assert_true(preparations_put(preparations, &order));
    struct preparation *preparation = preparations_find(preparations, order.session);
    assert_non_null(preparation);
    return preparation;
}

static void same_order_again_leaves_executors_prepared_and_another_one_does_not(void **state)
{
    (void)state;
    struct preparations preparations;
    preparations_init(&preparations, SLOTS);
    struct preparation *first = put(&preparations, 1, "open", 1);
    preparation_use(first);
    preparation_of(first, 2, 10)->state = PREPARED_WELL;
    preparation_fail(first, "initializer open: no");
    assert_ptr_equal(put(&preparations, 1, "open", 2), first);
    assert_null(first->failure); /* another chance */
    assert_int_equal(preparation_of(first, 2, 10)->state, PREPARED_WELL);
    struct preparation *second = put(&preparations, 1, "close", 2);
    assert_ptr_not_equal(second, first);
    assert_int_equal(preparation_of(second, 2, 10)->state, PREPARED_NOT);
    assert_string_equal(first->initializer, "open"); /* for those who use it still */
    preparation_release(first);
    preparations_fini(&preparations);
}

static void replaced_executor_has_done_nothing(void **state)
{
    (void)state;
    struct preparations preparations;
    preparations_init(&preparations, SLOTS);
    struct preparation *preparation = put(&preparations, 1, "open", 1);
    *preparation_of(preparation, 0, 5) =
        (struct prepared){.executor = 5, .state = PREPARED_WELL, .given = 4, .answered = 3};
    assert_int_equal(preparation_of(preparation, 0, 5)->given, 4);
    assert_int_equal(preparation_of(preparation, 0, 6)->state, PREPARED_NOT);
    assert_int_equal(preparation_of(preparation, 0, 6)->given, 0);
    preparations_fini(&preparations);
}

static void forgotten_session_lives_as_long_as_its_tasks(void **state)
{
    (void)state;
    struct preparations preparations;
    preparations_init(&preparations, SLOTS);
    struct preparation *preparation = put(&preparations, 1, "open", 1);
    preparation_use(preparation);
    preparations_forget(&preparations, order_of(1, "", 1).session);
    assert_null(preparations_find(&preparations, order_of(1, "", 1).session));
    assert_string_equal(preparation->initializer, "open");
    preparation_release(preparation);
    preparations_forget(&preparations, order_of(1, "", 1).session);
    preparations_fini(&preparations);
}

static void sessions_known_are_bounded_and_those_of_earlier_links_make_room(void **state)
{
    (void)state;
    struct preparations preparations;
    preparations_init(&preparations, SLOTS);
    for (uint32_t i = 0; i < PREPARATIONS_MAX; i++) {
        (void)put(&preparations, i, "open", i < 10 ? 1 : 2);
    }
    preparation_use(preparations_find(&preparations, order_of(3, "", 2).session));
    (void)put(&preparations, 4, "open", 2); /* said again */
    struct preparation_order more = order_of(PREPARATIONS_MAX, "open", 2);
    assert_true(preparations_put(&preparations, &more));
    assert_non_null(preparations_find(&preparations, more.session));
    assert_non_null(preparations_find(&preparations, order_of(3, "", 2).session)); /* has tasks */
    assert_non_null(preparations_find(&preparations, order_of(4, "", 2).session));
    uint32_t taken = 1;
    for (bool is_taken = true; is_taken; taken += is_taken ? 1 : 0) {
        more = order_of(PREPARATIONS_MAX + taken, "open", 2);
        is_taken = preparations_put(&preparations, &more);
        assert_true(taken < 10);
    }
    assert_int_equal(taken, 8); /* of the ten, one has tasks and one was said again */
    assert_non_null(preparations_find(&preparations, order_of(3, "", 2).session));
    preparation_release(preparations_find(&preparations, order_of(3, "", 2).session));
    assert_int_equal(preparations.count, PREPARATIONS_MAX);
    preparations_fini(&preparations);
}

static void initializer_that_is_not_here_has_failed_at_once(void **state)
{
    (void)state;
    struct preparations preparations;
    preparations_init(&preparations, SLOTS);
    struct preparation_order order = order_of(1, "open", 1);
    order.function = TASK_NO_FUNCTION;
    assert_true(preparations_put(&preparations, &order));
    assert_string_equal(preparations_find(&preparations, order.session)->failure,
                        "initializer open: this worker does not have that function");
    order = order_of(2, "", 1);
    order.function = TASK_NO_FUNCTION;
    assert_true(preparations_put(&preparations, &order));
    assert_null(preparations_find(&preparations, order.session)->failure);
    preparations_fini(&preparations);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_order_again_leaves_executors_prepared_and_another_one_does_not),
        cmocka_unit_test(replaced_executor_has_done_nothing),
        cmocka_unit_test(forgotten_session_lives_as_long_as_its_tasks),
        cmocka_unit_test(sessions_known_are_bounded_and_those_of_earlier_links_make_room),
        cmocka_unit_test(initializer_that_is_not_here_has_failed_at_once),
    };
    return cmocka_run_group_tests_name("preparation", tests, NULL, NULL);
}
