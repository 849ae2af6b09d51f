/* What a public call asks for with its function, input and netpool_task_options: checked before anything is sent. All
 * fail with NETPOOL_INVALID unless they say otherwise, and name the argument. */
#ifndef NP_TASK_OPTIONS_H
#define NP_TASK_OPTIONS_H

#include <stdint.h>

#include "client/dialogue/task.h"
#include "client/netpool.h"

/* All of the kind but what strings say: function and labels are left NULL. options may be NULL. */
NETPOOL_MUST_CHECK netpool_status task_read_options(struct np_task_kind *out, const netpool_task_options *options,
                                                    netpool_error *error);

/* The number of a lane, never 0; 0 for NULL, which is none. Two lanes in 2^64 have the same number, and then wait for
 * each other. */
NETPOOL_MUST_CHECK netpool_status task_hash_lane(uint64_t *out, const char *lane, netpool_error *error);

/* 1 to 128 bytes of printable ASCII without spaces. `what` begins the message. */
NETPOOL_MUST_CHECK netpool_status task_check_name(const char *what, const char *name, netpool_error *error);
NETPOOL_MUST_CHECK netpool_status task_check_function(const char *function, netpool_error *error);

/* Also NETPOOL_TOO_LARGE. */
NETPOOL_MUST_CHECK netpool_status task_check_input(netpool_bytes input, uint64_t limit, netpool_error *error);

/* Words for later must be zero: NETPOOL_INVALID. The macro is for any options with such a field. */
NETPOOL_MUST_CHECK netpool_status task_check_reserved(const uint64_t *words, size_t count, netpool_error *error);
#define TASK_CHECK_RESERVED(options, error) \
    task_check_reserved((options)->reserved, sizeof(options)->reserved / sizeof(options)->reserved[0], error)

#endif
