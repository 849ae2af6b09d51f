#include "worker/slots/batch.h"

#include <string.h>

#include "common/block.h"
#include "common/clock.h"
#include "common/text.h"
#include "worker/fatal.h"

struct batch *batch_new(struct np_message *message, uint64_t epoch, uint32_t function, int64_t now)
{
    const Np__Assign *assign = message->envelope->assign;
    const size_t count = assign->n_seqs;
    struct batch *batch = fatal_if_null(np_block_new(sizeof *batch + count * sizeof(struct task)));
    *batch = (struct batch){0};
    memcpy(batch->session, assign->session.data, NP_SESSION_SIZE);
    (void)np_text_copy(batch->function_name, sizeof batch->function_name, assign->function);
    batch->epoch = epoch;
    batch->function = function;
    batch->arrived_at = now;
    batch->item_in_size = assign->item_in_size;
    batch->item_out_size = assign->item_out_size;
    batch->timeout_ns = assign->timeout_ms > INT64_MAX / (2 * NP_NS_PER_MS)
                            ? INT64_MAX / 2
                            : (int64_t)assign->timeout_ms * NP_NS_PER_MS;
    batch->body = fatal_if_null(np_message_take_body(message));
    batch->live = batch->count = (uint32_t)count;
    const uint8_t *payload = batch->body;
    for (size_t i = 0; i < count; i++) {
        struct task *task = &batch->tasks[i];
        *task = (struct task){
            .batch = batch,
            .seq = assign->seqs[i],
            .payload = payload,
            .size = assign->sizes[i],
            .attempt = assign->n_attempts > 0 ? assign->attempts[i] : 1,
            .first_item = assign->n_first_items > 0 ? assign->first_items[i] : 0,
        };
        np_list_init(&task->node);
        payload += task->size;
    }
    return batch;
}

struct task *batch_new_initializer(struct preparation *preparation, int64_t now)
{
    struct batch *batch = fatal_if_null(np_block_new(sizeof *batch + sizeof(struct task)));
    *batch = (struct batch){0};
    memcpy(batch->session, preparation->session, NP_SESSION_SIZE);
    (void)np_text_copy(batch->function_name, sizeof batch->function_name, preparation->initializer);
    batch->function = preparation->function;
    batch->arrived_at = now;
    batch->preparation = preparation;
    batch->is_initializer = true;
    batch->live = batch->count = 1;
    preparation_use(preparation);
    batch->tasks[0] = (struct task){.batch = batch,
                                    .payload = preparation->input,
                                    .size = (uint32_t)preparation->input_size,
                                    .attempt = 1,
                                    .estimate_ns = TASK_ESTIMATE_MAX}; /* nothing is fed behind it */
    np_list_init(&batch->tasks[0].node);
    return &batch->tasks[0];
}

void batch_free(struct batch *batch)
{
    preparation_release(batch->preparation);
    np_block_free(batch->body);
    np_block_free(batch);
}
