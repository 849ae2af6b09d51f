#include "proto/frame.h"

#include "common/error.h"
#include "proto/limits.h"

static uint32_t read_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void write_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

netpool_status np_frame_parse(const uint8_t *data, size_t size, struct np_frame *frame, size_t *frame_size,
                              netpool_error *error)
{
    *frame = (struct np_frame){0};
    if (size < NP_FRAME_PREFIX_SIZE) {
        *frame_size = 0;
        return NETPOOL_OK;
    }
    uint32_t header_size = read_u32(data);
    uint32_t body_size = read_u32(data + 4);
    if (header_size == 0 || header_size > NP_FRAME_HEADER_MAX) {
        return np_error_set(error, NETPOOL_PROTOCOL, "frame header of %u bytes, allowed are 1 to %u", header_size,
                            NP_FRAME_HEADER_MAX);
    }
    if (body_size > NP_FRAME_BODY_MAX) {
        return np_error_set(error, NETPOOL_PROTOCOL, "frame body of %u bytes, allowed are %u", body_size,
                            NP_FRAME_BODY_MAX);
    }
    size_t head_size = NP_FRAME_PREFIX_SIZE + (size_t)header_size;
    if (size < head_size) {
        *frame_size = 0;
        return NETPOOL_OK;
    }
    *frame = (struct np_frame){
        .header = data + NP_FRAME_PREFIX_SIZE,
        .header_size = header_size,
        .body = data + NP_FRAME_PREFIX_SIZE + header_size,
        .body_size = body_size,
    };
    *frame_size = size < head_size + body_size ? 0 : head_size + body_size;
    return NETPOOL_OK;
}

void np_frame_prefix(uint8_t *out, size_t header_size, size_t body_size)
{
    write_u32(out, (uint32_t)header_size);
    write_u32(out + 4, (uint32_t)body_size);
}
