/*
 * The client's half of the protocol, without sockets, clock or threads: tasks on their way, their numbers, credit,
 * batches, acknowledgements, cancellation, and what is to be said again after a link broke or a broker was restarted
 * (PROTOCOL.md, "Client and broker").
 *
 * Receiving never sends: dialogue_flush alone does, and the owner calls it once after each group of events. A task's
 * `finished` runs inside dialogue_receive, dialogue_cancel, dialogue_tick or dialogue_fail, and may call
 * dialogue_submit and dialogue_cancel.
 */
#ifndef NP_DIALOGUE_H
#define NP_DIALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/dialogue/task.h"
#include "common/netpool_status.h"
#include "proto/limits.h"
#include "proto/message.h"

struct dialogue;

/* What executors are to do for our tasks, said after each WELCOME; zero: nothing. Borrowed as long as the dialogue
 * lives. */
struct dialogue_preparation {
    const char *initializer; /* function; NULL: none */
    const void *input;
    size_t input_size;
    uint32_t max_tasks_per_executor; /* 0: no limit */
};

struct dialogue_config {
    uint8_t id[NP_SESSION_SIZE]; /* random, made once */
    const char *name;            /* copied */
    const char *host;            /* copied */
    uint32_t pid;
    Np__Role role;        /* CLIENT, or ADMIN where the certificate says so */
    uint64_t max_payload; /* bytes we accept and send */
    struct np_heap *heap; /* where large inputs are best put; NULL: anywhere */
    struct dialogue_preparation preparation;
    /* A Status has come; borrowed for the call. May be NULL. */
    void (*status_received)(void *context, const Np__Status *status);
    /* A copy of a worker's or host's name that outlives the message; outcomes have it. NULL: they have the message's.
     */
    const char *(*keep_name)(void *context, const char *name);
    void *context;
};

/* Where messages go. Everything passed is borrowed for the call; a large body may be shared (np_message_has_block).
 * Anything but NETPOOL_OK: nothing was taken. */
struct dialogue_output {
    void *context;
    netpool_status (*send)(void *context, Np__Envelope *envelope, const void *body, size_t body_size, bool urgent);
};

NETPOOL_MUST_CHECK netpool_status dialogue_new(struct dialogue **out, const struct dialogue_config *config);

/* No task may be left (dialogue_fail). */
void dialogue_destroy(struct dialogue **dialogue);

/* Takes the task over until `finished`. */
void dialogue_submit(struct dialogue *dialogue, struct np_task *task, int64_t now);

/* Asks for the task's end. One that was never sent ends at once. Harmless when the task is not the session's, and
 * when as much was asked for before. */
void dialogue_cancel(struct dialogue *dialogue, struct np_task *task, enum np_cancel how, int64_t now);

/* All tasks at once. */
void dialogue_cancel_all(struct dialogue *dialogue, enum np_cancel how, int64_t now);

/* Ends every task with this status. */
void dialogue_fail(struct dialogue *dialogue, netpool_status status, const char *reason, int64_t now);

/* A link is there: HELLO goes with the next flush. */
void dialogue_connect(struct dialogue *dialogue, int64_t now);

/* The link is gone. Tasks stay. */
void dialogue_disconnect(struct dialogue *dialogue);

/* A checked message of the broker. NETPOOL_PROTOCOL: the broker broke a rule. NETPOOL_NO_MEMORY: the link must be
 * given up so that the broker says it again. */
NETPOOL_MUST_CHECK netpool_status dialogue_receive(struct dialogue *dialogue, struct np_message *message, int64_t now,
                                                   netpool_error *error);

/* Sends what is to be said; submits at most about `room` bytes (one task always goes if room > 0). Returns what
 * output->send said, and NETPOOL_NO_MEMORY; nothing is lost then. */
NETPOOL_MUST_CHECK netpool_status dialogue_flush(struct dialogue *dialogue, const struct dialogue_output *output,
                                                 size_t room, int64_t now);

/* Is there something that dialogue_flush would send (with room and credit as they are)? */
bool dialogue_has_output(const struct dialogue *dialogue);

/* Expiries of tasks that wait here. NETPOOL_UNREACHABLE: the broker did not answer HELLO in time. */
NETPOOL_MUST_CHECK netpool_status dialogue_tick(struct dialogue *dialogue, int64_t now, netpool_error *error);
int64_t dialogue_deadline(const struct dialogue *dialogue);

/* A StatusRequest goes with the next flush (and again after a new link). */
void dialogue_request_status(struct dialogue *dialogue);

bool dialogue_is_welcome(const struct dialogue *dialogue);
bool dialogue_was_welcome(const struct dialogue *dialogue); /* at any time */

/* Tasks not finished. */
size_t dialogue_unfinished(const struct dialogue *dialogue);

/* Agreed in the last WELCOME. */
struct dialogue_terms {
    uint64_t max_payload; /* bytes */
    int64_t heartbeat_ns;
    int64_t timeout_ns;
};
const struct dialogue_terms *dialogue_terms(const struct dialogue *dialogue);

/* Counters, for tests and information. */
struct dialogue_counters {
    uint64_t submitted;  /* rows sent in Submit, again or not */
    uint64_t batches;    /* Submit messages */
    uint64_t results;    /* that ended a task */
    uint64_t duplicates; /* results of tasks that had ended */
};
const struct dialogue_counters *dialogue_counters(const struct dialogue *dialogue);

#endif
