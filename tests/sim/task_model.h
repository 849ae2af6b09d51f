/* What a task is like: it all follows from who it is, so that clients, workers and checks agree without being told.
 */
#ifndef SIM_TASK_MODEL_H
#define SIM_TASK_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/netpool_status.h"

#define WORLD_FUNCTIONS 5 /* the last one is offered by no worker, the one before by a single one */
#define RESULT_MAX 70000

extern const char *const function_names[WORLD_FUNCTIONS];

/* What a run of 16 tasks shares. */
struct task_options {
    unsigned function;
    int priority;
    unsigned max_attempts;
    uint64_t expiry_ms;
    bool at_most_once;
    const char *label; /* NULL: none */
    unsigned slots;
    uint32_t retry_delay_ms;
    bool retry_failures;
};

/* client_key: of one incarnation of a client. */
uint64_t task_id(uint64_t client_key, uint64_t seq);
struct task_options options_of(uint64_t client_key, uint64_t seq);
uint64_t lane_of(uint64_t client_key, uint64_t seq); /* a quarter of the tasks are in one of a few */
uint32_t payload_size(uint64_t client_key, uint64_t seq);

/* From a payload's first 8 bytes, which are the task's id. */
enum task_nature { NATURE_FINE, NATURE_FAILS, NATURE_FAILS_ONCE, NATURE_CRASHES, NATURE_CRASHES_ONCE };
enum task_nature nature_of(uint64_t task);
/* How it fails when it does: FAILED, or DEADLINE for some. */
netpool_status failure_status_of(uint64_t task);
/* The right result. Returns its size. */
uint32_t result_of(uint64_t task, uint8_t *out, size_t capacity);

#endif
