/* What becomes of leases: assigned, answered with a result, given back, lost, revoked. */
#ifndef CORE_LEASE_H
#define CORE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/task.h"

struct core;
struct task;
struct worker;

/* A queued task is given to a worker that has room. */
void lease_assign(struct core *core, struct task *task, struct worker *worker, int64_t now);

/* Messages of a worker. False: it has been closed. */
bool lease_results(struct core *core, struct worker *worker, struct np_message *message);
bool lease_returned(struct core *core, struct worker *worker, const Np__Returned *returned);

/* The client, or the clock, wants no result any more. */
void lease_cancel(struct core *core, struct task *task, enum task_event event);

/* The task is taken away from a worker that goes on, as if that had been lost. */
void lease_forfeit(struct core *core, struct task *task, const char *why);

/* The worker is gone: each of its leases ends. */
void lease_settle_all(struct core *core, struct worker *worker, bool orderly, int64_t now);

#endif
