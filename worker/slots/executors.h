/*
 * All executors of a supervisor and the queue before them. Tasks come in with executors_assign; results leave through
 * the outbox. Each executor is fed only as far ahead as about 200 microseconds of work, by what each function has
 * been seen to take, and nothing beyond the running task when that takes a millisecond or more.
 */
#ifndef NP_EXECUTORS_H
#define NP_EXECUTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "transport/reactor.h"
#include "worker/crash/postmortem.h"
#include "worker/outbox.h"
#include "worker/roll.h"
#include "worker/slots/batch.h"
#include "worker/slots/memory_killer.h"
#include "worker/slots/slot.h"
#include "worker/zygote/zygote.h"

#define EXECUTORS_HANDLING_NS 300 /* what an executor needs between two tasks */

struct executors {
    struct reactor *reactor;
    struct zygote *zygote;
    struct outbox *outbox;
    struct slot *slots;
    unsigned slot_count;
    size_t function_count;
    int64_t *estimates_ns; /* by function; 0: not seen yet */
    struct np_list queue;  /* struct task, next to be fed first */
    size_t queued;
    struct preparations preparations;
    struct postmortems postmortems; /* crashed tasks, no longer of a slot */
    struct np_list ready;           /* slots whose bell rang */
    size_t fed;                     /* tasks fed and not answered */
    unsigned busy;                  /* slots with something fed */
    unsigned forks_pending;
    uint64_t forks;   /* that went well */
    int64_t deadline; /* earliest of the slots' deadlines or of the next look at stragglers */
    int64_t balance_at;
    int64_t progress_at;    /* when the progress of what runs is looked at next, NP_NEVER */
    int64_t look_at;        /* busy slots are looked at then although no bell rang: one may have been overwritten */
    bool is_paused;         /* nothing is fed any more */
    bool zygote_has_spoken; /* since it was last heard */
    bool zygote_is_gone;
    bool has_failed_start; /* since it was last asked whether they are wanting */
    int start_error;       /* errno of the last failed start; 0: the executor ended before its first task */
    struct reactor_source zygote_source;
    struct memory_killer memory_killer;
    struct np_heap *heap;   /* for large payloads, of the program and all slots; NULL: each executor has its own, */
    bool has_own_heaps;     /* if there are descriptors for them */
    int64_t review_at;      /* of the heaps, NP_NEVER */
    unsigned reviewed;      /* slot whose heap was reviewed last */
    size_t moved;           /* bytes of inputs moved into executors' heaps in this turn */
    uint64_t max_payload;   /* bytes of a result */
    uint64_t last_executor; /* serial number of the latest */
    uint32_t max_tasks;     /* of each executor, 0 = no limit */
    int64_t cancel_grace_ns;
    int forward_fd; /* where what functions print goes on to, -1: nowhere */
    uint64_t crashes;
};

struct executors_options {
    struct reactor *reactor;
    struct zygote *zygote;
    struct outbox *outbox;
    unsigned slots;
    size_t functions;
    struct np_heap *heap; /* that the program shares, or NULL */
    uint64_t max_payload;
    uint32_t max_tasks;
    int64_t cancel_grace_ns;
    int forward_fd;
};

NETPOOL_MUST_CHECK netpool_status executors_init(struct executors *executors, const struct executors_options *options,
                                                 netpool_error *error);
void executors_fini(struct executors *executors);

/* Prepares executors for the tasks of a session that come from now on; false when there are too many sessions. */
bool executors_prepare(struct executors *executors, const struct preparation_order *order, int64_t now);
/* The session has ended; an initializer that no task waits for is cancelled. */
void executors_forget(struct executors *executors, const uint8_t *session, int64_t now);

/* Queues the batch's tasks; an unknown function, or an initializer that has failed, fails them at once. */
void executors_assign(struct executors *executors, struct batch *batch);

/* Cancels those of the session's tasks that are held: what has not started ends at once; what runs is told, unless
 * only those not started are meant. Sorts seqs. */
struct withdrawal {
    const uint8_t *session;
    uint64_t *seqs;
    size_t count;
    bool unstarted_only;
};
void executors_cancel(struct executors *executors, const struct withdrawal *withdrawal, int64_t now);

/* Gives up to `count` tasks that have not started back, last ones first, into the roll. */
void executors_give_back(struct executors *executors, size_t count, struct roll *roll);

/* No more is fed; what has not started is given back into the roll. */
void executors_pause(struct executors *executors, struct roll *roll, int64_t now);

/* Adds every task queued, fed or running to the roll. */
void executors_report(const struct executors *executors, struct roll *roll);

/* What has happened since the last turn is taken in, what can be fed is fed. */
void executors_turn(struct executors *executors, int64_t now);
int64_t executors_deadline(const struct executors *executors);

/* None is there, and none could be started in the last `tries` attempts of each slot. Cheap where nothing failed. */
bool executors_are_wanting(struct executors *executors, unsigned tries);

/* Looks again at slots that waited for the outbox. */
void executors_resume(struct executors *executors);

/* Used by executors_withdraw.c. Ends a task that has not started and is in no list. */
struct task *executors_pop(struct executors *executors, struct np_list *node);
void executors_end_unstarted(struct executors *executors, struct task *task, netpool_status status,
                             const char *message);

/* Used by the slots. */
void executors_mark_ready(struct executors *executors, struct slot *slot);
static inline void executors_note_time(struct executors *executors, const struct task *task, int64_t compute_ns)
{
    int64_t *estimate = &executors->estimates_ns[task->batch->function];
    int64_t seen = compute_ns < INT64_MAX - EXECUTORS_HANDLING_NS ? compute_ns + EXECUTORS_HANDLING_NS : INT64_MAX;
    *estimate = *estimate == 0 ? seen : *estimate + (seen - *estimate) / 8;
}
void executors_requeue(struct executors *executors, struct task *task); /* at the front */
void executors_refuse_unprepared(struct executors *executors, const struct preparation *preparation); /* all queued */
static inline void executors_set_deadline(struct executors *executors, int64_t deadline)
{
    executors->deadline = np_earlier(executors->deadline, deadline);
}

#endif
