/* Tasks that the supervisor holds. They come in batches and share what the batch has in common, its payload bytes
 * included, until the last of them is released. */
#ifndef NP_BATCH_H
#define NP_BATCH_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/list.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "worker/slots/preparation.h"

#define TASK_NO_FUNCTION UINT32_MAX

struct task {
    struct np_list node; /* in the queue, or among what a slot was fed */
    struct batch *batch;
    uint64_t seq;
    const uint8_t *payload; /* in the batch's body */
    uint64_t first_item;    /* index in its map */
    uint32_t size;          /* bytes */
    uint32_t attempt;
    uint32_t number;           /* of its record in the slot's ring, while fed */
    uint32_t estimate_ns : 31; /* what it was thought to take when it was fed */
    bool is_cancelled : 1;     /* it runs, and nobody wants its result */
};
_Static_assert(sizeof(struct task) <= 64, "one cache line");

#define TASK_ESTIMATE_MAX INT32_MAX /* ns */

struct batch {
    uint8_t session[NP_SESSION_SIZE]; /* of the client */
    uint64_t epoch;                   /* of the leases */
    uint32_t function;                /* index, or TASK_NO_FUNCTION */
    struct preparation *preparation;  /* for its tasks; NULL: none */
    bool is_initializer;              /* its one task is the preparation's initializer and nobody else's business */
    uint32_t item_in_size;
    uint32_t item_out_size;
    int64_t timeout_ns; /* 0 = none */
    int64_t arrived_at; /* here */
    uint8_t *body;
    char function_name[NP_NAME_MAX + 1];
    uint32_t live; /* tasks not released */
    uint32_t count;
    struct task tasks[];
};

/* From a checked Assign message, whose body is taken. Ends the process when out of memory. */
struct batch *batch_new(struct np_message *message, uint64_t epoch, uint32_t function, int64_t now);

/* One task that calls the preparation's initializer. */
struct task *batch_new_initializer(struct preparation *preparation, int64_t now);

void batch_free(struct batch *batch);

/* The task is done with; the last one frees the batch. It must be in no list. */
static inline void batch_release(struct task *task)
{
    struct batch *batch = task->batch;
    assert(np_list_is_empty(&task->node) && batch->live > 0);
    batch->live--;
    if (batch->live == 0) {
        batch_free(batch);
    }
}

#endif
