/*
 * Ordered lanes: tasks of one client that run one at a time, in the order of their seqs, whatever their functions and
 * priorities. A lane lets its first task through to be scheduled, unless another one of it holds a lease (its worker
 * reported it to a restarted broker). The others are queued, too, but wait in session.waiting.
 */
#ifndef CORE_LANE_H
#define CORE_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/task.h"
#include "common/list.h"
#include "common/netpool_status.h"

struct core;
struct session;

struct lane {
    struct session *session;
    uint64_t number;
    struct np_list members; /* unfinished tasks by seq: task_extra.lane_node */
    struct task *leased;    /* the one that is leased or cancelling; NULL: none */
};

#define LANE_BYTES (sizeof(struct lane) + BLOCK_BYTES + ENTRY_BYTES) /* what one counts for */

/* NULL: of none. */
static inline struct lane *lane_of(const struct task *task)
{
    return task->extra != NULL ? task->extra->lane : NULL;
}

/* The task becomes the last one of the lane, which is made if need be; 0: of none. Its seq is the highest so far. */
NETPOOL_MUST_CHECK netpool_status lane_join(struct core *core, struct session *session, struct task *task,
                                            uint64_t number);

/* It is finished, or to be destroyed. Returns the lane, or NULL: that was its last task, and the lane is gone. */
struct lane *lane_leave(struct core *core, struct task *task);

struct task *lane_first(const struct lane *lane);

/* May this queued task be scheduled as far as its lane is concerned? */
bool lane_admits(const struct task *task);

#endif
