/* How a worker comes back to a broker that is away: later and later, and not all workers at the same moment. */
#include "common/clock.h"
#include "common/error.h"
#include "tests/support/cmocka_all.h"
#include "worker/uplink.h"

enum { ATTEMPTS = 12, WORKERS = 40 };
static const int64_t FIRST_NS = 50 * NP_NS_PER_MS;
static const int64_t MAX_NS = 2 * NP_NS_PER_S;

static netpool_status refuse(void *context, struct link **out, netpool_error *error)
{
    unsigned *attempts = context;
    (void)out;
    (*attempts)++;
    return np_error_set(error, NETPOOL_UNREACHABLE, "nobody is there");
}

static void b16_workers_come_back_with_growing_and_jittered_delays(void **state)
{
    (void)state;
    int64_t last_delay[WORKERS];
    unsigned distinct = 0;
    for (unsigned w = 0; w < WORKERS; w++) {
        unsigned attempts = 0;
        struct supervisor_options options = {.connect = refuse, .connect_context = &attempts};
        struct uplink uplink;
        int64_t now = NP_NS_PER_S;
        int64_t most = FIRST_NS;
        uplink_init(&uplink, NULL, &options, NULL, NULL);
        for (unsigned i = 1; i <= ATTEMPTS; i++) {
            uplink_turn(&uplink, now);
            assert_int_equal(attempts, i);
            int64_t delay = uplink_deadline(&uplink) - now;
            assert_in_range(delay, most / 2, most); /* at least the half: never a storm, at most the whole */
            uplink_turn(&uplink, now + delay - 1);
            assert_int_equal(attempts, i); /* not before its time */
            if (i == ATTEMPTS) {
                last_delay[w] = delay;
            }
            now += delay;
            most = 2 * most < MAX_NS ? 2 * most : MAX_NS;
        }
        bool is_new = true;
        for (unsigned other = 0; other < w; other++) {
            is_new = is_new && last_delay[other] != last_delay[w];
        }
        distinct += is_new;
        uplink_fini(&uplink);
    }
    assert_in_range(distinct, WORKERS - 1, WORKERS); /* nanoseconds in a second: two alike are a wonder */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b16_workers_come_back_with_growing_and_jittered_delays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
