/*
 * How far running tasks say they are, on its way from workers to a client: the latest values of each task, gathered
 * for a while and sent once. Nothing is kept for a client that is away, and what does not fit is dropped: a progress
 * that is lost does no harm.
 */
#ifndef CORE_PROGRESS_H
#define CORE_PROGRESS_H

#include <stdint.h>

#include "broker/core/core.h"
#include "common/list.h"
#include "common/table.h"

#define PROGRESS_GATHER_NS (100 * 1000000) /* a client hears of progress at most so often */

struct core;
struct session;
struct worker;

/* What a session has gathered. */
struct progress {
    struct np_list node; /* in core.progress, the one that is due first in front */
    int64_t due_ns;
    struct session *session;
    struct np_table rows; /* by seq: the row's number + 1 */
    size_t count;
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    uint64_t done[NP_BATCH_TASKS_MAX];
    uint64_t total[NP_BATCH_TASKS_MAX];
};

/* A worker says how far its tasks are. What it does not hold is passed over. */
void progress_receive(struct core *core, struct worker *worker, const Np__Progress *progress, int64_t now);

/* When the next client is to hear; NP_NEVER: none. */
int64_t progress_deadline(const struct core *core);
/* Their time has come: they are sent with the next flush. */
void progress_tick(struct core *core, int64_t now);

/* Sends what is due to a connected client, or drops it while results have to wait for the client. */
void progress_send_due(struct core *core, struct session *session, int64_t now);

/* Nobody will hear it. */
void progress_drop(struct session *session);

#endif
