/* The function of the parallel sum: doubles in, their sum out. Both the leaves and the combinations of the reduction
 * call it: a sum of sums is a sum. */
#include <string.h>

#include <netpool_function.h>

static netpool_status sum_doubles(netpool_call *call, netpool_bytes input)
{
    const double *numbers = input.data; /* aligned to 16 bytes */
    size_t count = input.size / sizeof *numbers;
    if (count == 0 || input.size % sizeof *numbers != 0) {
        return netpool_fail(call, "sum_doubles: %zu bytes are no block of doubles", input.size);
    }
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += numbers[i];
    }
    return netpool_return(call, &sum, sizeof sum);
}

NETPOOL_MODULE(sum, NETPOOL_FUNCTION(sum_doubles, "the sum of an array of doubles"))
