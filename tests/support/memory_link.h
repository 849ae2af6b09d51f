/* Two links joined in memory, for tests of what stands above links: no sockets, every byte under the test's control.
 */
#ifndef NP_MEMORY_LINK_H
#define NP_MEMORY_LINK_H

#include "common/buffer.h"
#include "transport/link.h"

struct memory_link;

/* What one end wrote and the other has not read. */
struct memory_pipe {
    struct np_buffer bytes;
    size_t capacity;   /* write takes no more than this in all; SIZE_MAX: unlimited */
    size_t write_step; /* bytes taken by one write at most; 0: unlimited */
    size_t read_step;  /* bytes returned by one read at most; 0: unlimited */
    bool broken;       /* reads fail with UNREACHABLE once it is empty */
    bool closed;       /* reads report an orderly end once it is empty */
};

struct memory_wire {
    struct memory_pipe forth; /* first end to second */
    struct memory_pipe back;
};

/* Unlimited pipes. */
void memory_wire_init(struct memory_wire *wire);
void memory_wire_fini(struct memory_wire *wire);

/* The wire outlives the links. After writing to one end, call channel_ready on the other. */
struct link *memory_link_new(struct memory_pipe *in, struct memory_pipe *out);

#endif
