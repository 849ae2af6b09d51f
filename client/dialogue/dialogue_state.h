/* What dialogue.c, dialogue_send.c and dialogue_receive.c share; nobody else includes it. */
#ifndef NP_DIALOGUE_STATE_H
#define NP_DIALOGUE_STATE_H

#include "client/dialogue/dialogue.h"
#include "client/dialogue/outstanding.h"
#include "common/buffer.h"

enum dialogue_state {
    DIALOGUE_DOWN,      /* no link */
    DIALOGUE_HELLO_DUE, /* a link, HELLO to be sent */
    DIALOGUE_GREETING,  /* HELLO sent, WELCOME awaited */
    DIALOGUE_WELCOME
};

struct dialogue {
    uint8_t id[NP_SESSION_SIZE];
    char name[NP_NAME_MAX + 1];
    char host[NP_NAME_MAX + 1];
    uint32_t pid;
    Np__Role role;
    struct np_heap *heap;
    uint64_t max_payload; /* bytes; our own limit */
    struct dialogue_preparation preparation;
    void (*status_received)(void *context, const Np__Status *status);
    const char *(*keep_name)(void *context, const char *name);
    void *context;

    enum dialogue_state state;
    bool was_welcome;
    int64_t greeting_deadline; /* ns, in DIALOGUE_GREETING */
    struct dialogue_terms terms;

    struct np_list queue;      /* np_task.node, QUEUED; those with a seq stand first, in its order */
    struct np_list sent;       /* np_task.node, SENT, in the order of seq */
    struct outstanding by_seq; /* SENT */
    size_t unfinished;
    uint64_t next_seq;
    int64_t next_expiry; /* ns; no task that waits here expires earlier */

    uint64_t credit_tasks; /* cumulative */
    uint64_t credit_bytes;
    uint64_t used_tasks; /* cumulative, of this session as the broker knows it */
    uint64_t used_bytes;

    struct np_buffer acknowledgements; /* uint64_t seqs to be sent */
    struct np_buffer cancels;          /* uint64_t seqs to be sent */
    struct np_buffer unstarted_cancels;
    bool preparation_due;
    bool status_wanted;
    bool status_sent;

    struct dialogue_counters counters;

    /* one batch being made */
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    uint32_t sizes[NP_BATCH_TASKS_MAX];
    uint64_t first_items[NP_BATCH_TASKS_MAX];
    uint64_t lanes[NP_BATCH_TASKS_MAX];
    uint8_t body[NP_FRAME_BODY_MAX];
};

/* Takes the task out of whatever it is in and calls `finished`. */
void dialogue_finish(struct dialogue *dialogue, struct np_task *task, const struct np_outcome *outcome);

/* Ends a task here, without the broker. */
void dialogue_end(struct dialogue *dialogue, struct np_task *task, netpool_status status, const char *reason,
                  int64_t now);

/* Cancels of a sent task that go with the next flush. */
NETPOOL_MUST_CHECK netpool_status dialogue_ask_cancel(struct dialogue *dialogue, const struct np_task *task);

/* Lowers next_expiry for a task that waits here. */
void dialogue_watch_expiry(struct dialogue *dialogue, const struct np_task *task);

/* NP_NEVER when it does not expire. */
int64_t dialogue_expiry(const struct np_task *task);

#endif
