/*
 * The companion: a supervisor that lives beside one program and serves its `local` pool. The program forks it, or
 * starts it anew with arguments that name what it inherits; its one link is a socket to the program, and it ends when
 * that does.
 */
#ifndef NP_COMPANION_H
#define NP_COMPANION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/netpool_status.h"

/* argv[1] of a process that was started as a companion. */
#define COMPANION_MARK "--netpool-companion"

struct companion {
    int link_fd;  /* socket to the program */
    int ready_fd; /* as supervisor_options.ready_fd */
    int heap_fd;  /* as supervisor_options.heap_fd: 0: none */
    unsigned slots;
    uint64_t max_payload; /* bytes */
    const char *name;
    char *const *modules; /* NULL-terminated */
};

/* The arguments for a companion started anew, program name first, NULL-terminated; in one block that the caller
 * frees. NULL when out of memory. */
char **companion_arguments(const struct companion *companion, const char *program);

/* Whether these are such arguments; *out borrows from argv. */
bool companion_parse(struct companion *out, int argc, char **argv);

/* Was this process started with such arguments? Then it should have become a companion, and has not. */
bool companion_is_due(void);

/* Makes this process a companion: drops inherited descriptors and signal settings, serves, ends the process. */
_Noreturn void companion_run(const struct companion *companion);

#endif
