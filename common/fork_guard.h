/* Knows whether this process is the one that made it, without a system call: its mark lies in a page that a fork
 * wipes. */
#ifndef NP_FORK_GUARD_H
#define NP_FORK_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#include "common/netpool_status.h"

struct np_fork_guard {
    const volatile char
        *mark; /* a page of its own; NULL where the kernel cannot wipe pages: then `pid` is compared */
    pid_t pid;
};

/* Cannot fail: there is always the pid. */
void np_fork_guard_init(struct np_fork_guard *guard);
void np_fork_guard_fini(struct np_fork_guard *guard);

static inline bool np_fork_guard_is_child(const struct np_fork_guard *guard)
{
    return guard->mark != NULL ? *guard->mark == 0 : getpid() != guard->pid;
}

#endif
