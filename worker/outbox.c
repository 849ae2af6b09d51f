#include "worker/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/buffer.h"
#include "common/text.h"
#include "worker/fatal.h"
#include "worker/slots/share.h"

_Static_assert(SHARE_WHOLE_MAX <= NP_FRAME_BODY_MAX, "what is more is a block");

enum {
    BODY_MAX = 64 * 1024,           /* bytes of a batch of more than one result */
    FAILURE_BYTES_MAX = 100 * 1024, /* of a batch, so that its header keeps within NP_FRAME_HEADER_MAX */
    BACKLOG_MAX = 1024 * 1024,      /* bytes given to the channel and not yet written */
    ROWS_FIRST = 64,
    ROW_BYTES = 3 * sizeof(uint64_t) + 4 * sizeof(uint32_t),
    SPARE_MAX = 4, /* packets; the largest have 300 KiB */
};

/* One failure with its texts behind it, in one piece of memory. */
struct kept_failure {
    Np__Failure wire;
    char text[];
};

/* One Results message in the making. */
struct packet {
    struct np_list node;
    uint8_t session[NP_SESSION_SIZE];
    uint64_t epoch;
    uint32_t count;
    uint32_t capacity;
    uint64_t *seqs;
    uint64_t *compute_ns;
    uint64_t *wait_ns;
    uint32_t *sizes;
    uint32_t *statuses;
    uint32_t *attempts;
    uint32_t *pids;
    bool has_failures;
    bool has_retries; /* some attempt is not the first */
    Np__Failure *failures[NP_BATCH_FAILURES_MAX];
    size_t failure_count;
    size_t failure_bytes;
    struct np_buffer body;
    uint8_t *large_body; /* of the one result of this batch */
    size_t large_size;
    size_t bytes; /* its share of outbox.bytes */
};

void outbox_init(struct outbox *outbox)
{
    *outbox = (struct outbox){0};
    np_list_init(&outbox->packets);
    np_list_init(&outbox->spare);
}

static void packet_destroy(struct packet *packet)
{
    free(packet->seqs);
    free(packet->compute_ns);
    free(packet->wait_ns);
    free(packet->sizes);
    free(packet->statuses);
    free(packet->attempts);
    free(packet->pids);
    np_buffer_fini(&packet->body);
    free(packet);
}

static void packet_clear(struct packet *packet)
{
    for (size_t i = 0; i < packet->failure_count; i++) {
        free(packet->failures[i]);
    }
    np_block_free(packet->large_body);
    np_buffer_clear(&packet->body);
    packet->large_body = NULL;
    packet->count = 0;
    packet->has_failures = packet->has_retries = false;
    packet->failure_count = packet->failure_bytes = 0;
}

/* The packet is in no list any more. */
static void packet_release(struct outbox *outbox, struct packet *packet)
{
    packet_clear(packet);
    if (outbox->spare_count < SPARE_MAX) {
        outbox->spare_count++;
        np_list_push_front(&outbox->spare, &packet->node);
    } else {
        packet_destroy(packet);
    }
}

static void destroy_all(struct np_list *list)
{
    NP_LIST_EACH(node, list) {
        struct packet *packet = NP_CONTAINER(node, struct packet, node);
        packet_clear(packet);
        packet_destroy(packet);
    }
}

void outbox_fini(struct outbox *outbox)
{
    destroy_all(&outbox->packets);
    destroy_all(&outbox->spare);
    outbox_init(outbox);
}

static struct packet *packet_new(struct outbox *outbox, const struct batch *batch)
{
    struct np_list *spare = np_list_pop_front(&outbox->spare);
    struct packet *packet = spare != NULL ? NP_CONTAINER(spare, struct packet, node)
                                          : (struct packet *)fatal_if_null(calloc(1, sizeof *packet));
    outbox->spare_count -= spare != NULL;
    memcpy(packet->session, batch->session, NP_SESSION_SIZE);
    packet->epoch = batch->epoch;
    packet->bytes = sizeof *packet;
    outbox->bytes += packet->bytes;
    np_list_push_back(&outbox->packets, &packet->node);
    return packet;
}

static inline bool fits(const struct packet *packet, const struct outbox_result *result)
{
    const struct batch *batch = result->task->batch;
    return packet->large_body == NULL && packet->count < NP_BATCH_TASKS_MAX &&
           np_buffer_size(&packet->body) + result->size <= BODY_MAX && packet->epoch == batch->epoch &&
           memcmp(packet->session, batch->session, NP_SESSION_SIZE) == 0 &&
           (result->failure == NULL ||
            (packet->failure_count < NP_BATCH_FAILURES_MAX &&
             packet->failure_bytes + NP_MESSAGE_MAX + NP_ERROR_OUTPUT_MAX + NP_STACK_MAX <= FAILURE_BYTES_MAX));
}

/* The batch to add to: one of the last few, as several clients' results come mixed. */
static inline struct packet *find_packet(struct outbox *outbox, const struct outbox_result *result)
{
    struct np_list *node = outbox->packets.previous;
    for (int i = 0; i < 4 && node != &outbox->packets; i++, node = node->previous) {
        struct packet *packet = NP_CONTAINER(node, struct packet, node);
        if (fits(packet, result)) {
            return packet;
        }
    }
    return packet_new(outbox, result->task->batch);
}

static void *grown(void *column, uint32_t capacity, size_t size)
{
    return fatal_if_null(realloc(column, capacity * size));
}

static void packet_grow(struct packet *packet)
{
    uint32_t capacity = packet->capacity > 0 ? 4 * packet->capacity : ROWS_FIRST;
    packet->seqs = grown(packet->seqs, capacity, sizeof *packet->seqs);
    packet->compute_ns = grown(packet->compute_ns, capacity, sizeof *packet->compute_ns);
    packet->wait_ns = grown(packet->wait_ns, capacity, sizeof *packet->wait_ns);
    packet->sizes = grown(packet->sizes, capacity, sizeof *packet->sizes);
    packet->statuses = grown(packet->statuses, capacity, sizeof *packet->statuses);
    packet->attempts = grown(packet->attempts, capacity, sizeof *packet->attempts);
    packet->pids = grown(packet->pids, capacity, sizeof *packet->pids);
    packet->capacity = capacity;
}

/* Returns the bytes of its texts. */
static size_t keep_failure(struct packet *packet, const struct outbox_failure *failure)
{
    size_t message_size = np_text_whole(failure->message, strnlen(failure->message, NP_MESSAGE_MAX));
    size_t stack_size = failure->stack != NULL ? strnlen(failure->stack, NP_STACK_MAX) : 0;
    struct kept_failure *kept =
        fatal_if_null(malloc(sizeof *kept + message_size + 1 + stack_size + 1 + failure->output_size));
    memcpy(kept->text, failure->message, message_size);
    kept->text[message_size] = '\0';
    np_text_clean(kept->text);
    char *stack = kept->text + message_size + 1;
    if (stack_size > 0) {
        memcpy(stack, failure->stack, stack_size);
    }
    stack[stack_size] = '\0';
    uint8_t *output = (uint8_t *)stack + stack_size + 1;
    if (failure->output_size > 0) {
        memcpy(output, failure->output, failure->output_size);
    }
    np__failure__init(&kept->wire);
    kept->wire.index = packet->count;
    kept->wire.message = kept->text;
    kept->wire.item = failure->item;
    kept->wire.signal = failure->signal;
    kept->wire.exit_code = failure->exit_code;
    kept->wire.error_output = (ProtobufCBinaryData){.len = failure->output_size, .data = output};
    kept->wire.error_output_truncated = failure->is_output_truncated;
    kept->wire.stack = stack;
    kept->wire.started = failure->has_started;
    packet->failures[packet->failure_count++] = &kept->wire;
    packet->has_failures = true;
    size_t bytes = message_size + stack_size + failure->output_size;
    packet->failure_bytes += bytes;
    return bytes;
}

static inline void add_row(struct outbox *outbox, struct packet *packet, const struct outbox_result *result)
{
    const struct task *task = result->task;
    size_t bytes = result->size + ROW_BYTES;
    if (packet->count == packet->capacity) {
        packet_grow(packet);
    }
    if (result->failure != NULL) {
        bytes += keep_failure(packet, result->failure);
    }
    const uint32_t row = packet->count++;
    packet->seqs[row] = task->seq;
    packet->compute_ns[row] = result->compute_ns;
    packet->wait_ns[row] = result->wait_ns;
    packet->sizes[row] = result->size;
    packet->statuses[row] = (uint32_t)result->status;
    packet->attempts[row] = task->attempt;
    packet->pids[row] = result->pid;
    packet->has_retries |= task->attempt != 1;
    packet->bytes += bytes;
    outbox->bytes += bytes;
    outbox->rows++;
}

uint8_t *outbox_add(struct outbox *outbox, const struct outbox_result *result)
{
    struct packet *packet = find_packet(outbox, result);
    struct np_buffer *body = &packet->body;
    const size_t size = result->size;
    if (body->capacity - body->end <= size) {
        (void)fatal_if_null(np_buffer_reserve(body, size + 1));
    }
    uint8_t *place = body->memory + body->end;
    np_buffer_commit(body, size);
    add_row(outbox, packet, result);
    return place;
}

void outbox_add_large(struct outbox *outbox, const struct outbox_result *result, uint8_t *body)
{
    struct packet *packet = packet_new(outbox, result->task->batch);
    packet->large_body = body;
    packet->large_size = result->size;
    add_row(outbox, packet, result);
}

static netpool_status send_packet(struct packet *packet, struct channel *channel)
{
    Np__Results results = NP__RESULTS__INIT;
    results.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = packet->session};
    results.epoch = packet->epoch;
    results.n_seqs = results.n_sizes = results.n_compute_ns = results.n_wait_ns = results.n_pids = packet->count;
    results.seqs = packet->seqs;
    results.sizes = packet->sizes;
    results.compute_ns = packet->compute_ns;
    results.wait_ns = packet->wait_ns;
    results.pids = packet->pids;
    results.n_statuses = packet->has_failures ? packet->count : 0;
    results.statuses = packet->statuses;
    results.n_attempts = packet->has_retries ? packet->count : 0;
    results.attempts = packet->attempts;
    results.n_failures = packet->failure_count;
    results.failures = packet->failures;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    envelope.results = &results;
    if (packet->large_body != NULL) {
        return channel_send(channel, &envelope, packet->large_body, packet->large_size, CHANNEL_IN_ORDER);
    }
    return channel_send(channel, &envelope, np_buffer_data(&packet->body), np_buffer_size(&packet->body),
                        CHANNEL_URGENT);
}

static void give(struct outbox *outbox, struct channel *channel, uint64_t credit_bytes, uint64_t *sent_bytes)
{
    NP_LIST_EACH(node, &outbox->packets) {
        struct packet *packet = NP_CONTAINER(node, struct packet, node);
        size_t size = packet->large_body != NULL ? packet->large_size : np_buffer_size(&packet->body);
        if (*sent_bytes + size > credit_bytes || channel_backlog(channel) > BACKLOG_MAX ||
            send_packet(packet, channel) != NETPOOL_OK) {
            return;
        }
        *sent_bytes += size;
        outbox->rows -= packet->count;
        outbox->bytes -= packet->bytes;
        np_list_remove(&packet->node);
        packet_release(outbox, packet);
    }
}

void outbox_send(struct outbox *outbox, struct channel *channel, uint64_t credit_bytes, uint64_t *sent_bytes)
{
    size_t before;
    do { /* as long as the link takes it: when it has taken all, nothing will tell that there is room */
        before = outbox->rows;
        give(outbox, channel, credit_bytes, sent_bytes);
        channel_flush(channel);
    } while (outbox->rows > 0 && outbox->rows < before && channel_is_open(channel));
}

void outbox_report(const struct outbox *outbox, struct roll *roll)
{
    NP_LIST_EACH(node, &outbox->packets) {
        const struct packet *packet = NP_CONTAINER(node, struct packet, node);
        for (uint32_t i = 0; i < packet->count; i++) {
            roll_add(roll, packet->session, packet->epoch, packet->seqs[i], packet->attempts[i]);
        }
    }
}
