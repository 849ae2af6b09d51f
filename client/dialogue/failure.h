/* Failure records: from the protocol's form to the public one. */
#ifndef NP_FAILURE_H
#define NP_FAILURE_H

#include <stdint.h>

#include "client/dialogue/task.h"
#include "client/netpool.h"

/* Fills *out; `first_item` is the index in the map of the task's first item, 0 outside of one. */
void failure_fill(netpool_failure *out, const struct np_task_kind *kind, uint64_t first_item,
                  const struct np_outcome *outcome);

/* The same in new memory; NULL when there is none. */
netpool_failure *failure_new(const struct np_task_kind *kind, uint64_t first_item, const struct np_outcome *outcome);

#endif
