/* The memory of a stream's items: those of small inputs are used again, so that a stream that runs takes no memory
 * and gives none back. */
#include <stdlib.h>
#include <string.h>

#include "client/calls/stream.h"
#include "common/block.h"
#include "proto/limits.h"

enum {
    INPUT_MIN = 48,   /* bytes that any item has room for */
    INPUT_KEPT = 1024 /* items with room for more are not used again */
};

static_assert(alignof(max_align_t) >= 16, "inputs are aligned to 16 bytes");

void stream_free_item(struct item *item)
{
    reply_fini(&item->reply);
    np_block_free(item->block);
    free(item);
}

void stream_drop_block(struct item *item)
{
    np_block_free(item->block);
    item->block = NULL;
    item->task.is_input_block = false;
    item->task.input = item->input;
}

static struct item *item_of(struct spare *spare)
{
    return (struct item *)(void *)spare;
}

void stream_free_items(struct netpool_stream *stream)
{
    spares_free(stream->unused);
    spares_free(spares_take_all(&stream->spares));
}

static struct item *make_item(struct netpool_stream *stream, size_t size)
{
    size_t capacity = size > INPUT_MIN ? size : INPUT_MIN;
    struct item *item = malloc(sizeof *item + capacity);
    if (item == NULL) {
        return NULL;
    }
    memset(item, 0, sizeof *item);
    item->task.kind = &stream->kind;
    item->task.lane = stream->lane;
    item->task.input = item->input;
    item->task.finished = stream_item_finished;
    item->request.run = stream_run_submit;
    item->stream = stream;
    item->capacity = capacity;
    return item;
}

static struct item *take_item(struct netpool_stream *stream, size_t size)
{
    if (stream->unused == NULL) {
        stream->unused = spares_take_all(&stream->spares);
    }
    if (stream->unused == NULL) {
        return make_item(stream, size);
    }
    struct item *item = item_of(stream->unused);
    stream->unused = item->spare.next;
    if (item->capacity < size) {
        free(item);
        return make_item(stream, size);
    }
    return item;
}

struct item *stream_new_item(struct netpool_stream *stream, size_t size)
{
    if (size <= NP_FRAME_BODY_MAX) {
        return take_item(stream, size);
    }
    struct item *item = take_item(stream, 0);
    if (item == NULL) {
        return NULL;
    }
    item->block = np_block_new_in(engine_heap(stream->pool->engine), size);
    if (item->block == NULL) {
        free(item);
        return NULL;
    }
    item->task.input = item->block;
    item->task.is_input_block = true;
    return item;
}

void stream_return_item(struct netpool_stream *stream, struct item *item)
{
    if (item->reply.owned != NULL || item->reply.failure != NULL) {
        reply_fini(&item->reply);
        item->reply = (struct reply){.owned = NULL};
    }
    if (item->capacity > INPUT_KEPT || !spares_give(&stream->spares, &item->spare)) {
        free(item);
    }
}
