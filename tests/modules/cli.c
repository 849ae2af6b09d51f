/* Functions for the tests of the command line. */
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

NETPOOL_MODULE(cli, NETPOOL_FUNCTION(echo_bytes, "its input"),
               NETPOOL_FUNCTION(end_executor, "nothing: it ends its process"))
