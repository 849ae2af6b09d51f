#include "client/calls/reply.h"

#include <stdlib.h>
#include <string.h>

#include "client/dialogue/failure.h"
#include "common/block.h"

void *reply_take_bytes(const struct np_outcome *outcome)
{
    if (outcome->is_block) {
        return np_block_share(outcome->data);
    }
    void *bytes = np_block_new(outcome->size);
    if (bytes != NULL) {
        memcpy(bytes, outcome->data, outcome->size);
    }
    return bytes;
}

void reply_keep(struct reply *reply, const struct np_task *task, const struct np_outcome *outcome)
{
    /* Each part is measured by the clock of the host where it happens: they may come out longer than the whole. */
    uint64_t known_ns = outcome->queue_ns + outcome->compute_ns;
    uint64_t seen_ns = (uint64_t)(outcome->now - task->submitted);
    uint64_t total_ns = seen_ns > known_ns ? seen_ns : known_ns;
    reply->result = (netpool_result){.status = outcome->status,
                                     .data = reply->bytes,
                                     .attempt = outcome->attempt,
                                     .pid = outcome->pid,
                                     .worker = outcome->worker,
                                     .host = outcome->host,
                                     .queue_ns = outcome->queue_ns,
                                     .compute_ns = outcome->compute_ns,
                                     .transfer_ns = total_ns - known_ns,
                                     .total_ns = total_ns};
    if (outcome->status != NETPOOL_OK) {
        reply->failure = failure_new(task->kind, 0, outcome);
        reply->result.failure = reply->failure;
        return;
    }
    if (outcome->size > REPLY_INLINE) {
        reply->owned = reply_take_bytes(outcome);
        if (reply->owned == NULL) {
            reply->result.status = NETPOOL_NO_MEMORY;
            return;
        }
        reply->result.data = reply->owned;
    } else if (outcome->size > 0) {
        memcpy(reply->bytes, outcome->data, outcome->size);
    }
    reply->result.size = outcome->size;
}

void reply_fini(struct reply *reply)
{
    np_block_free(reply->owned);
    free(reply->failure);
}
