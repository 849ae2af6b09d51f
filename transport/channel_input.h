/*
 * What a channel has read: bytes on the way to whole, checked messages, with large bodies joined from their chunks.
 * It holds to the rules of who may send what, before it takes memory for a body.
 */
#ifndef NP_CHANNEL_INPUT_H
#define NP_CHANNEL_INPUT_H

#include <stdbool.h>

#include "common/buffer.h"
#include "proto/message.h"

/* A large body on its way in. */
struct large_input {
    uint8_t *header; /* copy of the frame header that announced it; NULL: none on its way */
    size_t header_size;
    uint8_t *body;
    size_t size;
    size_t filled;
    size_t chunk_left; /* bytes to come of the chunk that has begun */
};

struct channel_input {
    struct np_buffer bytes;
    size_t handled; /* bytes at the front that belong to the message given out last */
    struct large_input large;
    uint8_t *given;       /* block that is the body of the message given out last; NULL: it has none */
    struct np_heap *heap; /* of both ends, or NULL */
    uint64_t max_payload; /* bytes of the largest body accepted */
    Np__Role local_role;
    Np__Role remote_role; /* NONE: not known yet, only the opening messages pass */
};

void channel_input_fini(struct channel_input *input);

/* Where bytes are to be read to next, and how many at most: a large body is read right to where it belongs. NULL when
 * out of memory. */
uint8_t *channel_input_reserve(struct channel_input *input, size_t *size);

/* So many have been read to there. */
void channel_input_commit(struct channel_input *input, size_t size);

/* The next whole message, *is_whole false when more bytes are needed. It lies in the arena and in the input's bytes
 * until the next call. NETPOOL_PROTOCOL: the peer broke a rule. */
NETPOOL_MUST_CHECK netpool_status channel_input_next(struct channel_input *input, struct np_arena *arena,
                                                     struct np_message *message, bool *is_whole,
                                                     netpool_error *error);

#endif
