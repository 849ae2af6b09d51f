#include "tests/system/pool/gates.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/pool/pool_cases.h"

void gates_submit(struct gates *gates, netpool *pool, const char *function, unsigned count,
                  const netpool_task_options *options)
{
    const char *base = getenv("TMPDIR");
    *gates = (struct gates){.count = count};
    assert_in_range(count, 1, GATES_MAX);
    (void)snprintf(gates->directory, sizeof gates->directory, "%.40s/netpool-test-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(gates->directory));
    for (unsigned i = 0; i < count; i++) {
        char *path = gates->path[i];
        (void)snprintf(path, sizeof gates->path[i], "%s/%u", gates->directory, i);
        assert_int_equal(mkfifo(path, 0600), 0);
        assert_int_equal(netpool_submit(pool, function, bytes_of(path, strlen(path)), options, &gates->futures[i]),
                         NETPOOL_OK);
    }
}

void gates_reach(struct gates *gates)
{
    for (unsigned i = 0; i < gates->count; i++) {
        gates->opened[i] = open(gates->path[i], O_WRONLY | O_CLOEXEC); /* waits for the other end */
        assert_true(gates->opened[i] >= 0);
    }
}

void gates_close(struct gates *gates, netpool *pool, const char *function, unsigned count,
                 const netpool_task_options *options)
{
    gates_submit(gates, pool, function, count, options);
    gates_reach(gates);
}

void gates_open(struct gates *gates, netpool_status expected)
{
    for (unsigned i = 0; i < gates->count; i++) {
        close(gates->opened[i]);
    }
    for (unsigned i = 0; i < gates->count; i++) {
        netpool_result result = {0};
        assert_int_equal(netpool_wait(gates->futures[i], 60000, &result), expected);
        gates->pid[i] = result.pid;
        netpool_future_free(&gates->futures[i]);
        assert_int_equal(unlink(gates->path[i]), 0);
    }
    assert_int_equal(rmdir(gates->directory), 0);
}
