/* Results on their way to standard output: gathered, and written when enough are there or no more are ready. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "common/buffer.h"
#include "worker/netpool_function.h"

struct output {
    int fd;
    struct np_buffer buffer;
};

/* The bytes and a newline. NETPOOL_OK, NETPOOL_NO_MEMORY, or NETPOOL_SYSTEM with errno. */
NETPOOL_MUST_CHECK netpool_status output_line(struct output *output, netpool_bytes line);

/* Writes all that is gathered; waits when it has to. NETPOOL_SYSTEM with errno, EPIPE when nobody reads any more. */
NETPOOL_MUST_CHECK netpool_status output_flush(struct output *output);

void output_fini(struct output *output);

#endif
