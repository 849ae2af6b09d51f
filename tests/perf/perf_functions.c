/* The module whose tasks are counted. */
#include <valgrind/callgrind.h>

#include "netpool_function.h"

static netpool_status echo(netpool_call *call, netpool_bytes input)
{
    return netpool_return(call, input.data, input.size);
}

/* An executor ends by being killed, without a report: it gives one when told to. */
static netpool_status report(netpool_call *call, netpool_bytes input)
{
    (void)call;
    (void)input;
    CALLGRIND_DUMP_STATS_AT("executor");
    return NETPOOL_OK;
}

NETPOOL_MODULE(perf, NETPOOL_FUNCTION(echo, "its input"), NETPOOL_FUNCTION(report, "what valgrind has counted"))
