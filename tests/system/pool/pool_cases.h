/* The cases of test_pool: the same promises on every kind of pool. */
#ifndef NP_POOL_CASES_H
#define NP_POOL_CASES_H

#include <stdbool.h>
#include <string.h>

#include "client/netpool.h"
#include "tests/support/cluster.h"
#include "tests/support/cmocka_all.h"

/* What each test gets as its state. */
struct pool_fixture {
    const char *url;
    netpool_options options;
    unsigned slots;     /* executors in all */
    bool has_processes; /* executors are processes: a crash is survived, a deadline enforced */
    bool has_cluster;
    struct cluster cluster;
};

/* Opens the fixture's pool. */
netpool *pool_of(void **state);

static inline netpool_bytes bytes_of(const void *data, size_t size)
{
    return (netpool_bytes){.data = data, .size = size};
}

/* Submits a u64. */
netpool_future *submit_number(netpool *pool, const char *function, uint64_t number,
                              const netpool_task_options *options);

/* The u64 of a result. */
uint64_t number_of(const netpool_result *result);

extern const struct CMUnitTest map_cases[];
extern const size_t map_case_count;
extern const struct CMUnitTest reduce_cases[];
extern const size_t reduce_case_count;
extern const struct CMUnitTest task_cases[];
extern const size_t task_case_count;
extern const struct CMUnitTest typed_cases[];
extern const size_t typed_case_count;
extern const struct CMUnitTest watch_cases[];
extern const size_t watch_case_count;
extern const struct CMUnitTest fault_cases[];
extern const size_t fault_case_count;
extern const struct CMUnitTest stream_cases[];
extern const size_t stream_case_count;
extern const struct CMUnitTest life_cases[];
extern const size_t life_case_count;
extern const struct CMUnitTest control_cases[];
extern const size_t control_case_count;
extern const struct CMUnitTest executor_cases[];
extern const size_t executor_case_count;
extern const struct CMUnitTest argument_cases[];
extern const size_t argument_case_count;
extern const struct CMUnitTest callback_cases[];
extern const size_t callback_case_count;
extern const struct CMUnitTest set_cases[];
extern const size_t set_case_count;
extern const struct CMUnitTest profile_cases[];
extern const size_t profile_case_count;
extern const struct CMUnitTest schedule_cases[];
extern const size_t schedule_case_count;
extern const struct CMUnitTest crash_cases[];
extern const size_t crash_case_count;
extern const struct CMUnitTest contract_cases[];
extern const size_t contract_case_count;
extern const struct CMUnitTest order_cases[];
extern const size_t order_case_count;
extern const struct CMUnitTest large_cases[];
extern const size_t large_case_count;

#endif
