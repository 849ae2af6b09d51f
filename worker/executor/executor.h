/* The executor: a process that runs one function call after another. It takes tasks from its share's ring, writes the
 * results back, and sleeps when there is nothing to do. It ends by being killed, or by itself when it has become
 * unusable (a function closed its descriptors). */
#ifndef NP_EXECUTOR_H
#define NP_EXECUTOR_H

#include <sys/types.h>

/* Exit code of an executor that cannot go on. */
#define EXECUTOR_UNUSABLE 86

struct executor_fds {
    pid_t parent; /* the zygote */
    int share;    /* memfd */
    int bell;     /* eventfd that wakes the supervisor */
    int output;   /* pipe that takes what functions print */
    int heap;     /* memfd for large payloads, or -1 */
};

/* Runs in a fresh fork of the zygote: isolates this process (own session, no privileges to gain, no core dumps, only
 * its own descriptors, default signals) and never returns. */
_Noreturn void executor_main(const struct executor_fds *fds);

#endif
