/* The outcome of a task, kept for the user: what stands behind a netpool_result. */
#ifndef NP_REPLY_H
#define NP_REPLY_H

#include <stdalign.h>
#include <stdint.h>

#include "client/dialogue/task.h"
#include "client/netpool.h"

#define REPLY_INLINE 32 /* bytes of a result that need no memory of their own */

/* Zero-initialized is empty. */
struct reply {
    netpool_result result;
    void *owned; /* result bytes that are not inline: a block, which others may read, too */
    netpool_failure *failure;
    alignas(16) uint8_t bytes[REPLY_INLINE];
};

/* Keeps the outcome; shares a large body instead of copying it. Without memory it becomes a NETPOOL_NO_MEMORY. On
 * the leader. */
void reply_keep(struct reply *reply, const struct np_task *task, const struct np_outcome *outcome);

void reply_fini(struct reply *reply);

/* A block with an outcome's bytes, copied or shared; NULL when out of memory. size > 0. */
void *reply_take_bytes(const struct np_outcome *outcome);

#endif
