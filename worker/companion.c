#include "worker/companion.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "common/heap.h"
#include "proto/limits.h"
#include "transport/link.h"
#include "worker/executor/detach.h"
#include "worker/supervisor.h"

enum {
    NUMBERS = 5, /* link, ready, heap, slots, max_payload */
    NUMBER_SIZE = 24,
    FIXED_ARGUMENTS = 2 + NUMBERS + 1, /* program, mark, the numbers, name */
};

char **companion_arguments(const struct companion *companion, const char *program)
{
    size_t modules = 0;
    while (companion->modules != NULL && companion->modules[modules] != NULL) {
        modules++;
    }
    size_t pointers = (FIXED_ARGUMENTS + modules + 1) * sizeof(char *);
    char **arguments = malloc(pointers + NUMBERS * NUMBER_SIZE);
    if (arguments == NULL) {
        return NULL;
    }
    char *numbers = (char *)arguments + pointers;
    const uint64_t values[NUMBERS] = {(uint64_t)companion->link_fd, (uint64_t)companion->ready_fd,
                                      (uint64_t)companion->heap_fd, companion->slots, companion->max_payload};
    arguments[0] = (char *)(uintptr_t)program; /* exec takes them as they are */
    arguments[1] = (char *)(uintptr_t)COMPANION_MARK;
    for (size_t i = 0; i < NUMBERS; i++) {
        arguments[2 + i] = numbers + i * NUMBER_SIZE;
        (void)snprintf(arguments[2 + i], NUMBER_SIZE, "%" PRIu64, values[i]);
    }
    arguments[2 + NUMBERS] = (char *)(uintptr_t)companion->name;
    for (size_t i = 0; i < modules; i++) {
        arguments[FIXED_ARGUMENTS + i] = companion->modules[i];
    }
    arguments[FIXED_ARGUMENTS + modules] = NULL;
    return arguments;
}

static bool parse_number(uint64_t *out, const char *text, uint64_t most)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    *out = number;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && number <= most;
}

bool companion_parse(struct companion *out, int argc, char **argv)
{
    uint64_t values[NUMBERS];
    static const uint64_t most[NUMBERS] = {1 << 20, 1 << 20, 1 << 20, NP_SLOTS_MAX, NP_PAYLOAD_MAX};
    if (argc < FIXED_ARGUMENTS || strcmp(argv[1], COMPANION_MARK) != 0) {
        return false;
    }
    for (int i = 0; i < NUMBERS; i++) {
        if (!parse_number(&values[i], argv[2 + i], most[i])) {
            return false;
        }
    }
    *out = (struct companion){.link_fd = (int)values[0],
                              .ready_fd = (int)values[1],
                              .heap_fd = (int)values[2],
                              .slots = (unsigned)values[3],
                              .max_payload = values[4],
                              .name = argv[2 + NUMBERS],
                              .modules = argv + FIXED_ARGUMENTS};
    return out->slots > 0;
}

bool companion_is_due(void)
{
    char line[256] = ""; /* a program's name that we have chosen, and the mark */
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, line, sizeof line - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    size_t name = strlen(line) + 1;
    return size > 0 && (size_t)size > name && strcmp(line + name, COMPANION_MARK) == 0;
}

/* Nothing of the program's way with signals, input and half-written output is to live on here. */
static void shed_inheritance(const struct companion *companion)
{
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL); /* refused for a few, which nobody can have changed */
    }
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0); /* Ctrl-C on the terminal is for the program */
    __fpurge(stdout);
    __fpurge(stderr);
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++) {
        if (nowhere >= 0 && (fd == 0 || fcntl(fd, F_GETFD) < 0)) {
            (void)dup2(nowhere, fd);
        }
    }
    const int kept[] = {companion->link_fd, companion->ready_fd, companion->heap_fd};
    detach_close_descriptors(kept, sizeof kept / sizeof kept[0]);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (kept[i] > 0) {
            (void)fcntl(kept[i], F_SETFD, FD_CLOEXEC);
        }
    }
    np_heap_leave_inherited();
}

/* There is one connection, and never a second. */
static netpool_status connect_once(void *context, struct link **out, netpool_error *error)
{
    int *link_fd = context;
    if (*link_fd < 0) {
        return np_error_set(error, NETPOOL_CLOSED, "the program has closed its pool");
    }
    struct link *link = link_fd_new(*link_fd, "program");
    if (link == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    *link_fd = -1;
    *out = link;
    return NETPOOL_OK;
}

_Noreturn void companion_run(const struct companion *companion)
{
    shed_inheritance(companion);
    size_t modules = 0;
    while (companion->modules != NULL && companion->modules[modules] != NULL) {
        modules++;
    }
    int link_fd = companion->link_fd;
    struct supervisor_options options = {.name = companion->name,
                                         .slots = companion->slots,
                                         .modules = (const char *const *)companion->modules,
                                         .module_count = modules,
                                         .max_payload = companion->max_payload,
                                         .heap_fd = companion->heap_fd,
                                         .forward_output = true,
                                         .connect = connect_once,
                                         .connect_context = &link_fd,
                                         .is_single_link = true,
                                         .ready_fd = companion->ready_fd};
    struct supervisor *supervisor = NULL;
    netpool_error error = {0};
    netpool_status status = supervisor_new(&supervisor, &options, &error);
    if (status == NETPOOL_OK) {
        status = supervisor_run(supervisor, &error);
    }
    supervisor_destroy(&supervisor);
    _exit(status == NETPOOL_OK || status == NETPOOL_CLOSED ? 0 : 1); /* not exit: the program's atexit is not ours */
}
