/* The memory of a stream's items: those of small inputs are used again, so that a stream that runs takes no memory
 * and gives none back. */
#include <stdlib.h>
#include <string.h>

#include "client/stream.h"
#include "common/block.h"
#include "proto/limits.h"

enum {
    INPUT_MIN = 48,    /* bytes that any item has room for */
    INPUT_KEPT = 1024, /* items with room for more are not used again */
    USED_MAX = 1024,   /* items that wait to be used again, on the taker's side */
    USED_MIN = 32      /* items handed over at once */
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

static void free_chain(struct item *item)
{
    while (item != NULL) {
        struct item *next = item->next;
        free(item);
        item = next;
    }
}

void stream_free_items(struct netpool_stream *stream)
{
    free_chain(stream->used.first);
    free_chain(stream->unused);
    free_chain(atomic_load(&stream->spare));
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
    if (stream->unused == NULL && atomic_load_explicit(&stream->spare, memory_order_relaxed) != NULL) {
        stream->unused = atomic_exchange_explicit(&stream->spare, NULL, memory_order_acquire);
    }
    struct item *item = stream->unused;
    if (item == NULL) {
        return make_item(stream, size);
    }
    stream->unused = item->next;
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
    item->block = np_block_new(size);
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
    struct items *used = &stream->used;
    if (item->capacity > INPUT_KEPT || used->count == USED_MAX) {
        stream_free_item(item);
        return;
    }
    if (item->reply.owned != NULL || item->reply.failure != NULL) {
        reply_fini(&item->reply);
        item->reply = (struct reply){.owned = NULL};
    }
    item->next = NULL;
    if (used->first == NULL) {
        used->first = item;
    } else {
        used->last->next = item;
    }
    used->last = item;
    used->count++;
    if (used->count >= USED_MIN && atomic_load_explicit(&stream->spare, memory_order_relaxed) == NULL) {
        atomic_store_explicit(&stream->spare, used->first, memory_order_release);
        *used = (struct items){.count = 0};
    }
}
