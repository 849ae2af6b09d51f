/* Not a test: how fast a supervisor and its executors are, with this process as the broker. */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fake_broker.h"

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void round_trip_and_rate(void **state)
{
    (void)state;
    enum { TRIPS = 20000, TASKS = 1000000 };
    static const char *const modules[] = {FAULTS_MODULE};
    static int64_t trips[TRIPS];
    struct fake_broker broker = {.is_greedy = true};
    struct supervisor_options options = {.slots = 2, .modules = modules, .module_count = 1};
    fake_broker_start(&broker, &options);
    for (size_t i = 0; i < TRIPS; i++) {
        int64_t start = np_clock_now();
        fake_broker_assign(&broker, "echo", 1, 1, "0123456789abcdef", 16);
        while (broker.result_count <= i) {
            fake_broker_turn(&broker, 1000);
        }
        trips[i] = np_clock_now() - start;
    }
    qsort(trips, TRIPS, sizeof trips[0], compare);
    print_message("round trip of one 16-byte echo: median %.1f us, p99 %.1f us\n", (double)trips[TRIPS / 2] / 1e3,
                  (double)trips[TRIPS * 99 / 100] / 1e3);
    size_t before = broker.result_count;
    size_t batches = broker.batch_count;
    int64_t start = np_clock_now();
    for (size_t sent = 0; sent < TASKS || broker.result_count - before < TASKS;) {
        size_t done = broker.result_count - before;
        for (; sent < TASKS && sent - done < 20000; sent += 4000) {
            fake_broker_assign(&broker, "echo", 1 + sent, 4000, "0123456789abcdef", 16);
        }
        fake_broker_turn(&broker, 1000);
    }
    double seconds = (double)(np_clock_now() - start) / 1e9;
    print_message("%.2f million 16-byte echo tasks/s, %.0f a batch\n", TASKS / seconds / 1e6,
                  (double)TASKS / (double)(broker.batch_count - batches));
    fake_broker_stop(&broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip_and_rate)};
    return cmocka_run_group_tests_name("worker speed", tests, NULL, NULL);
}
