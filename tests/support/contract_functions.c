/* Functions that are killed, fail or crash once, for the tests of what is promised then.
 *
 *   tell_pid_and_wait  "OUT IN", two FIFOs: writes its process id into the first and waits until the second has been
 *                      opened and closed. From its second attempt on it returns at once: u64, which attempt it is
 *   stand_at_gate      PATH of a FIFO: waits until the other end has been opened and closed. Tests always cancel it,
 * so that no broker knows how long it takes, and two a slot are sent to workers log_late           "MODE PATH LINE":
 * the first attempt fails (mode f), crashes (c) or succeeds (-); the one that succeeds appends the line to the file
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/netpool_function.h"

enum { TEXT_MAX = 256 };

/* The text before the first space, which ends there, and what follows; NULL: there is none. */
static char *split(char *text)
{
    char *space = strchr(text, ' ');
    if (space != NULL) {
        *space++ = '\0';
    }
    return space;
}

static void text_of(char out[TEXT_MAX], netpool_bytes input)
{
    size_t size = input.size < TEXT_MAX - 1 ? input.size : TEXT_MAX - 1;
    memcpy(out, input.data, size);
    out[size] = '\0';
}

static netpool_status tell_pid_and_wait(netpool_call *call, netpool_bytes input)
{
    uint64_t attempt = netpool_attempt(call);
    char out[TEXT_MAX];
    text_of(out, input);
    char *in = split(out);
    if (attempt > 1) {
        return netpool_return(call, &attempt, sizeof attempt);
    }
    pid_t pid = getpid();
    char byte;
    int teller = open(out, O_WRONLY | O_CLOEXEC);
    bool told = teller >= 0 && write(teller, &pid, sizeof pid) == (ssize_t)sizeof pid;
    if (teller >= 0) {
        close(teller);
    }
    int gate = in != NULL && told ? open(in, O_RDONLY | O_CLOEXEC) : -1;
    if (gate < 0) {
        return netpool_fail(call, "'%s': %s", out, strerror(errno));
    }
    while (read(gate, &byte, 1) > 0) {
    }
    close(gate);
    return netpool_return(call, &attempt, sizeof attempt);
}

static netpool_status stand_at_gate(netpool_call *call, netpool_bytes input)
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

static netpool_status log_late(netpool_call *call, netpool_bytes input)
{
    char mode[TEXT_MAX];
    text_of(mode, input);
    char *path = split(mode);
    char *line = path != NULL ? split(path) : NULL;
    if (line == NULL) {
        return netpool_fail(call, "no line in the input");
    }
    if (netpool_attempt(call) == 1 && mode[0] == 'f') {
        return netpool_fail(call, "the first attempt fails");
    }
    if (netpool_attempt(call) == 1 && mode[0] == 'c') {
        (void)signal(SIGSEGV, SIG_DFL); /* no sanitizer's report: this is meant */
        (void)raise(SIGSEGV);
    }
    size_t length = strlen(line);
    line[length++] = '\n';
    int file = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    bool written = file >= 0 && write(file, line, length) == (ssize_t)length;
    if (file >= 0) {
        close(file);
    }
    return written ? NETPOOL_OK : netpool_fail(call, "%s: %s", path, strerror(errno));
}

NETPOOL_MODULE(contract_functions, NETPOOL_FUNCTION(tell_pid_and_wait, "can be found and killed"),
               NETPOOL_FUNCTION(stand_at_gate, "waits to be cancelled"),
               NETPOOL_FUNCTION(log_late, "appends a line to a file, if need be at its second attempt"))
