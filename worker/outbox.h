/* Results on their way to the broker, gathered into columnar batches, one batch a (client session, epoch), and kept
 * until they are written to a link. */
#ifndef NP_OUTBOX_H
#define NP_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/list.h"
#include "transport/channel.h"
#include "worker/roll.h"
#include "worker/slots/batch.h"

#define OUTBOX_LIMIT ((size_t)8 * 1024 * 1024) /* bytes; beyond it no more results are taken from executors */

struct outbox {
    struct np_list packets; /* in order; the last ones may still grow */
    struct np_list spare;   /* packets that are empty again, with their memory */
    unsigned spare_count;
    size_t bytes; /* held, with what keeping them costs */
    size_t rows;
};

/* Why a task has no result; the texts are copied. */
struct outbox_failure {
    const char *message;
    uint64_t item;
    uint32_t signal;
    uint32_t exit_code;
    const uint8_t *output;
    size_t output_size;
    bool is_output_truncated;
    const char *stack; /* up to NP_STACK_MAX bytes; NULL: none */
    bool has_started;  /* the attempt had begun to run */
};

struct outbox_result {
    const struct task *task;
    netpool_status status;
    uint32_t pid;
    uint64_t compute_ns;
    uint64_t wait_ns;                     /* from the task's arrival to its start */
    uint32_t size;                        /* bytes of the body, 0 on failure */
    const struct outbox_failure *failure; /* NULL when OK */
};

void outbox_init(struct outbox *outbox);
void outbox_fini(struct outbox *outbox);

/* Returns where the result's `size` bytes are to be put, at once. */
uint8_t *outbox_add(struct outbox *outbox, const struct outbox_result *result);

/* The same for a body in memory of its own, which is taken. */
void outbox_add_large(struct outbox *outbox, const struct outbox_result *result, uint8_t *body);

static inline bool outbox_is_full(const struct outbox *outbox)
{
    return outbox->bytes >= OUTBOX_LIMIT;
}

static inline bool outbox_is_empty(const struct outbox *outbox)
{
    return outbox->rows == 0;
}

/* Sends what the credit (cumulative bytes) allows and the link takes, adds to *sent_bytes; flushes the channel. */
void outbox_send(struct outbox *outbox, struct channel *channel, uint64_t credit_bytes, uint64_t *sent_bytes);

/* Adds every unsent result to the roll. */
void outbox_report(const struct outbox *outbox, struct roll *roll);

#endif
