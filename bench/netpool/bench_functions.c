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

/* Computes for about as many nanoseconds as the input says; steps that depend on each other take about a nanosecond.
 */
static netpool_status spin_ns(netpool_call *call, netpool_bytes input)
{
    uint64_t steps;
    (void)call;
    memcpy(&steps, input.data, sizeof steps);
    volatile uint64_t sink;
    uint64_t x = steps;
    for (uint64_t i = 0; i < steps / 2; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407U;
        x ^= x >> 29;
    }
    sink = x;
    (void)sink;
    return NETPOOL_OK;
}

static netpool_status sleep_ns(netpool_call *call, netpool_bytes input)
{
    uint64_t ns;
    (void)call;
    memcpy(&ns, input.data, sizeof ns);
    struct timespec pause = {.tv_sec = (time_t)(ns / 1000000000U), .tv_nsec = (long)(ns % 1000000000U)};
    nanosleep(&pause, NULL);
    return NETPOOL_OK;
}

NETPOOL_MODULE(bench, NETPOOL_FUNCTION(echo, "its input"), NETPOOL_FUNCTION(square8, "the square of a 64-bit number"),
               NETPOOL_FUNCTION(sleep_1ms, "a millisecond of waiting"),
               NETPOOL_FUNCTION(spin_ns, "so many nanoseconds of computing"),
               NETPOOL_FUNCTION(sleep_ns, "so many nanoseconds of waiting"))
