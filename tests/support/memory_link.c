#include "tests/support/memory_link.h"

#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/text.h"

struct memory_link {
    struct link link;
    struct memory_pipe *in;
    struct memory_pipe *out;
};

static size_t at_most(size_t size, size_t step)
{
    return step != 0 && step < size ? step : size;
}

static netpool_status establish(struct link *link, bool *done, netpool_error *error)
{
    (void)link;
    (void)error;
    *done = true;
    return NETPOOL_OK;
}

static netpool_status read_pipe(struct link *link, uint8_t *out, size_t capacity, size_t *got, netpool_error *error)
{
    struct memory_pipe *in = ((struct memory_link *)link)->in;
    size_t size = np_buffer_size(&in->bytes);
    *got = 0;
    if (size == 0 && in->broken) {
        return np_error_set(error, NETPOOL_UNREACHABLE, "the wire broke");
    }
    if (size == 0 && in->closed) {
        return np_error_set(error, NETPOOL_CLOSED, "the wire was closed");
    }
    if (size > 0) {
        *got = at_most(size < capacity ? size : capacity, in->read_step);
        memcpy(out, np_buffer_data(&in->bytes), *got);
        np_buffer_consume(&in->bytes, *got);
    }
    return NETPOOL_OK;
}

static netpool_status write_pipe(struct link *link, const struct iovec *parts, size_t count, size_t *taken,
                                 netpool_error *error)
{
    (void)error;
    struct memory_pipe *out = ((struct memory_link *)link)->out;
    size_t size = link_parts_size(parts, count);
    size_t room = out->capacity - np_buffer_size(&out->bytes);
    *taken = at_most(size < room ? size : room, out->write_step);
    uint8_t *place = np_buffer_reserve(&out->bytes, *taken);
    if (place == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    link_parts_copy(parts, 0, place, *taken);
    np_buffer_commit(&out->bytes, *taken);
    return NETPOOL_OK;
}

static uint32_t interest(const struct link *link, bool want_write)
{
    (void)link;
    (void)want_write;
    return 0;
}

static bool is_readable(struct link *link)
{
    return np_buffer_size(&((struct memory_link *)link)->in->bytes) > 0;
}

static void destroy(struct link *link)
{
    ((struct memory_link *)link)->out->closed = true;
    free(link);
}

static const struct link_operations operations = {
    .kind = "memory",
    .establish = establish,
    .read = read_pipe,
    .write = write_pipe,
    .interest = interest,
    .is_readable = is_readable,
    .destroy = destroy,
};

void memory_wire_init(struct memory_wire *wire)
{
    *wire = (struct memory_wire){.forth = {.capacity = SIZE_MAX}, .back = {.capacity = SIZE_MAX}};
}

void memory_wire_fini(struct memory_wire *wire)
{
    np_buffer_fini(&wire->forth.bytes);
    np_buffer_fini(&wire->back.bytes);
}

struct link *memory_link_new(struct memory_pipe *in, struct memory_pipe *out)
{
    struct memory_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    link->link.operations = &operations;
    link->link.fd = -1;
    (void)np_text_copy(link->link.peer.address, sizeof link->link.peer.address, "memory");
    link->in = in;
    link->out = out;
    return &link->link;
}
