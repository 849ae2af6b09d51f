#include "transport/channel_output.h"

#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "proto/frame.h"
#include "proto/limits.h"

enum {
    PIECE_MAX = 64 * 1024, /* bytes of a large body and what announces them, written at a time: whole TLS records */
    KEEP = 64 * 1024       /* bytes of memory kept while there is nothing to write */
};

/* A frame, and the large body it announces, if there is one, with room between them for the first chunk's head. The
 * heads of the chunks that follow are put over what was sent, so that each chunk is written from where it lies. */
struct large_output {
    struct np_list link;
    size_t size;    /* of all bytes */
    size_t body_at; /* where the large body begins; size: there is none */
    size_t sent;    /* bytes at the front that were cut off as pieces */
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
        np_block_free(NP_CONTAINER(node, struct large_output, link));
    }
    output->waiting_size = output->piece_size = 0;
}

static void encode(uint8_t *out, const Np__Envelope *envelope, size_t header_size, const void *body, size_t body_size)
{
    np_frame_prefix(out, header_size, body_size);
    (void)np__envelope__pack(envelope, out + NP_FRAME_PREFIX_SIZE);
    if (body_size > 0) {
        memcpy(out + NP_FRAME_PREFIX_SIZE + header_size, body, body_size);
    }
}

/* What stands in front of a chunk's body: the size of that, and (body not NULL) there it is. */
static size_t put_chunk_head(uint8_t *body, size_t body_size)
{
    Np__Chunk chunk = NP__CHUNK__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_CHUNK;
    envelope.chunk = &chunk;
    size_t header_size = np__envelope__get_packed_size(&envelope);
    size_t size = NP_FRAME_PREFIX_SIZE + header_size;
    if (body != NULL) {
        np_frame_prefix(body - size, header_size, body_size);
        (void)np__envelope__pack(&envelope, body - header_size);
    }
    return size;
}

static netpool_status add_waiting(struct channel_output *output, const Np__Envelope *envelope, size_t header_size,
                                  const void *body, size_t body_size, size_t large_size)
{
    size_t frame_size = NP_FRAME_PREFIX_SIZE + header_size + body_size;
    size_t head_size = large_size > 0 ? put_chunk_head(NULL, 0) : 0;
    size_t size = frame_size + head_size + large_size;
    struct large_output *item = np_block_new(sizeof *item + size);
    if (item == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    *item = (struct large_output){.size = size, .body_at = frame_size + head_size};
    encode(item->bytes, envelope, header_size, body, body_size);
    if (large_size > 0) {
        memcpy(item->bytes + item->body_at, body, large_size);
    }
    np_list_push_back(&output->waiting, &item->link);
    output->waiting_size += size;
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

/* The next chunk of the first of those that wait, or all of it if it has no large body. */
static void cut_piece(struct channel_output *output)
{
    struct large_output *item = NP_CONTAINER(np_list_front(&output->waiting), struct large_output, link);
    size_t start = item->sent;
    size_t end = item->size;
    if (item->body_at < item->size) {
        size_t body = start < item->body_at ? item->body_at : start;
        size_t head_size = put_chunk_head(NULL, 0);
        end = item->size - body < PIECE_MAX - head_size ? item->size : body + PIECE_MAX - head_size;
        (void)put_chunk_head(item->bytes + body, end - body);
        if (start > 0) {
            start -= head_size;
            output->waiting_size += head_size;
        }
    }
    output->piece = item->bytes + start;
    output->piece_size = end - start;
    item->sent = end;
}

static void consume_piece(struct channel_output *output, size_t size)
{
    output->piece += size;
    output->piece_size -= size;
    output->waiting_size -= size;
    struct large_output *item = NP_CONTAINER(np_list_front(&output->waiting), struct large_output, link);
    if (output->piece_size == 0 && item->sent == item->size) {
        np_list_remove(&item->link);
        np_block_free(item);
    }
}

/* A piece that was begun goes on before all else, urgent frames before the next piece. */
static netpool_status write_next(struct channel_output *output, struct link *link, size_t *taken,
                                 netpool_error *error)
{
    size_t ready = np_buffer_size(&output->bytes);
    if (output->piece_size == 0 && ready == 0) {
        cut_piece(output);
    }
    netpool_status status;
    if (output->piece_size > 0) {
        status = link->operations->write(link, output->piece, output->piece_size, taken, error);
        consume_piece(output, *taken);
    } else {
        status = link->operations->write(link, np_buffer_data(&output->bytes), ready, taken, error);
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
