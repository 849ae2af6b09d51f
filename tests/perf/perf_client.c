/*
 * The program whose tasks are counted.
 *
 *     perf_client URL COUNT TOGETHER     COUNT tasks of 16 bytes, TOGETHER at a time, each of which is waited for
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/netpool.h"

enum { TOGETHER_MAX = 4096 };

static void require(netpool_status status, const char *what)
{
    if (status != NETPOOL_OK) {
        fprintf(stderr, "perf_client: %s: %s\n", what, netpool_status_text(status));
        exit(1);
    }
}

static void call(netpool *pool, const char *function, size_t together)
{
    static netpool_future *futures[TOGETHER_MAX];
    static const char payload[16] = "sixteen bytes..";
    netpool_bytes input = {payload, sizeof payload};
    netpool_result result;
    for (size_t i = 0; i < together; i++) {
        require(netpool_submit(pool, function, input, NULL, &futures[i]), "submit");
    }
    for (size_t i = 0; i < together; i++) {
        require(netpool_wait(futures[i], -1, &result), function);
        netpool_future_free(&futures[i]);
    }
}

int main(int argc, char **argv)
{
    netpool *pool = NULL;
    netpool_error error;
    size_t count = argc == 4 ? (size_t)strtoul(argv[2], NULL, 10) : 0;
    size_t together = argc == 4 ? (size_t)strtoul(argv[3], NULL, 10) : 0;
    if (count == 0 || together == 0 || together > TOGETHER_MAX) {
        fprintf(stderr, "usage: perf_client URL COUNT TOGETHER\n");
        return 2;
    }
    if (netpool_open(&pool, argv[1], NULL, &error) != NETPOOL_OK) {
        fprintf(stderr, "perf_client: %s\n", error.message);
        return 1;
    }
    for (size_t done = 0; done < count; done += together) {
        call(pool, "echo", together);
    }
    call(pool, "report", 1);
    netpool_close(&pool);
    return 0;
}
