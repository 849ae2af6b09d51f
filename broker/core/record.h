/*
 * Failure records: what is known of attempts that failed, kept as the bytes of an Np__Failure in wire format. Records
 * of attempts are appended as they come and the last failure's own fields at the end; that concatenation is a
 * message.
 */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include "broker/core/task.h"

#define RECORD_MAX (96U * 1024) /* bytes of a task's record */

struct core;

/* Both keep quiet when out of memory: the task's status says what matters. */
void record_attempt(struct core *core, struct task *task, netpool_status status, const struct origin *origin,
                    uint32_t pid, const Np__Failure *failure, const char *message);
void record_failure(struct core *core, struct task *task, const Np__Failure *failure);

/* The last attempt had begun to run, or may have. */
void record_started(struct core *core, struct task *task);

/* The newest attempt was not lost after all: its worker has come back with it. */
void record_forget_loss(struct core *core, struct task *task);

/* Nobody will ask any more. */
void record_drop(struct core *core, struct task *task);

#endif
