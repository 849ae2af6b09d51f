/*
 * What a channel has to write: encoded frames in order, and large bodies that are cut into chunks as they go, so that
 * urgent frames can pass between the chunks.
 */
#ifndef NP_CHANNEL_OUTPUT_H
#define NP_CHANNEL_OUTPUT_H

#include <sys/uio.h>

#include "common/buffer.h"
#include "common/list.h"
#include "netpool.pb-c.h"
#include "transport/link.h"

struct channel_output {
    struct np_heap *heap;   /* of both ends, or NULL */
    struct np_buffer bytes; /* frames ready to be written */
    struct np_list waiting; /* struct large_output: large bodies and what must stand behind them */
    size_t waiting_size;    /* their bytes not yet written */
    struct iovec piece[2];  /* of the first one: what is being written; nothing may come before its rest */
};

void channel_output_init(struct channel_output *output, struct np_heap *heap);
void channel_output_fini(struct channel_output *output);

/* Encodes one message; a large body, which is a block, is shared, with the other end if it lies in the heap.
 * in_order: it may not overtake a large body. NETPOOL_NO_MEMORY: nothing was added. */
NETPOOL_MUST_CHECK netpool_status channel_output_add(struct channel_output *output, Np__Envelope *envelope,
                                                     const void *body, size_t body_size, bool in_order);

/* Writes to the link until it takes no more or all is written. *wrote: bytes taken by the link. */
NETPOOL_MUST_CHECK netpool_status channel_output_write(struct channel_output *output, struct link *link,
                                                       size_t *wrote, netpool_error *error);

static inline size_t channel_output_size(const struct channel_output *output)
{
    return np_buffer_size(&output->bytes) + output->waiting_size;
}

#endif
