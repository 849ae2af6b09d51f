/* The tasks that expire or wait for their next attempt, in a heap by time. Only these tasks are in it. */
#ifndef CORE_DEADLINE_H
#define CORE_DEADLINE_H

#include "broker/core/task.h"

struct deadlines {
    struct task **heap;
    size_t count;
    size_t capacity;
};

/* The task expires then. Gives it an extra if it has none. */
NETPOOL_MUST_CHECK netpool_status deadline_add(struct deadlines *deadlines, struct task *task, int64_t expiry_ns);

/* The task may run again then. The same. */
NETPOOL_MUST_CHECK netpool_status deadline_delay(struct deadlines *deadlines, struct task *task, int64_t retry_ns);
/* It may do so now, whatever was said before. */
void deadline_undelay(struct deadlines *deadlines, struct task *task);

/* Neither. A task that is not in it is left alone. */
void deadline_remove(struct deadlines *deadlines, struct task *task);

/* The earlier of both, of a task that is in it. */
int64_t deadline_of(const struct task *task);

/* NULL when none. */
struct task *deadline_first(const struct deadlines *deadlines);

void deadlines_fini(struct deadlines *deadlines);

#endif
