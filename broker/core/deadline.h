/* The tasks that expire, in a heap by time. Only tasks with an expiry are in it. */
#ifndef CORE_DEADLINE_H
#define CORE_DEADLINE_H

#include "broker/core/task.h"

struct deadlines {
    struct task **heap;
    size_t count;
    size_t capacity;
};

/* Gives the task an extra if it has none. */
NETPOOL_MUST_CHECK netpool_status deadline_add(struct deadlines *deadlines, struct task *task, int64_t deadline_ns);

/* A task that is not in it is left alone. */
void deadline_remove(struct deadlines *deadlines, struct task *task);

/* NULL when none. */
struct task *deadline_first(const struct deadlines *deadlines);

void deadlines_fini(struct deadlines *deadlines);

#endif
