/* The same promises on every kind of pool: test_pool URL-KIND, where that is threads:N, local:N, ipc or tls. */
#include <stdio.h>
#include <stdlib.h>

#include "client/netpool.h"
#include "tests/system/pool/pool_cases.h"

enum { WORKERS = 2, SLOTS = 2 }; /* of a cluster */

netpool *pool_of(void **state)
{
    const struct pool_fixture *fixture = *state;
    netpool *pool = NULL;
    netpool_error error;
    if (netpool_open(&pool, fixture->url, &fixture->options, &error) != NETPOOL_OK) {
        fail_msg("%s: %s", fixture->url, error.message);
    }
    return pool;
}

netpool_future *submit_number(netpool *pool, const char *function, uint64_t number,
                              const netpool_task_options *options)
{
    netpool_future *future = NULL;
    netpool_status status = netpool_submit(pool, function, bytes_of(&number, sizeof number), options, &future);
    if (status != NETPOOL_OK) {
        fail_msg("submit: %s", netpool_status_text(status));
    }
    return future;
}

uint64_t number_of(const netpool_result *result)
{
    uint64_t number = 0;
    memcpy(&number, result->data, result->size < sizeof number ? result->size : sizeof number);
    return number;
}

/* Every case opens the pool anew; a cluster serves them all. */
static void set_up(struct pool_fixture *fixture)
{
    bool is_tls = strcmp(fixture->url, "tls") == 0;
    bool is_ipc = strcmp(fixture->url, "ipc") == 0;
    fixture->has_processes = strncmp(fixture->url, "threads", 7) != 0;
    fixture->has_cluster = is_tls || is_ipc;
    if (fixture->has_cluster) {
        cluster_start(&fixture->cluster, is_tls ? CLUSTER_TLS : CLUSTER_IPC, WORKERS, SLOTS, POOL_MODULE);
        cluster_options(&fixture->cluster, &fixture->options);
        fixture->url = fixture->cluster.url;
        fixture->slots = WORKERS * SLOTS;
    } else {
        fixture->slots = (unsigned)atoi(strchr(fixture->url, ':') + 1);
    }
}

static void tear_down(struct pool_fixture *fixture)
{
    if (fixture->has_cluster) {
        cluster_stop(&fixture->cluster);
    }
}

int main(int argc, char **argv)
{
    netpool_init(&argc, &argv);
    if (argc < 2) {
        fprintf(stderr, "usage: test_pool threads:N|local:N|ipc|tls [CASE]\n");
        return 2;
    }
    struct pool_fixture fixture = {.url = argv[1]};
    const struct {
        const struct CMUnitTest *cases;
        size_t count;
    } groups[] = {{map_cases, map_case_count},           {reduce_cases, reduce_case_count},
                  {task_cases, task_case_count},         {typed_cases, typed_case_count},
                  {watch_cases, watch_case_count},       {fault_cases, fault_case_count},
                  {crash_cases, crash_case_count},       {stream_cases, stream_case_count},
                  {life_cases, life_case_count},         {argument_cases, argument_case_count},
                  {callback_cases, callback_case_count}, {set_cases, set_case_count},
                  {profile_cases, profile_case_count},   {control_cases, control_case_count},
                  {executor_cases, executor_case_count}, {schedule_cases, schedule_case_count},
                  {contract_cases, contract_case_count}, {order_cases, order_case_count},
                  {large_cases, large_case_count}};
    size_t total = 0;
    struct CMUnitTest tests[256];
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        for (size_t i = 0; i < groups[g].count; i++) {
            tests[total] = groups[g].cases[i];
            tests[total++].initial_state = &fixture;
        }
    }
    if (argc > 2) {
        cmocka_set_test_filter(argv[2]);
    }
    set_up(&fixture);
    int failed = _cmocka_run_group_tests(argv[1], tests, total, NULL, NULL);
    tear_down(&fixture);
    return failed;
}
