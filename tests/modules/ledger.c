/*
 * A function that keeps a ledger of its executions, so that a test can tell what ran, where, how often and when.
 *
 * Input: "ID SLEEP_US DIRECTORY". It appends "S id attempt pid monotonic_ns ." to DIRECTORY/ledger when it starts and
 * an "E" line alike when it ends, each with one write, and returns the 8 bytes of expected_result(id). Lines begin
 * with a line feed, too: a process that is killed may leave half a line, which must not spoil the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/expected.h"
#include "worker/netpool_function.h"

struct order {
    uint64_t id;
    unsigned sleep_us;
    char directory[256];
};

static bool parse_order(struct order *order, netpool_bytes input)
{
    char text[512];
    if (input.size == 0 || input.size >= sizeof text) {
        return false;
    }
    memcpy(text, input.data, input.size);
    text[input.size] = '\0';
    return sscanf(text, "%" SCNu64 " %u %255s", &order->id, &order->sleep_us, order->directory) == 3;
}

static int open_ledger(const char *directory)
{
    char path[300];
    snprintf(path, sizeof path, "%s/ledger", directory);
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static bool note(int ledger, char what, uint64_t id, unsigned attempt)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    char line[128];
    int length = snprintf(line, sizeof line, "\n%c %" PRIu64 " %u %d %lld .\n", what, id, attempt, (int)getpid(),
                          (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
    return write(ledger, line, (size_t)length) == length;
}

static netpool_status ledger(netpool_call *call, netpool_bytes input)
{
    struct order order;
    if (!parse_order(&order, input)) {
        return netpool_fail(call, "ledger: input is not \"ID SLEEP_US DIRECTORY\"");
    }
    int file = open_ledger(order.directory);
    if (file < 0 || !note(file, 'S', order.id, netpool_attempt(call))) {
        int error = errno;
        if (file >= 0) {
            close(file);
        }
        return netpool_fail(call, "ledger: %s/ledger: %s", order.directory, strerror(error));
    }
    if (order.sleep_us > 0) {
        usleep(order.sleep_us);
    }
    uint64_t result = expected_result(order.id);
    netpool_status status = netpool_return(call, &result, sizeof result);
    if (!note(file, 'E', order.id, netpool_attempt(call))) {
        status = netpool_fail(call, "ledger: cannot note the end of task %" PRIu64, order.id);
    }
    close(file);
    return status;
}

NETPOOL_MODULE(ledger,
               NETPOOL_FUNCTION(ledger, "notes that it ran, sleeps, returns a number that follows from the id"))
