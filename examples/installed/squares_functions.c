#include <string.h>

#include <netpool_function.h>

#include "squares.h"

static netpool_status square(netpool_call *call, netpool_bytes input)
{
    struct squares_in in;
    if (input.size != sizeof in) {
        return netpool_fail(call, "square: expected %zu bytes, got %zu", sizeof in, input.size);
    }
    memcpy(&in, input.data, sizeof in);
    struct squares_out out = {(int64_t)in.number * in.number};
    return netpool_return(call, &out, sizeof out);
}

NETPOOL_MODULE(squares, NETPOOL_FUNCTION(square, "the square of a 32-bit number"))
