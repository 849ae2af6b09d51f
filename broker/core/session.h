/*
 * A client session: its tasks, its window, its share of the pool, and the results it has not acknowledged. It
 * outlives links.
 */
#ifndef CORE_SESSION_H
#define CORE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "broker/core/lane.h"
#include "broker/core/queue.h"
#include "broker/core/task.h"
#include "common/list.h"
#include "common/table.h"

struct core;
struct peer;
struct preparation;
struct progress;

#define SESSION_KINDS 4           /* kinds remembered, so that batches of one sort share one */
#define SESSION_FLOOR_TASKS 64    /* a client may always hold so many tasks and one payload of any size */
#define SESSION_AHEAD_TASKS 65536 /* credit given ahead: covers a million tasks a second over 60 ms */
#define SESSION_AHEAD_BYTES (16U * 1024 * 1024)
#define SESSION_TASK_BYTES 1024    /* that the kind or lane of a task to come may take */
#define SESSION_RESULT_OVERHEAD 32 /* bytes that a result counts for beside its own, so that empty ones count too */

struct session {
    uint8_t id[NP_SESSION_SIZE];
    struct session *next;         /* of the same key in core.sessions */
    struct np_list node;          /* in core.all_sessions */
    struct np_list detached_node; /* in core.detached while its link is gone and it may come back, oldest first */
    int64_t grace_end_ns;         /* then its time is over */
    struct peer *peer;            /* NULL: not connected */
    bool is_awaited;              /* no client has said HELLO yet; workers hold tasks of it */
    bool is_ending;               /* over; waits for its last leases to end */
    bool is_carried_over;         /* an earlier broker had it */
    char name[NP_NAME_MAX + 1];
    char host[NP_NAME_MAX + 1];
    char address[129];
    uint64_t max_payload; /* bytes; the largest result that its client takes. 0: not known yet */

    struct task_memory *memory; /* the core's */
    struct np_table tasks;      /* by seq */
    uint64_t held;              /* their number */
    uint64_t queued;            /* queued and recovering */
    uint64_t running;           /* leased and cancelling */
    uint64_t finished;          /* not acknowledged */
    uint64_t unclaimed_tasks;   /* without a kind */
    uint64_t done;              /* finished in all */
    uint64_t payload_bytes;     /* held */
    uint64_t result_bytes;      /* held */
    uint64_t record_bytes;      /* held: what is known of failures */
    uint64_t kind_bytes;        /* held: forgotten_kinds with their queues, and lanes */
    uint64_t received_seq;      /* all tasks up to here have been received */

    uint64_t submitted_tasks; /* cumulative, as in the protocol's credit */
    uint64_t submitted_bytes;
    uint64_t granted_tasks;
    uint64_t granted_bytes;
    bool credit_due; /* granted more than what was told */

    struct np_list queues;         /* with queued tasks, highest priority first */
    struct np_list express_queues; /* one of many of them, in the same order: to find places from */
    struct np_table queue_table;
    struct np_table lanes; /* by number */
    struct kind *kinds[SESSION_KINDS];
    unsigned next_kind;
    struct np_list forgotten_kinds; /* of tasks that are held; no batch joins them any more */
    uint64_t forgotten_count;
    bool is_paused;             /* dispatches nothing: too many result bytes wait for acknowledgement */
    struct np_list paused_node; /* in core.paused */
    struct np_list review_node; /* in core.to_review while that is to be decided anew */
    uint64_t service;           /* nanoseconds of work given to it, or the share it forwent: least goes first */

    struct preparation *preparation; /* NULL: none */
    struct np_table briefed;         /* struct briefing, by worker */
    bool is_broken;                  /* its initializer failed: no task of it will run */
    char *broken_message;            /* in its words; NULL: none */
    struct progress *progress;       /* of its tasks, to be sent; NULL: none */

    struct np_list recovering;  /* tasks by state ... */
    struct np_list waiting;     /* queued ones that may not be scheduled yet */
    struct np_list undelivered; /* finished, not on their way */
    struct np_list sent;        /* finished, on their way */
    struct np_list unclaimed;   /* finished, not yet submitted again by the client */
    uint64_t sent_bytes;        /* what they cost, see session_cost_of */
};

/* What a finished task takes of the bytes that may be on their way to the client. */
static inline uint64_t session_cost_of(const struct task *task)
{
    return task->size + (task->extra != NULL ? task->extra->record_size : 0) + SESSION_RESULT_OVERHEAD;
}

/* Tasks of a batch of seqs are asked for so many rows before they are handled, and where they are in the table as
 * many rows before that. */
#define SESSION_ROWS_AHEAD 16

void session_prefetch(const struct session *session, const uint64_t *seqs, size_t count, size_t from);

/* Called for each row i of a batch before it is handled: hides the memory's latency, which is most of the cost of a
 * task among a million. */
static inline void session_look_ahead(const struct session *session, const uint64_t *seqs, size_t count, size_t i)
{
    if (i % SESSION_ROWS_AHEAD == 0 && count > 1) {
        session_prefetch(session, seqs, count, i);
    }
}

/* NULL when out of memory. */
struct session *session_new(struct core *core, const uint8_t *id);
/* NULL when not known; also those that are ending. */
struct session *session_find(const struct core *core, const uint8_t *id);
/* Without tasks. */
void session_destroy(struct core *core, struct session *session);

/* Its link is gone; it may come back for the time of grace. */
void session_detach(struct core *core, struct session *session, int64_t now);

/* All of its tasks end without a result, what runs is withdrawn. It is destroyed here or with its last lease. */
void session_end(struct core *core, struct session *session);
/* A lease has ended. Destroys an ending session that has no tasks left. */
void session_lease_ended(struct core *core, struct session *session);

/* Memory that is kept of its tasks' kinds and lanes has changed by so many bytes. */
void session_add_kind_bytes(struct core *core, struct session *session, int64_t delta);
/* The same of failure records. */
void session_add_record_bytes(struct core *core, struct session *session, int64_t delta);

/* It is about to have queued tasks: it joins the fair share from now on. */
void session_wake(struct core *core, struct session *session);

/* It has got so much of the pool. */
void session_charge(struct core *core, struct session *session, uint64_t service_ns);

/* Decides anew whether it may dispatch. */
void session_review_pause(struct core *core, struct session *session);
/* Does so for all whose results have become more or less. */
void sessions_review(struct core *core);

/* Raises the credit where the window and the broker's bounds allow it and it is worth a message. */
void session_grant(struct core *core, struct session *session);

/* After a link was broken: everything not acknowledged goes out again. */
void session_resend(struct core *core, struct session *session);

#endif
