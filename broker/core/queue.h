/*
 * Queues: the queued tasks of one client, one demand and one priority, in the order of their seqs. And kinds: what
 * the tasks of a batch share, kept once.
 */
#ifndef CORE_QUEUE_H
#define CORE_QUEUE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/demand.h"
#include "common/list.h"
#include "netpool.pb-c.h"

struct core;
struct session;
struct task;

#define QUEUE_NOT_WANTED SIZE_MAX
#define KIND_BYTES (sizeof(struct kind) + BLOCK_BYTES) /* what a kind counts for, beside its queue */

struct queue {
    struct session *session;
    struct demand *demand; /* one reference */
    int32_t priority;
    unsigned references;         /* kinds */
    unsigned counted_kinds;      /* those in session.forgotten_kinds */
    uint32_t counted_bytes;      /* what it counts for in session.kind_bytes */
    struct np_list tasks;        /* queued ones that may be scheduled, by seq */
    uint64_t count;              /* their number */
    uint64_t waiting;            /* queued tasks that may not be scheduled yet, beside those */
    struct np_list node;         /* in session.queues while it has tasks: by priority, highest first */
    struct np_list express_node; /* in session.express_queues, for a few of those */
    size_t demand_index;         /* in demand.heap, or QUEUE_NOT_WANTED */
    uint64_t service;            /* the session's service when it was last looked at: orders demand.heap */
    struct task *hint;           /* where the last task was inserted out of order, or NULL */
};

struct kind {
    struct queue *queue;   /* one reference */
    struct demand *demand; /* the queue's */
    unsigned references;   /* tasks, and session.kinds */
    struct np_list node;   /* in session.forgotten_kinds, once it is in session.kinds no more and has tasks */
    unsigned max_attempts;
    uint64_t timeout_ms;
    uint64_t expiry_ms;
    uint32_t item_in_size;
    uint32_t item_out_size;
    uint32_t retry_delay_ms; /* before the second attempt, doubled for each further one */
    bool at_most_once;
    bool retry_failures;
};

/* The kind of a batch, whose labels are put in order, borrowed from session.kinds; NULL when out of memory. What it
 * pushes out of there and still has tasks counts as memory that the session holds: else a client could fill the
 * broker with kinds that each have one empty task. */
struct kind *kind_find(struct core *core, struct session *session, const Np__Submit *submit);
void kind_free(struct core *core, struct kind *kind);

static inline void kind_release(struct core *core, struct kind *kind)
{
    assert(kind->references > 0);
    if (--kind->references == 0) {
        kind_free(core, kind);
    }
}

/* Frees the queue with the last reference. */
void queue_release(struct functions *functions, struct queue *queue);

/* Is an attempt that a function failed, or its deadline stopped, to be followed by another one? */
bool kind_retries(const struct kind *kind, netpool_status status);

/* May the two stand in one Assign? */
bool kind_has_same_words(const struct kind *a, const struct kind *b);
static inline bool kind_is_alike(const struct kind *a, const struct kind *b)
{
    return a == b || kind_has_same_words(a, b);
}

/* Inserts by seq: at the end in the usual case. */
void queue_insert(struct functions *functions, struct queue *queue, struct task *task);
void queue_remove(struct functions *functions, struct queue *queue, struct task *task);
/* The first `count` tasks, which stand before `end`, go to the end of that list. */
void queue_move_front(struct functions *functions, struct queue *queue, struct np_list *end, size_t count,
                      struct np_list *to);
/* A task of this queue waits beside it in session.waiting, or does so no longer. */
void queue_wait(struct queue *queue, struct task *task);
void queue_wait_over(struct queue *queue, struct task *task);
struct task *queue_front(const struct queue *queue);

/* All queues of a session join or leave the demand for their functions. */
void queues_pause(struct functions *functions, struct session *session);
void queues_resume(struct functions *functions, struct session *session);

#endif
