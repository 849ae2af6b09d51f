/* All of the core's state, for the files of the core alone. */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include "broker/core/core.h"
#include "broker/core/deadline.h"
#include "broker/core/demand.h"
#include "broker/core/fleet.h"
#include "broker/core/function.h"
#include "broker/core/outbox.h"
#include "broker/core/peer.h"
#include "broker/core/prepare.h"
#include "broker/core/progress.h"
#include "broker/core/queue.h"
#include "broker/core/session.h"
#include "broker/core/task.h"
#include "broker/core/worker.h"
#include "common/clock.h"
#include "common/table.h"

/* A worker may send so many result bytes beyond one of the largest size before it hears of new credit. */
#define WORKER_CREDIT_SLACK (4U * 1024 * 1024)

struct core {
    struct core_config config; /* defaults filled in */
    struct core_output output;
    int64_t now; /* of the event being handled */
    int64_t started_ns;
    int64_t recovery_end_ns; /* NP_NEVER once it is over */
    bool is_recovering;
    bool is_shut;
    bool is_over_memory; /* held more than max_memory when last looked at */

    struct np_table peers; /* by id */
    struct np_list new_peers;
    struct np_list touched;
    struct np_list closing;

    struct np_table sessions; /* by the first 8 bytes of the id, chained */
    struct np_list all_sessions;
    struct np_list detached;
    struct np_list paused;
    struct np_list to_review; /* sessions */
    struct np_list progress;  /* of clients that are to hear of it */
    struct task_memory task_memory;
    uint64_t held;           /* tasks */
    uint64_t promised_tasks; /* granted and not submitted, over all sessions */
    uint64_t promised_bytes;
    uint64_t service; /* of the client that was served last */

    struct functions functions;
    struct np_list fleets;
    struct np_list workers;
    struct np_table worker_ids; /* by the first 8 bytes of their session */
    struct np_list changed;
    struct np_list hungry;
    struct np_list surplus;
    int64_t balance_ns; /* when a worker of these may have been quiet for too long; NP_NEVER: an event comes first */
    size_t ready_workers;

    struct deadlines deadlines;
    struct outbox *outbox;
    struct core_stats stats; /* kept up to date but for `clients` */
    struct np_log_limit refused_limit;
};

/* Something may be to be sent to it with the next flush. */
void core_touch(struct core *core, struct peer *peer);
/* The same, if it is connected. */
void core_touch_session(struct core *core, struct session *session);

/* Whether it may dispatch is decided anew before the scheduler runs. */
static inline void session_review_later(struct core *core, struct session *session)
{
    if (np_list_is_empty(&session->review_node)) {
        np_list_push_back(&core->to_review, &session->review_node);
    }
}

/* Sums of payloads or results held. */
static inline void session_add_bytes(struct core *core, struct session *session, int64_t delta, bool is_result)
{
    uint64_t *sum = is_result ? &session->result_bytes : &session->payload_bytes;
    *sum += (uint64_t)delta;
    core->stats.memory_bytes += (uint64_t)delta;
    if (is_result) {
        session_review_later(core, session);
    }
}

void core_log(struct core *core, enum np_log_level level, const char *format, ...) NETPOOL_PRINTF(3, 4);

#endif
