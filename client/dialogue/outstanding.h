/* Tasks by their numbers. Numbers are given out one after the other, so that those of most tasks lie close together:
 * a ring has these, and a table the few that stay behind. Zero-initialized is empty. Tasks are not owned. */
#ifndef NP_OUTSTANDING_H
#define NP_OUTSTANDING_H

#include "client/dialogue/task.h"
#include "common/table.h"

struct outstanding {
    struct np_task **ring; /* the numbers from `first` on, by number & (capacity - 1) */
    size_t capacity;       /* 0 or a power of two */
    size_t count;          /* in the ring */
    uint64_t first;
    struct np_table older; /* numbers below `first` */
};

/* The number must be free. NETPOOL_NO_MEMORY: nothing has changed that could be seen. */
NETPOOL_MUST_CHECK netpool_status outstanding_put(struct outstanding *tasks, uint64_t number, struct np_task *task);

/* NULL: none. */
static inline struct np_task *outstanding_find(const struct outstanding *tasks, uint64_t number)
{
    return number - tasks->first < tasks->capacity ? tasks->ring[number & (tasks->capacity - 1)]
                                                   : np_table_find(&tasks->older, number);
}

/* Removes it, too. */
struct np_task *outstanding_take(struct outstanding *tasks, uint64_t number);

void outstanding_fini(struct outstanding *tasks);

#endif
