/*
 * A daemon that this process started: its readiness pipe, its log file, its end.
 *
 * A child stands in a process group of its own, so that Ctrl-C at the terminal reaches only this process, and gets
 * SIGTERM from the kernel should this process die in whatever way.
 */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/netpool_status.h"

#define CHILD_PATH_MAX 1024
#define CHILD_ARGUMENTS_MAX 300

struct child {
    char name[64];                 /* for messages */
    char log_path[CHILD_PATH_MAX]; /* what it prints on either output */
    pid_t pid;                     /* 0: not started, or ended and reaped */
    int ready_fd;                  /* -1: closed */
    char ready_text[512];          /* what it said there */
    int wait_status;               /* of wait(2), once it has ended */
    bool is_ready;
};

/* Starts program with these arguments (NULL-terminated; argv[0] is the name) and `--ready-fd N` after them. */
NETPOOL_MUST_CHECK netpool_status child_start(struct child *child, const char *name, const char *log_path,
                                              const char *program, char *const argv[], netpool_error *error);

/* Takes what the child said on its readiness pipe, without waiting. True when it said all it has to say. */
bool child_hear(struct child *child);

/* Reaps it if it has ended. True when this call found that. */
bool child_reap(struct child *child);

/* Waits up to timeout_ms for its end; signals SIGCHLD must be blocked. True when it has ended. */
bool child_wait(struct child *child, int timeout_ms);

/* Why it ended and its last words, in one line. */
void child_describe_end(const struct child *child, char *text, size_t size);

#endif
