#include "transport/channel_input.h"

#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/error.h"
#include "common/heap.h"
#include "proto/limits.h"

enum {
    READ_SIZE = 64 * 1024,                      /* bytes asked from the link at a time */
    CHUNK_HEAD_SIZE = NP_FRAME_PREFIX_SIZE + 2, /* bytes in front of a chunk's body, as we send it */
};

enum { CHUNK_HEADER_MAX = 16 }; /* bytes */

static void drop_large(struct large_input *large)
{
    free(large->header);
    np_block_free(large->body);
    *large = (struct large_input){0};
}

void channel_input_fini(struct channel_input *input)
{
    np_buffer_fini(&input->bytes);
    drop_large(&input->large);
    np_block_free(input->given);
    input->given = NULL;
}

/* The two sides' first messages, before roles are known. */
static bool is_opening_kind(const struct channel_input *input, Np__Envelope__KindCase kind)
{
    Np__Envelope__KindCase first =
        input->local_role == NP__ROLE__BROKER ? NP__ENVELOPE__KIND_HELLO : NP__ENVELOPE__KIND_WELCOME;
    return kind == first || kind == NP__ENVELOPE__KIND_GOODBYE || kind == NP__ENVELOPE__KIND_HEARTBEAT;
}

static netpool_status check_allowed(const struct channel_input *input, const Np__Envelope *envelope,
                                    netpool_error *error)
{
    bool allowed = input->remote_role == NP__ROLE__NONE
                       ? is_opening_kind(input, envelope->kind_case)
                       : np_message_is_allowed(input->remote_role, input->local_role, envelope->kind_case);
    if (allowed) {
        return NETPOOL_OK;
    }
    return np_error_set(error, NETPOOL_PROTOCOL, "a %s message is not allowed from a peer of role %s here",
                        np_message_kind_name(envelope->kind_case), np_role_name(input->remote_role));
}

static netpool_status check_large(const struct channel_input *input, const Np__Envelope *envelope,
                                  const struct np_frame *frame, netpool_error *error)
{
    if (frame->body_size != 0) {
        return np_error_set(error, NETPOOL_PROTOCOL, "a large body is announced inside another");
    }
    if (envelope->large_body > input->max_payload) {
        return np_error_set(error, NETPOOL_PROTOCOL, "a body of %llu bytes is announced, the limit is %llu",
                            (unsigned long long)envelope->large_body, (unsigned long long)input->max_payload);
    }
    return np_message_check(envelope, envelope->large_body, error);
}

/* A body that lies in the memory of both ends is there at once. */
static netpool_status take_shared(struct channel_input *input, const Np__Envelope *envelope,
                                  struct np_message *message, netpool_error *error)
{
    if (input->heap != NULL && envelope->large_body > NP_FRAME_BODY_MAX) {
        input->given = np_heap_receive(input->heap, envelope->shared_at, envelope->large_body);
    }
    if (input->given == NULL) {
        return np_error_set(error, NETPOOL_PROTOCOL, "a body of %llu bytes in shared memory where there is none",
                            (unsigned long long)envelope->large_body);
    }
    *message = (struct np_message){.envelope = envelope, .body = input->given, .body_size = envelope->large_body};
    return NETPOOL_OK;
}

static netpool_status begin_large(struct channel_input *input, const Np__Envelope *envelope,
                                  const struct np_frame *frame, netpool_error *error)
{
    struct large_input *large = &input->large;
    if (large->header != NULL) {
        return np_error_set(error, NETPOOL_PROTOCOL, "a large body is announced inside another");
    }
    large->size = envelope->large_body;
    large->header_size = frame->header_size;
    large->header = malloc(frame->header_size);
    large->body = np_block_new(large->size); /* untouched pages cost nothing until chunks arrive */
    if (large->header == NULL || large->body == NULL) {
        drop_large(large);
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory for a body of %llu bytes",
                            (unsigned long long)envelope->large_body);
    }
    memcpy(large->header, frame->header, frame->header_size);
    return NETPOOL_OK;
}

/* Turns the complete large body into its message. */
static netpool_status finish_large(struct channel_input *input, struct np_arena *arena, struct np_message *message,
                                   netpool_error *error)
{
    struct large_input *large = &input->large;
    struct np_frame announced = {.header = large->header, .header_size = large->header_size};
    const Np__Envelope *envelope;
    netpool_status status = np_message_decode(&announced, arena, &envelope, error);
    if (status == NETPOOL_OK) {
        *message = (struct np_message){.envelope = envelope, .body = large->body, .body_size = large->size};
        input->given = large->body;
        large->body = NULL;
    }
    drop_large(large);
    return status;
}

/* A chunk whose head is there: its body goes where it belongs as it comes. */
static netpool_status begin_chunk(struct channel_input *input, const struct np_frame *frame, netpool_error *error)
{
    struct large_input *large = &input->large;
    if (large->header == NULL || frame->body_size > large->size - large->filled) {
        return np_error_set(error, NETPOOL_PROTOCOL, "a chunk that belongs to no body");
    }
    large->chunk_left = frame->body_size;
    input->handled = (size_t)(frame->body - np_buffer_data(&input->bytes));
    return NETPOOL_OK;
}

/* What has been read of the chunk that has begun. */
static void take_chunk(struct channel_input *input)
{
    struct large_input *large = &input->large;
    size_t ready = np_buffer_size(&input->bytes);
    size_t size = ready < large->chunk_left ? ready : large->chunk_left;
    if (size > 0) {
        memcpy(large->body + large->filled, np_buffer_data(&input->bytes), size);
        np_buffer_consume(&input->bytes, size);
        large->filled += size;
        large->chunk_left -= size;
    }
}

uint8_t *channel_input_reserve(struct channel_input *input, size_t *size)
{
    struct large_input *large = &input->large;
    if (large->chunk_left > 0) {
        *size = large->chunk_left;
        return large->body + large->filled;
    }
    size_t ready = np_buffer_size(&input->bytes);
    *size = large->header != NULL && ready < CHUNK_HEAD_SIZE ? CHUNK_HEAD_SIZE - ready : READ_SIZE;
    return np_buffer_reserve(&input->bytes, READ_SIZE);
}

void channel_input_commit(struct channel_input *input, size_t size)
{
    if (input->large.chunk_left > 0) {
        input->large.filled += size;
        input->large.chunk_left -= size;
    } else {
        np_buffer_commit(&input->bytes, size);
    }
}

static netpool_status handle_frame(struct channel_input *input, const struct np_frame *frame, struct np_arena *arena,
                                   struct np_message *message, bool *is_whole, netpool_error *error)
{
    const Np__Envelope *envelope;
    netpool_status status = np_message_decode(frame, arena, &envelope, error);
    if (status == NETPOOL_OK) {
        status = check_allowed(input, envelope, error);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    status = envelope->large_body > 0 ? check_large(input, envelope, frame, error)
                                      : np_message_check(envelope, frame->body_size, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    if (envelope->shared_at > 0) {
        *is_whole = true;
        return take_shared(input, envelope, message, error);
    }
    if (envelope->large_body > 0) {
        return begin_large(input, envelope, frame, error);
    }
    if (envelope->kind_case == NP__ENVELOPE__KIND_CHUNK) {
        return begin_chunk(input, frame, error);
    }
    if (input->handled > 0) {
        *message = (struct np_message){.envelope = envelope, .body = frame->body, .body_size = frame->body_size};
        *is_whole = true;
    }
    return NETPOOL_OK;
}

netpool_status channel_input_next(struct channel_input *input, struct np_arena *arena, struct np_message *message,
                                  bool *is_whole, netpool_error *error)
{
    struct large_input *large = &input->large;
    *is_whole = false;
    np_block_free(input->given);
    input->given = NULL;
    for (;;) {
        np_buffer_consume(&input->bytes, input->handled);
        input->handled = 0;
        take_chunk(input);
        if (large->header != NULL && large->filled == large->size) {
            *is_whole = true;
            return finish_large(input, arena, message, error);
        }
        struct np_frame frame;
        netpool_status status = np_frame_parse(np_buffer_data(&input->bytes), np_buffer_size(&input->bytes), &frame,
                                               &input->handled, error);
        /* Of a large body that is on its way a chunk is taken in pieces; what has more of a header is none. */
        bool may_be_chunk = large->header != NULL && frame.header != NULL && frame.header_size <= CHUNK_HEADER_MAX;
        if (status == NETPOOL_OK && (input->handled > 0 || may_be_chunk)) {
            status = handle_frame(input, &frame, arena, message, is_whole, error);
        }
        if (status != NETPOOL_OK || *is_whole || input->handled == 0) {
            return status;
        }
    }
}
