/* Functions that the tests of reductions, profiles and progress call; beside pool_functions.c.
 *
 *   sum_doubles     n doubles -> their sum, first to last
 *   sum_crashing    the same; each first attempt whose first input is a multiple of 300 ends its executor
 *   square_numbers  n u32 -> u64, the sum of their squares
 *   add_numbers     n u64 -> u64, their sum; fails when one is 424242
 *   bracket         bytes -> "[bytes]"
 *   join            parts -> "(part part)", nothing between them
 *   wait_half_way   struct wait_half_way -> u64 0; at item `at` of its map or reduction it says 1 of 2 and waits for
 * a byte from the FIFO
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/reduce_functions.h"
#include "worker/netpool_function.h"

static netpool_status sum_doubles(netpool_call *call, netpool_bytes input)
{
    const double *numbers = input.data;
    double sum = 0;
    if (input.size == 0 || input.size % sizeof *numbers != 0) {
        return netpool_fail(call, "%zu bytes are no doubles", input.size);
    }
    for (size_t i = 0; i < input.size / sizeof *numbers; i++) {
        sum += numbers[i];
    }
    return netpool_return(call, &sum, sizeof sum);
}

static netpool_status sum_crashing(netpool_call *call, netpool_bytes input)
{
    if (netpool_attempt(call) == 1 && netpool_item(call) % 300 == 0) {
        (void)signal(SIGKILL, SIG_DFL);
        (void)raise(SIGKILL);
    }
    return sum_doubles(call, input);
}

static netpool_status square_numbers(netpool_call *call, netpool_bytes input)
{
    const uint32_t *numbers = input.data;
    uint64_t sum = 0;
    for (size_t i = 0; i < input.size / sizeof *numbers; i++) {
        sum += (uint64_t)numbers[i] * numbers[i];
    }
    return netpool_return(call, &sum, sizeof sum);
}

static netpool_status add_numbers(netpool_call *call, netpool_bytes input)
{
    const uint64_t *numbers = input.data;
    uint64_t sum = 0;
    for (size_t i = 0; i < input.size / sizeof *numbers; i++) {
        if (numbers[i] == 424242) {
            return netpool_fail(call, "424242 is not a number");
        }
        sum += numbers[i];
    }
    return netpool_return(call, &sum, sizeof sum);
}

static netpool_status bracket(netpool_call *call, netpool_bytes input)
{
    char *out = netpool_return_buffer(call, input.size + 2);
    if (out == NULL) {
        return netpool_fail(call, "too long");
    }
    out[0] = '[';
    memcpy(out + 1, input.data, input.size);
    out[input.size + 1] = ']';
    return NETPOOL_OK;
}

static netpool_status join(netpool_call *call, netpool_bytes input)
{
    size_t count = netpool_part_count(input);
    size_t size = 2;
    if (count == 0) {
        return netpool_fail(call, "join: the input is not made of parts");
    }
    for (size_t i = 0; i < count; i++) {
        size += netpool_part(input, i).size;
    }
    char *out = netpool_return_buffer(call, size);
    if (out == NULL) {
        return netpool_fail(call, "too long");
    }
    *out++ = '(';
    for (size_t i = 0; i < count; i++) {
        netpool_bytes part = netpool_part(input, i);
        if (part.size > 0) {
            memcpy(out, part.data, part.size);
            out += part.size;
        }
    }
    *out = ')';
    return NETPOOL_OK;
}

static netpool_status wait_half_way(netpool_call *call, netpool_bytes input)
{
    const struct wait_half_way *order = input.data;
    const uint64_t nothing = 0;
    char byte;
    if (input.size < sizeof *order) {
        return netpool_fail(call, "%zu bytes are no order to wait", input.size);
    }
    if (netpool_item(call) != order->at) {
        return netpool_return(call, &nothing, sizeof nothing);
    }
    netpool_progress(call, 1, 2);
    int fifo = open(order->fifo, O_RDONLY | O_CLOEXEC);
    struct pollfd ready = {.fd = fifo, .events = POLLIN};
    int events = poll(&ready, 1, 60000);
    netpool_status status = events == 1 && read(fifo, &byte, 1) == 1
                                ? netpool_return(call, &nothing, sizeof nothing)
                                : netpool_fail(call, "nobody wrote to %s", order->fifo);
    close(fifo);
    return status;
}

NETPOOL_MODULE(reduce_functions, NETPOOL_FUNCTION(sum_doubles, "the sum of doubles"),
               NETPOOL_FUNCTION(sum_crashing, "the same, after a crash now and then"),
               NETPOOL_FUNCTION(square_numbers, "the sum of squares"), NETPOOL_FUNCTION(add_numbers, "a sum"),
               NETPOOL_FUNCTION(bracket, "in brackets"), NETPOOL_FUNCTION(join, "parts, joined"),
               NETPOOL_FUNCTION(wait_half_way, "waits half way through"))
