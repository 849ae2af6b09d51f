/* The core's own cost for no-op tasks. */
#ifndef SIM_THROUGHPUT_H
#define SIM_THROUGHPUT_H

#include <stddef.h>

struct throughput_load {
    size_t queued;  /* tasks kept in the queue, at least one */
    size_t workers; /* with two slots each */
    size_t count;   /* tasks that pass through at least */
};

struct throughput_cost {
    double ns;    /* of processor time, a task */
    double bytes; /* of heap, a queued task */
};

/* Submit, assign, result and acknowledge in batches, in this process. Aborts on what cannot be. */
struct throughput_cost throughput_measure(const struct throughput_load *load);

/* Prints it for short and for long queues. Exit status. */
int throughput(size_t count);

#endif
