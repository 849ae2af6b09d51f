/* One task as the client library knows it: embedded in a future, a chunk of a map, or an item of a stream. */
#ifndef NP_TASK_H
#define NP_TASK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/list.h"
#include "common/netpool_status.h"
#include "proto/message.h"

/* What tasks of one batch have in common. */
struct np_task_kind {
    const char *function;  /* borrowed; lives as long as the pool */
    uint64_t timeout_ms;   /* of one attempt; 0 = none */
    uint64_t expiry_ms;    /* from submission; 0 = none */
    uint32_t max_attempts; /* 0 = the broker's default */
    int32_t priority;
    uint32_t item_in_size;  /* > 0: the input is a block of items of this size */
    uint32_t item_out_size; /* and so is the result */
    bool at_most_once;
    bool retry_failures;
    uint32_t retry_delay_ms;   /* before the second attempt, doubled for each further one */
    uint32_t slots;            /* of the worker's that it takes up; 0 = 1 */
    const char *const *labels; /* required; borrowed like function */
    size_t label_count;
};

/* How a task ended. Everything is borrowed for the call of `finished`. */
struct np_outcome {
    netpool_status status;
    const uint8_t *data; /* result */
    size_t size;         /* bytes */
    bool is_block;       /* data is a whole block, which may be shared */
    unsigned attempt;    /* 0: it never ran */
    uint32_t pid;        /* 0: unknown */
    const char *worker;  /* "" unknown; kept (dialogue_config.keep_name), so that equal ones are the same */
    const char *host;    /* "" unknown; kept, too */
    uint64_t queue_ns;
    uint64_t compute_ns;
    int64_t now;                /* when it was received */
    const Np__Failure *failure; /* what the broker says about a failure; may be NULL */
    const char *reason;         /* why the client itself ended it; NULL otherwise */
};

enum np_cancel {
    NP_CANCEL_NONE,
    NP_CANCEL_UNSTARTED, /* unless it runs already */
    NP_CANCEL_ALWAYS
};

enum np_task_state {
    NP_TASK_NEW,    /* not the session's */
    NP_TASK_QUEUED, /* waits to be sent */
    NP_TASK_SENT    /* the broker has it, or will be asked whether it has */
};

struct np_task {
    /* set by the owner before dialogue_submit; `input` stays valid until `finished` is called */
    const struct np_task_kind *kind; /* borrowed as long as the task lives */
    const void *input;
    size_t input_size;   /* bytes */
    bool is_input_block; /* it is a whole block, which may be shared */
    uint64_t first_item; /* index in its map of the first item, 0 outside of one */
    uint64_t lane;       /* tasks of the same one run one at a time; 0: none */
    /* Called exactly once. May submit and cancel (this task too, anew) and free the task. */
    void (*finished)(struct np_task *task, const struct np_outcome *outcome);

    /* How far it says it is, on the same thread, whenever news came; may be NULL, may cancel and submit nothing. The
     * values stand in the task as well, for any thread: np_task_progress. */
    void (*progressed)(struct np_task *task, uint64_t done, uint64_t total);

    /* private to the session */
    struct np_list node;
    uint64_t seq;      /* 0 until it is sent first */
    int64_t submitted; /* ns */
    enum np_task_state state;
    enum np_cancel cancel_wanted;
    _Atomic uint64_t progress_done; /* latest values that came; 0 of 0: none */
    _Atomic uint64_t progress_total;
    bool was_submitted_before; /* an earlier broker may have accepted it */
};

/* The latest values; 0 of 0: none came. Any thread, as long as the task lives. */
static inline void np_task_progress(struct np_task *task, uint64_t *done, uint64_t *total)
{
    /* In the opposite order of their writing: never an old total with more done than there was of it. */
    *done = atomic_load(&task->progress_done);
    *total = atomic_load(&task->progress_total);
}

#endif
