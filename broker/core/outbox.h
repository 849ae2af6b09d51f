/* The columns and the body of one batch while it is built. One for the whole core: a batch is sent when it is
 * complete. */
#ifndef CORE_OUTBOX_H
#define CORE_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

#include "broker/core/core.h"

struct core;
struct peer;
struct task;

#define OUTBOX_RECORDS_MAX (64U * 1024) /* bytes of failure records in one batch; one always fits */

struct outbox {
    size_t count;
    size_t body_size;
    const uint8_t *body; /* `bytes`, or the data of a batch of one */
    bool has_attempts;   /* one is not 1 */
    bool has_items;      /* one is not 0 */
    bool has_statuses;   /* one is not OK */
    bool has_pids;       /* one is known */
    size_t failure_count;
    size_t record_bytes;
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    uint32_t sizes[NP_BATCH_TASKS_MAX];
    uint32_t attempts[NP_BATCH_TASKS_MAX];
    uint64_t first_items[NP_BATCH_TASKS_MAX];
    uint32_t statuses[NP_BATCH_TASKS_MAX];
    uint32_t pids[NP_BATCH_TASKS_MAX];
    uint64_t compute_ns[NP_BATCH_TASKS_MAX];
    uint64_t queue_ns[NP_BATCH_TASKS_MAX];
    Np__Failure *unpacked[NP_BATCH_FAILURES_MAX]; /* from a task's record; NULL: there is none */
    Np__Failure failures[NP_BATCH_FAILURES_MAX];
    Np__Failure *failure_pointers[NP_BATCH_FAILURES_MAX];
    uint8_t bytes[NP_FRAME_BODY_MAX];
};

/* Everything that is due to an open peer: its WELCOME, credit, tasks and how to prepare for them, withdrawals,
 * results, progress, status. */
void outbox_send_due(struct core *core, struct peer *peer, int64_t now);

#endif
