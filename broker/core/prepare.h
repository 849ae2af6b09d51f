/*
 * How executors are prepared for a session (Prepare): kept with the session, told to each worker before the first
 * task of the session that it gets on its link, taken back when the session is over. And what becomes of a session
 * whose initializer failed. A session without such wishes costs nothing here.
 */
#ifndef CORE_PREPARE_H
#define CORE_PREPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "common/list.h"

struct core;
struct session;
struct worker;

struct preparation {
    char initializer[NP_NAME_MAX + 1]; /* "": none */
    uint32_t max_tasks_per_executor;   /* 0: no limit */
    size_t input_size;                 /* bytes */
    uint8_t input[];
};

/* A worker has been told of a session's preparation. */
struct briefing {
    struct np_list node; /* in worker.briefings, or in worker.outdated: it is to be told that this is over */
    struct worker *worker;
    struct session *session; /* whose table `briefed` has it, by its worker; NULL: outdated */
    uint8_t session_id[NP_SESSION_SIZE];
    bool is_current; /* the session has not changed its preparation since */
};

/* The session's client has said Prepare; what it said before is replaced. Saying the same again changes nothing. */
NETPOOL_MUST_CHECK netpool_status prepare_receive(struct core *core, struct session *session,
                                                  const Np__Prepare *prepare, const uint8_t *input,
                                                  size_t input_size);

/* The worker is about to be sent tasks of this session, which has a preparation: told of it now if it has not been.
 * False when out of memory. */
bool prepare_brief(struct core *core, struct worker *worker, struct session *session);

/* Tells the worker what it may forget. */
void prepare_send_outdated(struct core *core, struct worker *worker);

/* The session's initializer failed in an executor: what is queued, and all that comes, ends as NOT_INITIALIZED with
 * this message. */
void prepare_failed(struct core *core, struct session *session, const char *message);

/* What the session holds here goes, and its workers are to forget it. */
void prepare_session_over(struct core *core, struct session *session);
void prepare_worker_over(struct worker *worker);

/* Bytes held for the session. */
size_t prepare_bytes(const struct session *session);

#endif
