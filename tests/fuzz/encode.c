#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/block_of.h"
#include "tests/support/memory_link.h"
#include "transport/channel_output.h"

struct reactor *fuzz_reactor(void)
{
    static struct reactor *reactor;
    if (reactor == NULL && reactor_new(&reactor, NULL) != NETPOOL_OK) {
        abort();
    }
    return reactor;
}

void fuzz_append_message(struct np_buffer *out, Np__Envelope *envelope, const void *body, size_t body_size)
{
    struct memory_wire wire;
    memory_wire_init(&wire);
    struct link *link = memory_link_new(&wire.back, &wire.forth);
    struct channel_output output;
    channel_output_init(&output, NULL);
    size_t wrote;
    void *block = block_of(body, body_size);
    if (link == NULL || channel_output_add(&output, envelope, block, body_size, true) != NETPOOL_OK ||
        channel_output_write(&output, link, &wrote, NULL) != NETPOOL_OK ||
        np_buffer_append(out, np_buffer_data(&wire.forth.bytes), wrote) != NETPOOL_OK) {
        abort();
    }
    np_block_free(block);
    channel_output_fini(&output);
    link->operations->destroy(link);
    memory_wire_fini(&wire);
}
