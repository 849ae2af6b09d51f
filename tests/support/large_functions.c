/* Functions that the tests of large payloads call; beside pool_functions.c, which has the echo.
 *
 *   plus_one         bytes -> each one more, made in place
 *   again_and_again  bytes -> the same, after other results of other sizes
 *   small_after_all  bytes -> the first five, after it had asked for as much as the input
 *   fail_after_all   fails, after it had returned the input
 *   crash_after_all  ends its executor likewise
 *   scribble         writes to its input (whose first byte is 0), or beyond the end of its result
 *   write_late       bytes -> the same, and spoils what it returned last time
 *   write_replaced   bytes -> the first five, and spoils a buffer as large as the input that it replaced last time
 *   watch_input      PATH, 0, other bytes: appends an 's' to the file, a 'z' whenever one of those is 0; never ends
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "worker/netpool_function.h"

enum { KIB = 1024 };

/* Fills its result in place with the input's bytes, each one more. */
static netpool_status plus_one(netpool_call *call, netpool_bytes input)
{
    uint8_t *out = netpool_return_buffer(call, input.size);
    for (size_t i = 0; out != NULL && i < input.size; i++) {
        out[i] = (uint8_t)(((const uint8_t *)input.data)[i] + 1);
    }
    return NETPOOL_OK;
}

/* Changes its mind: a small result, a larger one, the largest; what was returned last counts. */
static netpool_status again_and_again(netpool_call *call, netpool_bytes input)
{
    (void)netpool_return_buffer(call, 100 * KIB);
    (void)netpool_return(call, input.data, 10);
    uint8_t *out = netpool_return_buffer(call, 3 * input.size);
    if (out != NULL) {
        memset(out, 1, 3 * input.size);
    }
    return netpool_return(call, input.data, input.size);
}

static netpool_status small_after_all(netpool_call *call, netpool_bytes input)
{
    (void)netpool_return_buffer(call, input.size);
    return netpool_return(call, input.data, 5);
}

static netpool_status fail_after_all(netpool_call *call, netpool_bytes input)
{
    (void)netpool_return(call, input.data, input.size);
    return netpool_fail(call, "after all");
}

static netpool_status crash_after_all(netpool_call *call, netpool_bytes input)
{
    (void)netpool_return(call, input.data, input.size);
    (void)raise(SIGKILL);
    return NETPOOL_OK;
}

/* Writes to what it must not write to; the byte says where. */
static netpool_status scribble(netpool_call *call, netpool_bytes input)
{
    uint8_t *out = netpool_return_buffer(call, input.size);
    if (out == NULL) {
        return NETPOOL_FAILED;
    }
    if (((const uint8_t *)input.data)[0] == 0) {
        memset((void *)(uintptr_t)input.data, 0xee, input.size);
    } else {
        memset(out, 0xee, 64 * input.size);
    }
    return NETPOOL_OK;
}

/* Keeps where its last result was, and writes there. */
static netpool_status write_late(netpool_call *call, netpool_bytes input)
{
    static uint8_t *last;
    if (last != NULL) {
        memset(last, 0xee, 16);
    }
    last = netpool_return_buffer(call, input.size);
    if (last != NULL) {
        memcpy(last, input.data, input.size);
    }
    return NETPOOL_OK;
}

/* Asks for a buffer, keeps its address, and then needs a larger one, for a while. */
static netpool_status write_replaced(netpool_call *call, netpool_bytes input)
{
    static uint8_t *replaced;
    if (replaced != NULL) {
        memset(replaced, 0xee, 16);
    }
    replaced = netpool_return_buffer(call, input.size);
    (void)netpool_return_buffer(call, 8 * input.size);
    return netpool_return(call, input.data, 5);
}

static netpool_status watch_input(netpool_call *call, netpool_bytes input)
{
    const char *path = input.data;
    const size_t begin = strnlen(path, input.size) + 1;
    const int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || write(file, "s", 1) != 1) {
        return netpool_fail(call, "cannot write to '%s'", path);
    }
    for (size_t i = begin;; i = i + KIB < input.size ? i + KIB : begin) {
        if (((const volatile uint8_t *)input.data)[i] == 0) {
            (void)!write(file, "z", 1);
        }
    }
}

NETPOOL_MODULE(large_functions, NETPOOL_FUNCTION(plus_one, "one more each"),
               NETPOOL_FUNCTION(again_and_again, "the input, at last"),
               NETPOOL_FUNCTION(small_after_all, "five bytes"), NETPOOL_FUNCTION(fail_after_all, "fails"),
               NETPOOL_FUNCTION(crash_after_all, "crashes"), NETPOOL_FUNCTION(scribble, "writes where it must not"),
               NETPOOL_FUNCTION(write_late, "the input; spoils its last result"),
               NETPOOL_FUNCTION(write_replaced, "five bytes; spoils a buffer it has replaced"),
               NETPOOL_FUNCTION(watch_input, "tells of bytes that become 0"))
