/*
 * A crew: the threads of a `threads:N` pool. It takes jobs and gives back outcomes; the protocol is crew_worker.c's.
 *
 * A thread cannot be killed. So a job whose deadline passes, or that is cancelled and does not return within its
 * grace, is *answered* without it: its outcome is given back, and what the function returns later is dropped. Threads
 * that never return outlive the crew and are left behind.
 *
 * A crew may be prepared: then each thread calls an initializer before its first job, and is replaced by a new one
 * after so many jobs. When an initializer fails, all jobs that do not run yet end with its words.
 */
#ifndef NP_CREW_H
#define NP_CREW_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/list.h"
#include "common/netpool_status.h"
#include "proto/limits.h"
#include "worker/executor/call.h"

struct crew;

enum { CREW_SMALL = 32 }; /* bytes of a result that need no memory of their own */

enum crew_job_state { CREW_WAITING, CREW_RUNNING, CREW_DONE };

struct crew_job {
    /* what is to be done */
    uint8_t session[NP_SESSION_SIZE];
    uint64_t seq;
    unsigned attempt;
    uint64_t timeout_ms;         /* 0 = none */
    struct call_request request; /* its input points to `input`, or to a block */

    /* what came of it; once it is given back by crew_take */
    netpool_status status;
    uint64_t failed_item;
    uint64_t wait_ns; /* from crew_add until it was started */
    uint64_t compute_ns;
    bool has_started;
    struct np_buffer result; /* owned; empty: `small` has it */
    uint8_t small[CREW_SMALL];
    size_t small_size; /* bytes */
    char *message;     /* owned; NULL: none */

    /* private */
    struct np_list node;
    enum crew_job_state state;
    struct call_state call_state;
    uint64_t told_done; /* given out by crew_take_progress */
    uint64_t told_total;
    int64_t added;     /* ns */
    int64_t answer_at; /* ns; NP_NEVER: when it returns */
    bool is_cancelled;
    bool is_answered; /* given back already; the thread frees what it returns */
    void *block;      /* a large input; NULL: it lies in `input` */
    alignas(16) uint8_t input[];
};

/* `wake` is called from the crew's threads when crew_take has something. All signals are blocked in them. */
NETPOOL_MUST_CHECK netpool_status crew_new(struct crew **out, unsigned size, void (*wake)(void *context),
                                           void *context, netpool_error *error);

/* Ends the threads. What does not end within the grace is left behind (`wake` is not called any more). */
void crew_destroy(struct crew **crew, int64_t grace_ns);

/* NULL when out of memory. The input is copied, or shared if it is a whole block. */
struct crew_job *crew_job_new(const void *input, size_t input_size, bool is_block);
void crew_job_free(struct crew_job *job);

static inline netpool_bytes crew_job_result(const struct crew_job *job)
{
    size_t size = np_buffer_size(&job->result);
    return size > 0 ? (netpool_bytes){.data = np_buffer_data(&job->result), .size = size}
                    : (netpool_bytes){.data = job->small, .size = job->small_size};
}

/* What threads do before their first job and when they end. */
struct crew_preparation {
    const char *initializer;    /* its name; "": none */
    netpool_function *function; /* NULL: there is no such function, which is a failure */
    netpool_bytes input;        /* copied */
    unsigned max_jobs;          /* of a thread; 0: no limit */
};

/* Once, before the first job. NETPOOL_NO_MEMORY. */
NETPOOL_MUST_CHECK netpool_status crew_prepare(struct crew *crew, const struct crew_preparation *preparation);

/* Takes the jobs (crew_job.node) over; the list is empty afterwards. */
void crew_add(struct crew *crew, struct np_list *jobs);

/* Moves the finished jobs, now the caller's, in order of completion to the end of the list. */
void crew_take(struct crew *crew, struct np_list *jobs);

/* Ends a waiting job of that name as CANCELLED. False: none waits. */
bool crew_cancel_waiting(struct crew *crew, const uint8_t session[NP_SESSION_SIZE], uint64_t seq);

/* The same; and a running one is told and answered after `grace_ns`. False: no such job here. */
bool crew_cancel(struct crew *crew, const uint8_t session[NP_SESSION_SIZE], uint64_t seq, int64_t now,
                 int64_t grace_ns);

/* A waiting job, the last one first, now the caller's; NULL: none waits. */
struct crew_job *crew_withdraw(struct crew *crew);

/* How far running jobs say they are, as far as that is new since the last look, in three columns of `most` places.
 * Returns the number of rows. */
size_t crew_take_progress(struct crew *crew, uint64_t *seqs, uint64_t *done, uint64_t *total, size_t most);

/* Does a job wait or run? */
bool crew_is_busy(struct crew *crew);

/* Answers what is due. */
void crew_tick(struct crew *crew, int64_t now);
int64_t crew_deadline(struct crew *crew);

#endif
