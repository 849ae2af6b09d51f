/* Functions that show where and when they run, for tests of what tasks and pools ask of executors.
 *
 *   warm_up         an initializer: remembers its input in the executor
 *   warmth          -> "N:INPUT": how often warm_up was called here with what it was called with last
 *   calls_here      u64 -> u64, how often this executor was called with this very number, one after the other
 *   fail_until      u64 n -> which attempt this is; fails before the n-th
 *   exclusive       "MODE PATH" -> nothing; holds a lock of the executor's worker for some milliseconds, shared ('s')
 * or alone ('x'), and fails when it is taken: somebody runs beside it log_line        "PATH LINE" -> nothing; appends
 * the line to the file pass_gate       PATH of a FIFO -> nothing; comes out of it when the other end has been opened
 * and closed tell_and_wait   the same, after netpool_progress(30, 100)
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "worker/netpool_function.h"

enum { TEXT_MAX = 200 };

static _Thread_local struct {
    unsigned count;
    char input[TEXT_MAX];
} warm;

static _Thread_local struct {
    uint64_t number;
    uint64_t count;
} calls;

static void text_of(char out[TEXT_MAX], netpool_bytes input)
{
    size_t size = input.size < TEXT_MAX - 1 ? input.size : TEXT_MAX - 1;
    memcpy(out, input.data, size);
    out[size] = '\0';
}

static uint64_t number_of(netpool_bytes input)
{
    uint64_t number = 0;
    memcpy(&number, input.data, input.size < sizeof number ? input.size : sizeof number);
    return number;
}

static netpool_status warm_up(netpool_call *call, netpool_bytes input)
{
    char text[TEXT_MAX];
    (void)call;
    text_of(text, input);
    warm.count = strcmp(text, warm.input) == 0 ? warm.count + 1 : 1;
    memcpy(warm.input, text, sizeof warm.input);
    return NETPOOL_OK;
}

static netpool_status warmth(netpool_call *call, netpool_bytes input)
{
    char text[TEXT_MAX + 16];
    (void)input;
    int length = snprintf(text, sizeof text, "%u:%s", warm.count, warm.input);
    return netpool_return(call, text, (size_t)length);
}

static netpool_status calls_here(netpool_call *call, netpool_bytes input)
{
    uint64_t number = number_of(input);
    calls.count = number == calls.number ? calls.count + 1 : 1;
    calls.number = number;
    return netpool_return(call, &calls.count, sizeof calls.count);
}

static netpool_status fail_until(netpool_call *call, netpool_bytes input)
{
    uint64_t attempt = netpool_attempt(call);
    if (attempt < number_of(input)) {
        return netpool_fail(call, "attempt %" PRIu64 " is too early", attempt);
    }
    return netpool_return(call, &attempt, sizeof attempt);
}

static void hold_on(void)
{
    struct timespec left = {.tv_nsec = 3000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static netpool_status exclusive(netpool_call *call, netpool_bytes input)
{
    char text[TEXT_MAX];
    char path[TEXT_MAX + 32];
    text_of(text, input);
    (void)snprintf(path, sizeof path, "%s.%ld", text + 2, (long)getppid()); /* all of a worker have one parent */
    int file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0) {
        return netpool_fail(call, "%s: %s", path, strerror(errno));
    }
    bool alone = flock(file, (text[0] == 'x' ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0;
    if (alone) {
        hold_on();
    }
    close(file);
    return alone ? NETPOOL_OK : netpool_fail(call, "somebody runs beside it");
}

static netpool_status log_line(netpool_call *call, netpool_bytes input)
{
    char text[TEXT_MAX];
    text_of(text, input);
    char *line = strchr(text, ' ');
    if (line == NULL) {
        return netpool_fail(call, "no line in '%s'", text);
    }
    *line++ = '\0';
    size_t length = strlen(line);
    line[length++] = '\n';
    int file = open(text, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    bool written = file >= 0 && write(file, line, length) == (ssize_t)length;
    if (file >= 0) {
        close(file);
    }
    return written ? NETPOOL_OK : netpool_fail(call, "%s: %s", text, strerror(errno));
}

static netpool_status pass_gate(netpool_call *call, netpool_bytes input)
{
    char path[TEXT_MAX];
    char byte;
    text_of(path, input);
    int gate = open(path, O_RDONLY | O_CLOEXEC);
    if (gate < 0) {
        return netpool_fail(call, "%s: %s", path, strerror(errno));
    }
    while (read(gate, &byte, 1) > 0) {
    }
    close(gate);
    return NETPOOL_OK;
}

static netpool_status tell_and_wait(netpool_call *call, netpool_bytes input)
{
    netpool_progress(call, 30, 100);
    return pass_gate(call, input);
}

NETPOOL_MODULE(executor_functions, NETPOOL_FUNCTION(warm_up, "an initializer"),
               NETPOOL_FUNCTION(warmth, "what the initializer was called with"),
               NETPOOL_FUNCTION(calls_here, "how often it was called here"),
               NETPOOL_FUNCTION(fail_until, "fails some times"), NETPOOL_FUNCTION(exclusive, "fails beside others"),
               NETPOOL_FUNCTION(log_line, "appends a line to a file"), NETPOOL_FUNCTION(pass_gate, "waits at a gate"),
               NETPOOL_FUNCTION(tell_and_wait, "says how far it is, and waits"))
