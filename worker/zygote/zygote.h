/*
 * The zygote: a process forked before anything else exists, which loads the modules once and forks executors on
 * request. It alone forks, kills and waits, so that a process id is never used after it was reaped. This is the
 * supervisor's handle to it; zygote_process.c is the process. It dies with its supervisor and takes all executors
 * along.
 */
#ifndef NP_ZYGOTE_H
#define NP_ZYGOTE_H

#include <stdint.h>
#include <sys/types.h>

#include "common/netpool_status.h"
#include "worker/executor/executor.h"

struct zygote {
    int fd; /* SOCK_SEQPACKET */
    pid_t pid;
};

enum zygote_request_kind { ZYGOTE_FORK = 1, ZYGOTE_KILL, ZYGOTE_SYMBOLIZE };

struct zygote_request {
    uint32_t kind;
    uint32_t slot;
    uint32_t fd_count; /* sent along: fewer may arrive */
};

enum zygote_event_kind {
    ZYGOTE_FUNCTION = 1, /* text: a function's name; in the order of their indexes */
    ZYGOTE_LOADED,       /* that was all of them */
    ZYGOTE_BAD_MODULE,   /* text: why; the zygote is gone */
    ZYGOTE_FORKED,       /* slot, pid */
    ZYGOTE_FORK_FAILED,  /* slot, wait_status = errno */
    ZYGOTE_EXITED        /* slot, pid, wait_status, max_rss_kib */
};

struct zygote_event {
    uint32_t kind;
    uint32_t slot;
    int32_t pid;
    int32_t wait_status;
    uint64_t max_rss_kib;
    char text[512];
};

/* Forks the zygote; returns in the caller only. The module paths are borrowed for the call. */
NETPOOL_MUST_CHECK netpool_status zygote_start(struct zygote *zygote, const char *const *modules, size_t module_count,
                                               unsigned slots, netpool_error *error);

/* Waits for the next event while the modules are loaded. NETPOOL_BAD_MODULE with the loader's words. */
NETPOOL_MUST_CHECK netpool_status zygote_await(struct zygote *zygote, struct zygote_event *event,
                                               netpool_error *error);

/* The next event without waiting. NETPOOL_TIMEOUT: none; NETPOOL_CLOSED: the zygote is gone. */
NETPOOL_MUST_CHECK netpool_status zygote_receive(struct zygote *zygote, struct zygote_event *event);

/* Asks for an executor in a slot that has none. The descriptors stay the caller's. NETPOOL_TIMEOUT: not now, too many
 * requests are on their way. */
NETPOOL_MUST_CHECK netpool_status zygote_fork(struct zygote *zygote, unsigned slot, const struct executor_fds *fds);

/* Asks for the end of the slot's executor and its whole process group. The request may get lost when too many are on
 * their way: repeat it until ZYGOTE_EXITED comes. */
void zygote_kill(struct zygote *zygote, unsigned slot);

/* Asks for a symbolizer (symbolizer.h), which reads dump_fd and writes to out_fd; whether it works or not, in the end
 * nobody holds out_fd any more. The descriptors stay the caller's. NETPOOL_TIMEOUT: not now. */
NETPOOL_MUST_CHECK netpool_status zygote_symbolize(struct zygote *zygote, int dump_fd, int out_fd);

/* Ends the zygote and everything it forked, and waits for that. */
void zygote_stop(struct zygote *zygote);

/* The process itself, zygote_process.c. */
_Noreturn void zygote_main(int fd, const char *const *modules, size_t module_count, unsigned slots);

#endif
