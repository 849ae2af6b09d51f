#include "transport/channel_output.h"

#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/heap.h"
#include "proto/frame.h"
#include "proto/limits.h"

enum {
    PIECE_MAX = LINK_WRITE_SIZE, /* bytes of a large body and what announces them, written at a time */
    KEEP = 64 * 1024             /* bytes of memory kept while there is nothing to write */
};

/* A frame, and the large body it announces, if there is one, which is sent from where it lies. */
struct large_output {
    struct np_list link;
    const uint8_t *block; /* a reference; NULL: there is none */
    size_t size;          /* of the block's bytes that are sent */
    size_t cut;           /* of them cut off as pieces */
    size_t frame_size;
    bool is_begun;   /* the frame is cut off */
    uint8_t bytes[]; /* the frame, and behind it the head of the chunk that is being written */
};

void channel_output_init(struct channel_output *output, struct np_heap *heap)
{
    *output = (struct channel_output){.heap = heap};
    np_list_init(&output->waiting);
}

static void item_free(struct large_output *item)
{
    np_block_free(item->block);
    free(item);
}

void channel_output_fini(struct channel_output *output)
{
    np_buffer_fini(&output->bytes);
    for (struct np_list *node = np_list_pop_front(&output->waiting); node != NULL;
         node = np_list_pop_front(&output->waiting)) {
        item_free(NP_CONTAINER(node, struct large_output, link));
    }
    channel_output_init(output, NULL);
}

static void encode(uint8_t *out, const Np__Envelope *envelope, size_t header_size, const void *body, size_t body_size)
{
    np_frame_prefix(out, header_size, body_size);
    (void)np__envelope__pack(envelope, out + NP_FRAME_PREFIX_SIZE);
    if (body_size > 0) {
        memcpy(out + NP_FRAME_PREFIX_SIZE + header_size, body, body_size);
    }
}

/* What stands in front of a chunk's body. Returns its size; `out` NULL: nothing else. */
static size_t put_chunk_head(uint8_t *out, size_t body_size)
{
    Np__Chunk chunk = NP__CHUNK__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CHUNK;
    envelope.chunk = &chunk;
    size_t header_size = np__envelope__get_packed_size(&envelope);
    if (out != NULL) {
        np_frame_prefix(out, header_size, body_size);
        (void)np__envelope__pack(&envelope, out + NP_FRAME_PREFIX_SIZE);
    }
    return NP_FRAME_PREFIX_SIZE + header_size;
}

static netpool_status add_waiting(struct channel_output *output, const Np__Envelope *envelope, size_t header_size,
                                  const void *body, size_t body_size, size_t large_size)
{
    size_t frame_size = NP_FRAME_PREFIX_SIZE + header_size + body_size;
    struct large_output *item = malloc(sizeof *item + frame_size + put_chunk_head(NULL, 0));
    if (item == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    *item = (struct large_output){.size = large_size, .frame_size = frame_size};
    encode(item->bytes, envelope, header_size, body, body_size);
    if (large_size > 0) {
        item->block = np_block_share(body);
    }
    np_list_push_back(&output->waiting, &item->link);
    output->waiting_size += frame_size + large_size;
    return NETPOOL_OK;
}

static netpool_status add_frame(struct channel_output *output, const Np__Envelope *envelope, const void *body,
                                size_t body_size, bool in_order)
{
    size_t header_size = np__envelope__get_packed_size(envelope);
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

netpool_status channel_output_add(struct channel_output *output, Np__Envelope *envelope, const void *body,
                                  size_t body_size, bool in_order)
{
    bool is_large = body_size > NP_FRAME_BODY_MAX;
    envelope->large_body = is_large ? body_size : 0;
    envelope->shared_at = is_large && output->heap != NULL ? np_heap_unit(output->heap, body) : 0;
    if (!is_large) {
        return add_frame(output, envelope, body, body_size, in_order);
    }
    if (envelope->shared_at == 0) {
        return add_waiting(output, envelope, np__envelope__get_packed_size(envelope), body, 0, body_size);
    }
    netpool_status status = add_frame(output, envelope, NULL, 0, in_order);
    if (status == NETPOOL_OK) {
        np_heap_send(output->heap, np_block_share(body));
    }
    return status;
}

static bool has_piece(const struct channel_output *output)
{
    return output->piece[0].iov_len + output->piece[1].iov_len > 0;
}

/* The next chunk of the first of those that wait, or all of it if it has no large body. */
static void cut_piece(struct channel_output *output)
{
    struct large_output *item = NP_CONTAINER(np_list_front(&output->waiting), struct large_output, link);
    uint8_t *front = item->bytes + (item->is_begun ? item->frame_size : 0);
    size_t front_size = item->is_begun ? 0 : item->frame_size;
    size_t size = item->size - item->cut;
    if (item->block != NULL) {
        size_t head_size = put_chunk_head(NULL, 0);
        front_size += head_size;
        output->waiting_size += head_size;
        size_t most = PIECE_MAX - (front_size < PIECE_MAX ? front_size : head_size);
        size = size < most ? size : most;
        (void)put_chunk_head(item->bytes + item->frame_size, size);
    }
    output->piece[0] = (struct iovec){front, front_size};
    output->piece[1] = (struct iovec){(void *)(uintptr_t)(item->block + item->cut), size};
    item->is_begun = true;
    item->cut += size;
}

static void consume_piece(struct channel_output *output, size_t size)
{
    output->waiting_size -= size;
    for (int i = 0; i < 2; i++) {
        struct iovec *part = &output->piece[i];
        size_t taken = size < part->iov_len ? size : part->iov_len;
        part->iov_base = (uint8_t *)part->iov_base + taken;
        part->iov_len -= taken;
        size -= taken;
    }
    struct large_output *item = NP_CONTAINER(np_list_front(&output->waiting), struct large_output, link);
    if (!has_piece(output) && item->cut == item->size) {
        np_list_remove(&item->link);
        item_free(item);
    }
}

/* A piece that was begun goes on before all else, urgent frames before the next piece. */
static netpool_status write_next(struct channel_output *output, struct link *link, size_t *taken,
                                 netpool_error *error)
{
    size_t ready = np_buffer_size(&output->bytes);
    if (!has_piece(output) && ready == 0) {
        cut_piece(output);
    }
    netpool_status status;
    if (has_piece(output)) {
        status = link->operations->write(link, output->piece, 2, taken, error);
        consume_piece(output, *taken);
    } else {
        const struct iovec frames = {np_buffer_data(&output->bytes), ready};
        status = link->operations->write(link, &frames, 1, taken, error);
        np_buffer_consume(&output->bytes, *taken);
    }
    return status;
}

netpool_status channel_output_write(struct channel_output *output, struct link *link, size_t *wrote,
                                    netpool_error *error)
{
    *wrote = 0;
    while (channel_output_size(output) > 0) {
        size_t taken = 0;
        netpool_status status = write_next(output, link, &taken, error);
        *wrote += taken;
        if (status != NETPOOL_OK || taken == 0) {
            return status;
        }
    }
    np_buffer_trim(&output->bytes, KEEP);
    return NETPOOL_OK;
}
