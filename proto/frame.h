/*
 * Frames: u32 header size | u32 body size | header | body, little-endian. This parser knows sizes and nothing else:
 * it never allocates, and refuses a frame from its 8-byte prefix alone.
 */
#ifndef NP_FRAME_H
#define NP_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "common/netpool_status.h"

struct np_frame {
    const uint8_t *header;
    size_t header_size;
    const uint8_t *body;
    size_t body_size;
};

/* Looks at `size` bytes. NETPOOL_OK with *frame_size > 0: one whole frame of that many bytes stands at the start of
 * data and *frame points into it. NETPOOL_OK with *frame_size == 0: more bytes are needed; of a frame that lacks no
 * more than bytes of its body, *frame says all the same where it lies (otherwise its header is NULL).
 * NETPOOL_PROTOCOL: header size is 0 or above NP_FRAME_HEADER_MAX, or body size above NP_FRAME_BODY_MAX; error says
 * which. */
NETPOOL_MUST_CHECK netpool_status np_frame_parse(const uint8_t *data, size_t size, struct np_frame *frame,
                                                 size_t *frame_size, netpool_error *error);

/* Writes the prefix of NP_FRAME_PREFIX_SIZE bytes. */
void np_frame_prefix(uint8_t *out, size_t header_size, size_t body_size);

#endif
