/*
 * What netpool_last_error says: one line a thread. Each public call that returns a failure notes it here on its way
 * out, under its own name ("netpool_submit: function name is empty"). Nothing is noted for NETPOOL_OK, and no text is
 * made before somebody asks for it unless the caller has words of its own, so that looking again and again with a
 * time-out of 0 stays cheap.
 */
#ifndef NP_LAST_ERROR_H
#define NP_LAST_ERROR_H

#include "common/netpool_status.h"

/* All three return `status`, which may be NETPOOL_OK. `call` is a literal: the public function's name. */

/* With the words of an error that what failed has filled; without any, the status's own. */
netpool_status last_error_from(netpool_status status, const char *call, const netpool_error *error);

/* With words of the caller's. */
netpool_status last_error_set(netpool_status status, const char *call, const char *format, ...) NETPOOL_PRINTF(3, 4);

/* With the status's own words: "netpool_wait: not finished within the time given". */
netpool_status last_error_status(netpool_status status, const char *call);

#endif
