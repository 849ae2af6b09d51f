/* An open pool, and what futures, maps and streams need of it. */
#ifndef NP_POOL_H
#define NP_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client/calls/callback.h"
#include "client/calls/spares.h"
#include "client/calls/task_options.h"
#include "client/dialogue/label_sets.h"
#include "client/dialogue/names.h"
#include "client/engine.h"
#include "client/event.h"
#include "client/netpool.h"
#include "client/options.h"
#include "client/profile.h"
#include "common/fork_guard.h"
#include "common/list.h"
#include "common/table.h"

struct netpool {
    struct np_fork_guard guard;
    atomic_uint references; /* the open pool, each future, each stream, each call that waits, the callbacks */
    struct settings settings;
    struct engine *engine; /* stopped when the pool is closed, destroyed with the last reference */
    struct names names;
    struct label_sets label_sets;
    pthread_mutex_t plain_mutex;
    struct np_table plain_kinds; /* by the address of the function's kept name */
    _Atomic(const struct np_task_kind *) last_plain;
    struct spares futures; /* memory of such without much input */
    bool is_admin;         /* the certificate is for looking only */
    atomic_bool is_closing;

    struct np_profile profile;
    struct callbacks callbacks;
    pthread_mutex_t watch_mutex; /* of what waits for its futures; watch.c's */

    /* what futures hold and have not finished */
    _Atomic uint64_t held_tasks;
    _Atomic uint64_t held_bytes;
    atomic_uint room_waiters;
    struct event room;

    pthread_mutex_t streams_mutex;
    struct np_list streams; /* open ones; stream.c's */

    /* the leader's */
    struct np_list info_requests; /* that wait for a Status */
    const char *last_names[4];    /* kept ones: most results come from few workers */
    unsigned last_name;
};

/* With zero settings and without an engine; NULL: out of memory. */
struct netpool *pool_new(void);

/* NETPOOL_INVALID, NETPOOL_FORKED, NETPOOL_CLOSED. */
netpool_status pool_check(const struct netpool *pool, netpool_error *error);

/* May tasks be submitted with this certificate? NETPOOL_REFUSED. */
netpool_status pool_check_submit(const struct netpool *pool, netpool_error *error);

/* The kind and the lane (0: none) of tasks of this function with these options (may be NULL); strings are kept as
 * long as the pool. NETPOOL_INVALID, NETPOOL_NO_MEMORY; both are untouched then. */
NETPOOL_MUST_CHECK netpool_status pool_describe(struct netpool *pool, const char *function,
                                                const netpool_task_options *options, struct np_task_kind *kind,
                                                uint64_t *lane, netpool_error *error);

/* The kind that all tasks of this function without options share, kept as long as the pool. NETPOOL_INVALID,
 * NETPOOL_NO_MEMORY. */
NETPOOL_MUST_CHECK netpool_status pool_plain_kind(struct netpool *pool, const char *function,
                                                  const struct np_task_kind **out, netpool_error *error);

void pool_retain(struct netpool *pool);
void pool_release(struct netpool *pool);

/* dialogue_config.keep_name; `context` is the pool. */
const char *pool_keep_name(void *context, const char *name);

/* A task of so many items has finished: booked in the pool's profile, and in the one of what it is a part of (may be
 * NULL). On the leader. */
void pool_book(struct netpool *pool, struct np_profile *part, const struct np_task *task,
               const struct np_outcome *outcome, uint64_t items);

/* The deadline of a public timeout. */
int64_t pool_deadline(int timeout_ms);

/* The pool is being closed: puts that wait for room are told (stream.c). */
void streams_wake(struct netpool *pool);

/* A Status has come; on the leader (info.c). */
void info_answer(struct netpool *pool, const Np__Status *status);

/* Frees requests that never got their answer; nobody waits for them any more (info.c). */
void info_drop(struct netpool *pool);

#endif
