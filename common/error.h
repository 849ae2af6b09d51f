/* Filling a netpool_error: every function that takes one accepts NULL. */
#ifndef NP_ERROR_H
#define NP_ERROR_H

#include "common/netpool_status.h"

/* Sets status and message (cut to fit, control characters replaced) and returns status. error may be NULL. */
netpool_status np_error_set(netpool_error *error, netpool_status status, const char *format, ...)
    NETPOOL_PRINTF(3, 4);

/* The same, followed by ": " and the text of errno. Status is NETPOOL_SYSTEM. */
netpool_status np_error_system(netpool_error *error, const char *format, ...) NETPOOL_PRINTF(2, 3);

#endif
