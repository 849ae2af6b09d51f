/*
 * Recovery: after its start a broker waits for the workers of an earlier broker. A worker that reports a task Held
 * gets its lease back. If the client has not submitted the task again yet, the lease is kept by an unclaimed task:
 * one without a kind, in the client's session or in one that is awaited.
 */
#ifndef CORE_RECOVERY_H
#define CORE_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/core.h"

struct core;
struct kind;
struct task;
struct worker;

/* A worker says what it holds. */
void recovery_held(struct core *core, struct worker *worker, const Np__Held *held);

/* The client submits an unclaimed task again. False when out of memory: it stays unclaimed. */
bool recovery_claim(struct core *core, struct task *task, struct kind *kind, const uint8_t *payload, uint32_t size,
                    int64_t now, int64_t deadline_ns);

/* The time is over: what was not reported is queued or lost, what was not claimed is dropped. */
void recovery_over(struct core *core);

/* The same for one recovering task. */
void recovery_task_over(struct core *core, struct task *task);

#endif
