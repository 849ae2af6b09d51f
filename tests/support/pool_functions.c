/* Functions that the tests of the client library call: part of the test program for local pools and threads, and a
 * module for the workers of a cluster.
 *
 *   echo            the input
 *   square          u64 -> its square
 *   double_of       u32 -> u64, twice as much
 *   sum_of_bytes    bytes -> u64
 *   fail_above      u64 -> itself; fails when it is above 1000, "N is above 1000"
 *   fail            fails with the input as message
 *   sleep_ms        u64 -> itself, after as many milliseconds; looks for cancellation every millisecond
 *   sleep_deaf_ms   the same, without looking
 *   sleep_first_ms  sleep_ms on its first attempt, and no time at all on the others
 *   fill            u64 -> as many bytes of 0x5a
 *   crash           ends its executor with SIGSEGV
 *   crash_once      the same on its first attempt, then the input
 *   attempt         -> u64, which attempt this is
 *   nothing         no result
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "worker/netpool_function.h"

static uint64_t number_of(netpool_bytes input)
{
    uint64_t number = 0;
    memcpy(&number, input.data, input.size < sizeof number ? input.size : sizeof number);
    return number;
}

static netpool_status give(netpool_call *call, uint64_t number)
{
    return netpool_return(call, &number, sizeof number);
}

static void sleep_one_ms(void)
{
    struct timespec left = {.tv_nsec = 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static netpool_status echo(netpool_call *call, netpool_bytes input)
{
    return netpool_return(call, input.data, input.size);
}

static netpool_status square(netpool_call *call, netpool_bytes input)
{
    uint64_t number = number_of(input);
    return give(call, number * number);
}

static netpool_status double_of(netpool_call *call, netpool_bytes input)
{
    return give(call, 2 * number_of(input));
}

static netpool_status sum_of_bytes(netpool_call *call, netpool_bytes input)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < input.size; i++) {
        sum += ((const unsigned char *)input.data)[i];
    }
    return give(call, sum);
}

static netpool_status fail_above(netpool_call *call, netpool_bytes input)
{
    uint64_t number = number_of(input);
    return number > 1000 ? netpool_fail(call, "%" PRIu64 " is above 1000", number) : give(call, number);
}

static netpool_status fail(netpool_call *call, netpool_bytes input)
{
    return netpool_fail(call, "%.*s", (int)input.size, (const char *)input.data);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* By the clock: a thousand naps of a millisecond take much longer than a second on a busy machine. */
static netpool_status sleep_ms(netpool_call *call, netpool_bytes input)
{
    uint64_t end = now_ns() + number_of(input) * 1000000;
    while (now_ns() < end && !netpool_is_cancelled(call)) {
        sleep_one_ms();
    }
    return give(call, number_of(input));
}

static netpool_status sleep_deaf_ms(netpool_call *call, netpool_bytes input)
{
    uint64_t end = now_ns() + number_of(input) * 1000000;
    while (now_ns() < end) {
        sleep_one_ms();
    }
    return give(call, number_of(input));
}

static netpool_status sleep_first_ms(netpool_call *call, netpool_bytes input)
{
    return netpool_attempt(call) == 1 ? sleep_ms(call, input) : give(call, number_of(input));
}

static netpool_status fill(netpool_call *call, netpool_bytes input)
{
    size_t size = (size_t)number_of(input);
    void *buffer = netpool_return_buffer(call, size);
    if (buffer == NULL) {
        return netpool_fail(call, "no buffer of %zu bytes", size);
    }
    memset(buffer, 0x5a, size);
    return NETPOOL_OK;
}

static netpool_status crash(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    (void)signal(SIGSEGV, SIG_DFL); /* no sanitizer's report: this is meant */
    (void)raise(SIGSEGV);
    return NETPOOL_OK;
}

static netpool_status crash_once(netpool_call *call, netpool_bytes input)
{
    return netpool_attempt(call) == 1 ? crash(call, input) : netpool_return(call, input.data, input.size);
}

static netpool_status attempt(netpool_call *call, netpool_bytes input)
{
    (void)input;
    return give(call, netpool_attempt(call));
}

static netpool_status item(netpool_call *call, netpool_bytes input)
{
    (void)input;
    return give(call, netpool_item(call));
}

static netpool_status nothing(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    return NETPOOL_OK;
}

NETPOOL_MODULE(pool_functions, NETPOOL_FUNCTION(echo, "the input"), NETPOOL_FUNCTION(square, "the square"),
               NETPOOL_FUNCTION(double_of, "twice as much"), NETPOOL_FUNCTION(sum_of_bytes, "the sum of the bytes"),
               NETPOOL_FUNCTION(fail_above, "fails above 1000"), NETPOOL_FUNCTION(fail, "fails"),
               NETPOOL_FUNCTION(sleep_ms, "sleeps"), NETPOOL_FUNCTION(sleep_deaf_ms, "sleeps whatever happens"),
               NETPOOL_FUNCTION(sleep_first_ms, "sleeps the first time"), NETPOOL_FUNCTION(fill, "many bytes"),
               NETPOOL_FUNCTION(crash, "crashes"), NETPOOL_FUNCTION(crash_once, "crashes the first time"),
               NETPOOL_FUNCTION(attempt, "which attempt"), NETPOOL_FUNCTION(item, "which item of its map"),
               NETPOOL_FUNCTION(nothing, "no result"))
