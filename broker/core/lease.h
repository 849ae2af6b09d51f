/* What becomes of leases: assigned, answered with a result, given back, lost, revoked. */
#ifndef CORE_LEASE_H
#define CORE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/task.h"

struct core;
struct queue;
struct task;
struct worker;

/* A queued task is given to a worker that has room. */
void lease_assign(struct core *core, struct task *task, struct worker *worker, int64_t now);
/* The same with up to `most` tasks from the front of a queue, as long as they are plain (task_is_plain) and fit its
 * window. Returns how many. */
unsigned lease_assign_run(struct core *core, struct queue *queue, struct worker *worker, unsigned most, int64_t now);

/* Messages of a worker. False: it has been closed. */
bool lease_results(struct core *core, struct worker *worker, struct np_message *message);
bool lease_returned(struct core *core, struct worker *worker, const Np__Returned *returned);

/* Does this worker hold the task's lease, given in that epoch? */
bool lease_is_held(const struct core *core, const struct task *task, const struct worker *worker, uint64_t epoch);

/* A task has come to its queue, or back to it: it is finished at once where nobody wants it to run any more. */
void lease_review(struct core *core, struct task *task);

/* A finished task whose result its client has turned out not to take fails. */
void lease_hold_to_limit(struct core *core, struct task *task);

/* The client, or the clock, wants no result any more; with TASK_CANCEL_UNSTARTED only if it has not begun to run. */
void lease_cancel(struct core *core, struct task *task, enum task_event event);

/* The task is taken away from a worker that goes on, as if that had been lost. */
void lease_forfeit(struct core *core, struct task *task, const char *why);

/* The worker is gone: each of its leases ends. */
void lease_settle_all(struct core *core, struct worker *worker, bool orderly, int64_t now);

#endif
