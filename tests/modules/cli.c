/* Functions for the tests of the command line. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/netpool_function.h"

static netpool_status echo_bytes(netpool_call *call, netpool_bytes input)
{
    return netpool_return(call, input.data, input.size);
}

/* Its input is the exit status of the executor that runs it. */
static netpool_status end_executor(netpool_call *call, netpool_bytes input)
{
    (void)call;
    _exit(input.size == 1 ? *(const char *)input.data - '0' : 1);
}

static netpool_status crash(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    (void)raise(SIGSEGV);
    return NETPOOL_OK;
}

static netpool_status never_ends(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    while (pause() < 0) { /* whatever signal comes */
    }
    return NETPOOL_OK;
}

/* Its input is the path of a FIFO: it says that it is half done, and waits for a byte from there. */
static netpool_status half_done(netpool_call *call, netpool_bytes input)
{
    char path[PATH_MAX];
    char byte;
    (void)snprintf(path, sizeof path, "%.*s", (int)input.size, (const char *)input.data);
    netpool_progress(call, 50, 100);
    int fifo = open(path, O_RDONLY | O_CLOEXEC);
    netpool_status status =
        fifo >= 0 && read(fifo, &byte, 1) == 1 ? netpool_return(call, &byte, 1) : netpool_fail(call, "no %s", path);
    close(fifo);
    return status;
}

NETPOOL_MODULE(cli, NETPOOL_FUNCTION(echo_bytes, "its input"),
               NETPOOL_FUNCTION(end_executor, "nothing: it ends its process"),
               NETPOOL_FUNCTION(crash, "nothing: it crashes"), NETPOOL_FUNCTION(never_ends, "nothing, ever"),
               NETPOOL_FUNCTION(half_done, "waits half way"))
