/* Starting and ending the worker process (a companion) of a local pool. */
#ifndef NP_WORKER_PROCESS_H
#define NP_WORKER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/options.h"
#include "common/netpool_status.h"

struct worker_process {
    pid_t pid; /* 0: none */
    int pidfd; /* names it even after the program itself has reaped it and its number was given away; -1: none */
    bool is_unwatched; /* the kernel has no pidfds (before 5.3; valgrind): it is killed by its number, at once */
    int link_fd;       /* our end of its socket; -1: given away */
    int ready_fd;      /* where it reports; -1: closed */
};

/* Starts it with the settings' start method; heap_fd is what it shares with us, 0: nothing. NETPOOL_UNSUPPORTED: fork
 * with other threads around. */
NETPOOL_MUST_CHECK netpool_status worker_process_start(struct worker_process *out, const struct settings *settings,
                                                       int heap_fd, netpool_error *error);

/* Reaps it when it ends by itself within the time, else kills it first. `how` (may be NULL) gets what became of it,
 * as "exit status 1" or "signal 9 (Killed)". */
void worker_process_end(struct worker_process *process, int64_t grace_ns, char how[64]);

/* May a further one be started while the pool's threads run? */
bool worker_process_can_restart(const struct settings *settings);

#endif
