/*
 * Who runs what, where: among clients the one with the least service goes first; within a client the highest
 * priority, then the oldest task; the least loaded ready worker that has the function gets it.
 */
#ifndef CORE_SCHEDULE_H
#define CORE_SCHEDULE_H

#include <stdint.h>

struct core;

/* Assigns what can be assigned now, and asks busy workers for tasks that idle ones could start. */
void schedule_run(struct core *core, int64_t now);

/* Ends the queued tasks of functions that no connected worker has, if any worker is ready. */
void schedule_finish_unserved(struct core *core);

#endif
