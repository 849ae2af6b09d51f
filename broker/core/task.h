/*
 * A task, and the one function that changes its state. The table of task_rules.c is the one printed in
 * proto/PROTOCOL.md.
 */
#ifndef CORE_TASK_H
#define CORE_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "common/list.h"
#include "common/slab.h"

struct core;
struct kind;
struct lane;
struct origin;
struct queue;
struct session;
struct worker;

enum task_state { TASK_RECOVERING, TASK_QUEUED, TASK_LEASED, TASK_CANCELLING, TASK_FINISHED };
#define TASK_STATES 5

enum task_event {
    TASK_ASSIGN, /* the scheduler gives it to a worker */
    TASK_RESULT, /* a result that names the lease */
    TASK_LOST,   /* the worker that holds the lease is gone */
    TASK_RETURN, /* its worker gives it back unstarted */
    TASK_CANCEL,
    TASK_EXPIRE,
    TASK_HOLD,             /* a worker reports that it has it */
    TASK_RECOVER,          /* the time for that is over */
    TASK_UNSERVED,         /* workers are there, and none has its function */
    TASK_CANCEL_UNSTARTED, /* the client wants it no more, unless it has begun to run */
    TASK_BREAK             /* its session's initializer failed */
};
#define TASK_EVENTS 11

enum task_rule {
    TASK_NEVER,   /* our bug */
    TASK_IGNORED, /* a race that is nobody's fault */
    TASK_DROPPED, /* what the worker says is late, or refused */
    TASK_MARKED,  /* stays; when it would be queued again, it is finished as CANCELLED */
    TASK_TO_LEASED,
    TASK_TO_QUEUED,
    TASK_TO_CANCELLING,
    TASK_TO_FINISHED,
    TASK_TO_FINISHED_CANCELLED,
    TASK_TO_FINISHED_DEADLINE,
    TASK_TO_QUEUED_OR_FINISHED
};

enum task_rule task_rule(enum task_state state, enum task_event event);
const char *task_state_name(enum task_state state);
const char *task_event_name(enum task_event event); /* as PROTOCOL.md heads its column */
const char *task_rule_text(enum task_rule rule);    /* as PROTOCOL.md fills its cell */

#define TASK_INLINE_MAX 256 /* bytes; larger payloads have a block of their own */
#define TASK_NO_DEADLINE SIZE_MAX

/* What few tasks need. */
struct task_extra {
    uint8_t *record;          /* Np__Failure in wire format, grown by appending: attempts first, the failure last */
    uint32_t record_size;     /* bytes */
    uint32_t last_loss;       /* where in `record` the newest attempt begins, if that was a loss; else UINT32_MAX */
    size_t deadline_index;    /* in core.deadlines, or TASK_NO_DEADLINE */
    int64_t expiry_ns;        /* NP_NEVER: does not expire */
    int64_t retry_ns;         /* queued: when it may run again; NP_NEVER: now */
    struct task *task;        /* whose extra this is */
    struct lane *lane;        /* NULL: of none */
    struct np_list lane_node; /* in lane.members */
    uint64_t held_epoch;      /* of an adopted lease: the epoch that its worker knows it by; else 0 */
};

struct task {
    struct np_list node; /* recovering: session.recovering; queued: its queue, or session.waiting; leased, cancelling:
                            worker.leases; finished: session.undelivered, .sent or .unclaimed */
    uint64_t seq;
    struct session *session;
    struct kind *kind; /* NULL: a worker holds it, and its client has not submitted it again yet */
    union {
        struct worker *worker; /* leased, cancelling */
        struct origin *origin; /* finished: who made the result; NULL: nobody */
    };
    struct task_extra *extra; /* NULL mostly */
    uint8_t *data; /* payload until finished, then result; in `inlined` or a block of its own, NULL if none */
    union {
        int64_t submitted_ns;
        uint64_t compute_ns; /* finished */
    };
    uint64_t first_item;      /* index in its map of the task's first item */
    uint64_t queue_ns;        /* from submission to the last assignment */
    uint32_t size;            /* bytes at `data` */
    uint32_t pid;             /* finished: of the executor */
    uint16_t units;           /* leased, cancelling: what it counts for in the worker's load */
    uint16_t inline_capacity; /* bytes */
    uint8_t state;            /* enum task_state */
    uint8_t status;           /* finished: netpool_status */
    uint8_t attempt;          /* assignments that count, so far */
    bool is_expired : 1;      /* cancelling because of its expiry */
    bool is_sent : 1;         /* finished: in session.sent */
    bool is_waiting : 1;      /* queued: for its lane, or for the time of its next attempt */
    bool is_adopted : 1;      /* leased, cancelling: its worker has reported it held */
    bool is_unwanted : 1;     /* marked: to be finished instead of queued again */
    uint8_t inlined[];
};

/* Memory of tasks, by how much of a payload they have inside. */
#define TASK_STEP 64 /* bytes, between the sizes */
#define TASK_SIZES ((offsetof(struct task, inlined) + TASK_INLINE_MAX + TASK_STEP - 1) / TASK_STEP)
struct task_memory {
    struct np_slab slabs[TASK_SIZES]; /* of one step, of two, ... */
};
void task_memory_init(struct task_memory *memory);
void task_memory_fini(struct task_memory *memory);

/* Makes a task that is in no state's list yet; task_begin follows. The payload is copied, or shared if it is a whole
 * block. NULL when out of memory. */
struct task *task_new(struct session *session, struct kind *kind, uint64_t seq, const uint8_t *payload, uint32_t size,
                      bool is_block);

/* Its first state: recovering, queued or leased. */
void task_begin(struct core *core, struct task *task, enum task_state state, struct worker *worker);

/* Changes the state, with everything that hangs on it: lists, loads, sums and counters. `worker`: to LEASED, the
 * holder. The pair must be in the table. */
void task_move(struct core *core, struct task *task, enum task_event event, enum task_state next,
               struct worker *worker);

/* Nothing hangs on it but what every task has. */
static inline bool task_is_plain(const struct task *task)
{
    return task->extra == NULL;
}

/* TASK_ASSIGN for up to `most` plain tasks from the front of a queue, while they fit the worker's window: with their
 * attempts and the time they waited. Returns how many. */
unsigned task_assign_run(struct core *core, struct queue *queue, struct worker *worker, unsigned most, int64_t now);

/* To QUEUED, for another attempt when the kind's delay is over. */
void task_retry(struct core *core, struct task *task, enum task_event event);

/* The time of its next attempt has come. */
void task_retry_due(struct core *core, struct task *task);

/* The lane of a task that has just joined it with a lease, or left: another one may run, or must not. */
void task_review_lane(struct core *core, struct lane *lane);

/* To FINISHED with a status and no result. */
void task_finish(struct core *core, struct task *task, enum task_event event, netpool_status status);

/* Drops payload or result, whatever is there. */
void task_drop_data(struct core *core, struct task *task);

/* Result bytes of a task that is about to finish: copied, or shared if they are a whole block. False when out of
 * memory. */
bool task_store_result(struct core *core, struct task *task, const uint8_t *data, uint32_t size, bool is_block);

/* NULL when out of memory. */
struct task_extra *task_need_extra(struct task *task);

/* Takes it out of everything and frees it, in any state. A lease must have ended. */
void task_destroy(struct core *core, struct task *task);

#endif
