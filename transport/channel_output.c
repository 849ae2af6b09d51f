#include "transport/channel_output.h"

#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/limits.h"

enum {
    REFILL_BELOW = 64 * 1024, /* bytes ready; below it the next chunk is cut */
    KEEP = 64 * 1024          /* bytes of memory kept while there is nothing to write */
};

/* A frame, and the large body it announces if body_size > 0. */
struct large_output {
    struct np_list link;
    size_t frame_size;
    size_t body_size;
    size_t sent; /* bytes moved to the ready bytes, frame included */
    uint8_t bytes[];
};

void channel_output_init(struct channel_output *output)
{
    *output = (struct channel_output){0};
    np_list_init(&output->waiting);
}

void channel_output_fini(struct channel_output *output)
{
    np_buffer_fini(&output->bytes);
    for (struct np_list *node = np_list_pop_front(&output->waiting); node != NULL;
         node = np_list_pop_front(&output->waiting)) {
        free(NP_CONTAINER(node, struct large_output, link));
    }
    output->waiting_size = 0;
}

static void encode(uint8_t *out, const Np__Envelope *envelope, size_t header_size, const void *body, size_t body_size)
{
    np_frame_prefix(out, header_size, body_size);
    (void)np__envelope__pack(envelope, out + NP_FRAME_PREFIX_SIZE);
    if (body_size > 0) {
        memcpy(out + NP_FRAME_PREFIX_SIZE + header_size, body, body_size);
    }
}

static netpool_status add_waiting(struct channel_output *output, const Np__Envelope *envelope, size_t header_size,
                                  const void *body, size_t body_size, size_t large_size)
{
    size_t frame_size = NP_FRAME_PREFIX_SIZE + header_size + body_size;
    struct large_output *item = malloc(sizeof *item + frame_size + large_size);
    if (item == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    *item = (struct large_output){.frame_size = frame_size, .body_size = large_size};
    encode(item->bytes, envelope, header_size, body, body_size);
    if (large_size > 0) {
        memcpy(item->bytes + frame_size, body, large_size);
    }
    np_list_push_back(&output->waiting, &item->link);
    output->waiting_size += frame_size + large_size;
    return NETPOOL_OK;
}

netpool_status channel_output_add(struct channel_output *output, Np__Envelope *envelope, const void *body,
                                  size_t body_size, bool in_order)
{
    bool is_large = body_size > NP_FRAME_BODY_MAX;
    envelope->large_body = is_large ? body_size : 0;
    size_t header_size = np__envelope__get_packed_size(envelope);
    if (is_large) {
        return add_waiting(output, envelope, header_size, body, 0, body_size);
    }
    if (in_order && !np_list_is_empty(&output->waiting)) {
        return add_waiting(output, envelope, header_size, body, body_size, 0);
    }
    size_t frame_size = NP_FRAME_PREFIX_SIZE + header_size + body_size;
    uint8_t *place = np_buffer_reserve(&output->bytes, frame_size);
    if (place == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    encode(place, envelope, header_size, body, body_size);
    np_buffer_commit(&output->bytes, frame_size);
    return NETPOOL_OK;
}

static netpool_status cut_chunk(struct channel_output *output, struct large_output *item)
{
    Np__Chunk chunk = NP__CHUNK__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CHUNK;
    envelope.chunk = &chunk;
    size_t left = item->frame_size + item->body_size - item->sent;
    size_t size = left < NP_FRAME_BODY_MAX ? left : NP_FRAME_BODY_MAX;
    size_t header_size = np__envelope__get_packed_size(&envelope);
    uint8_t *place = np_buffer_reserve(&output->bytes, NP_FRAME_PREFIX_SIZE + header_size + size);
    if (place == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    encode(place, &envelope, header_size, item->bytes + item->sent, size);
    np_buffer_commit(&output->bytes, NP_FRAME_PREFIX_SIZE + header_size + size);
    item->sent += size;
    output->waiting_size -= size;
    return NETPOOL_OK;
}

static netpool_status refill(struct channel_output *output)
{
    while (np_buffer_size(&output->bytes) < REFILL_BELOW && !np_list_is_empty(&output->waiting)) {
        struct large_output *item = NP_CONTAINER(np_list_front(&output->waiting), struct large_output, link);
        netpool_status status = NETPOOL_OK;
        if (item->sent == 0) {
            status = np_buffer_append(&output->bytes, item->bytes, item->frame_size);
            if (status == NETPOOL_OK) {
                item->sent = item->frame_size;
                output->waiting_size -= item->frame_size;
            }
        } else {
            status = cut_chunk(output, item);
        }
        if (status != NETPOOL_OK) {
            return status;
        }
        if (item->sent == item->frame_size + item->body_size) {
            np_list_remove(&item->link);
            free(item);
        }
    }
    return NETPOOL_OK;
}

netpool_status channel_output_write(struct channel_output *output, struct link *link, size_t *wrote,
                                    netpool_error *error)
{
    *wrote = 0;
    for (;;) {
        netpool_status status = refill(output);
        size_t size = np_buffer_size(&output->bytes);
        if (status != NETPOOL_OK || size == 0) {
            np_buffer_trim(&output->bytes, KEEP);
            return status;
        }
        size_t taken = 0;
        status = link->operations->write(link, np_buffer_data(&output->bytes), size, &taken, error);
        np_buffer_consume(&output->bytes, taken);
        *wrote += taken;
        if (status != NETPOOL_OK || taken == 0) {
            return status;
        }
    }
}
