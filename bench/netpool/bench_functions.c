/* The functions of the benchmark: a module for workers, and linked into bench_netpool for its local pools. */
#include <string.h>
#include <time.h>

#include "client/netpool.h"

static netpool_status echo(netpool_call *call, netpool_bytes input)
{
    return netpool_return(call, input.data, input.size);
}

static netpool_status square8(netpool_call *call, netpool_bytes input)
{
    uint64_t number;
    if (input.size != sizeof number) {
        return netpool_fail(call, "square8: expected %zu bytes, got %zu", sizeof number, input.size);
    }
    memcpy(&number, input.data, sizeof number);
    number *= number;
    return netpool_return(call, &number, sizeof number);
}

static netpool_status sleep_1ms(netpool_call *call, netpool_bytes input)
{
    struct timespec pause = {.tv_nsec = 1000000};
    (void)input;
    nanosleep(&pause, NULL);
    return netpool_return(call, NULL, 0);
}

NETPOOL_MODULE(bench, NETPOOL_FUNCTION(echo, "its input"), NETPOOL_FUNCTION(square8, "the square of a 64-bit number"),
               NETPOOL_FUNCTION(sleep_1ms, "a millisecond of waiting"))
