#include "worker/companion.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/error.h"
#include "proto/limits.h"
#include "transport/link.h"
#include "worker/supervisor.h"

enum { FIXED_ARGUMENTS = 7, NUMBER_SIZE = 24 }; /* program, mark, link, ready, slots, max_payload, name */

char **companion_arguments(const struct companion *companion, const char *program)
{
    size_t modules = 0;
    while (companion->modules != NULL && companion->modules[modules] != NULL) {
        modules++;
    }
    size_t pointers = (FIXED_ARGUMENTS + modules + 1) * sizeof(char *);
    char **arguments = malloc(pointers + 4 * NUMBER_SIZE);
    if (arguments == NULL) {
        return NULL;
    }
    char *numbers = (char *)arguments + pointers;
    const uint64_t values[4] = {(uint64_t)companion->link_fd, (uint64_t)companion->ready_fd, companion->slots,
                                companion->max_payload};
    arguments[0] = (char *)(uintptr_t)program; /* exec takes them as they are */
    arguments[1] = (char *)(uintptr_t)COMPANION_MARK;
    for (size_t i = 0; i < 4; i++) {
        arguments[2 + i] = numbers + i * NUMBER_SIZE;
        (void)snprintf(arguments[2 + i], NUMBER_SIZE, "%" PRIu64, values[i]);
    }
    arguments[6] = (char *)(uintptr_t)companion->name;
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
    uint64_t values[4];
    static const uint64_t most[4] = {1 << 20, 1 << 20, NP_SLOTS_MAX, NP_PAYLOAD_MAX};
    if (argc < FIXED_ARGUMENTS || strcmp(argv[1], COMPANION_MARK) != 0) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        if (!parse_number(&values[i], argv[2 + i], most[i])) {
            return false;
        }
    }
    *out = (struct companion){.link_fd = (int)values[0],
                              .ready_fd = (int)values[1],
                              .slots = (unsigned)values[2],
                              .max_payload = values[3],
                              .name = argv[6],
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

static void close_between(unsigned first, unsigned last)
{
    if (first <= last && syscall(SYS_close_range, first, last, 0) != 0) {
        long most = sysconf(_SC_OPEN_MAX); /* kernels before 5.9 */
        for (long fd = first; fd <= (long)last && fd < most; fd++) {
            close((int)fd);
        }
    }
}

static void keep_only(int a, int b)
{
    unsigned low = (unsigned)(a < b ? a : b);
    unsigned high = (unsigned)(a < b ? b : a);
    close_between(3, low - 1);
    close_between(low + 1, high - 1);
    close_between(high + 1, ~0U);
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
    keep_only(companion->link_fd, companion->ready_fd);
    (void)fcntl(companion->link_fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(companion->ready_fd, F_SETFD, FD_CLOEXEC);
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
