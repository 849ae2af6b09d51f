#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/crash/symbolizer.h"
#include "worker/executor/detach.h"
#include "worker/executor/modules.h"
#include "worker/zygote/zygote.h"

struct zygote_process {
    int fd;       /* to the supervisor */
    int child_fd; /* signalfd of SIGCHLD */
    pid_t *pids;  /* of each slot's executor; 0: none */
    unsigned slots;
};

static void tell(struct zygote_process *zygote, struct zygote_event *event)
{
    size_t size = offsetof(struct zygote_event, text) + strlen(event->text) + 1;
    while (send(zygote->fd, event, size, MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
}

static void tell_text(struct zygote_process *zygote, enum zygote_event_kind kind, const char *text)
{
    struct zygote_event event = {.kind = kind};
    (void)snprintf(event.text, sizeof event.text, "%s", text);
    tell(zygote, &event);
}

static void load(struct zygote_process *zygote, const char *const *modules, size_t count)
{
    netpool_error error = {0};
    netpool_status status = modules_check(&error);
    for (size_t i = 0; i < count && status == NETPOOL_OK; i++) {
        status = modules_load(modules[i], &error);
    }
    if (status != NETPOOL_OK) {
        tell_text(zygote, ZYGOTE_BAD_MODULE, error.message);
        _exit(1);
    }
    for (size_t i = 0; i < modules_count(); i++) {
        tell_text(zygote, ZYGOTE_FUNCTION, modules_at(i)->name);
    }
    tell_text(zygote, ZYGOTE_LOADED, "");
}

/* Executors and what they started in their sessions. */
static void kill_group(pid_t pid)
{
    (void)kill(-pid, SIGKILL);
    (void)kill(pid, SIGKILL); /* it may not have made its group yet */
}

static void fork_executor(struct zygote_process *zygote, uint32_t slot, struct executor_fds *fds)
{
    struct zygote_event event = {.kind = ZYGOTE_FORKED, .slot = slot};
    fds->parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        executor_main(fds);
    }
    if (pid < 0) {
        event.kind = ZYGOTE_FORK_FAILED;
        event.wait_status = errno;
    } else {
        zygote->pids[slot] = pid;
        event.pid = pid;
    }
    tell(zygote, &event);
}

/* It is reaped like an orphan. */
static void fork_symbolizer(int dump_fd, int out_fd)
{
    pid_t parent = getpid();
    if (fork() == 0) {
        symbolizer_main(parent, dump_fd, out_fd);
    }
}

/* Fewer than were sent arrive when this process has no room for more. */
static size_t take_descriptors(struct msghdr *message, int fds[4])
{
    struct cmsghdr *rights = CMSG_FIRSTHDR(message);
    size_t count = rights != NULL ? (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    if (count > 0) {
        memcpy(fds, CMSG_DATA(rights), count * sizeof(int));
    }
    return count;
}

/* False at the end of the supervisor. */
static bool handle_request(struct zygote_process *zygote)
{
    struct zygote_request request;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec data = {.iov_base = &request, .iov_len = sizeof request};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t size = recvmsg(zygote->fd, &message, MSG_CMSG_CLOEXEC);
    if (size < 0) {
        return errno == EINTR || errno == EMFILE;
    }
    if (size != (ssize_t)sizeof request || request.slot >= zygote->slots) {
        return false;
    }
    int fds[4];
    size_t fd_count = take_descriptors(&message, fds);
    if (request.kind == ZYGOTE_KILL) {
        if (zygote->pids[request.slot] > 0) {
            kill_group(zygote->pids[request.slot]);
        }
    } else if (request.kind == ZYGOTE_SYMBOLIZE) {
        if (fd_count == 2) {
            fork_symbolizer(fds[0], fds[1]);
        }
    } else if (fd_count == request.fd_count && fd_count >= 3) {
        struct executor_fds passed = {
            .share = fds[0], .bell = fds[1], .output = fds[2], .heap = fd_count == 4 ? fds[3] : -1};
        fork_executor(zygote, request.slot, &passed);
    } else {
        struct zygote_event event = {.kind = ZYGOTE_FORK_FAILED, .slot = request.slot, .wait_status = EMFILE};
        tell(zygote, &event);
    }
    for (size_t i = 0; i < fd_count; i++) {
        close(fds[i]);
    }
    return true;
}

static unsigned find_slot(const struct zygote_process *zygote, pid_t pid)
{
    unsigned slot = 0;
    while (slot < zygote->slots && zygote->pids[slot] != pid) {
        slot++;
    }
    return slot;
}

/* The group is killed while its leader is still a zombie: its number cannot have been given to anyone else. */
static void reap_one(struct zygote_process *zygote, pid_t pid)
{
    unsigned slot = find_slot(zygote, pid);
    struct rusage usage = {0};
    int wait_status = 0;
    if (slot < zygote->slots) {
        (void)kill(-pid, SIGKILL);
    }
    if (wait4(pid, &wait_status, 0, &usage) != pid || slot == zygote->slots) {
        return; /* an orphan that some function left behind */
    }
    zygote->pids[slot] = 0;
    struct zygote_event event = {.kind = ZYGOTE_EXITED,
                                 .slot = slot,
                                 .pid = pid,
                                 .wait_status = wait_status,
                                 .max_rss_kib = (uint64_t)usage.ru_maxrss};
    tell(zygote, &event);
}

static void reap(struct zygote_process *zygote)
{
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) {
            return;
        }
        reap_one(zygote, info.si_pid);
    }
}

/* Orphans that left their group came to us (PR_SET_CHILD_SUBREAPER); they end with us. */
static void kill_orphans(void)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "re");
    int pid;
    while (children != NULL && fscanf(children, "%d", &pid) == 1) {
        (void)kill(pid, SIGKILL);
    }
    if (children != NULL) {
        (void)fclose(children);
    }
}

static void end_all(struct zygote_process *zygote)
{
    for (unsigned slot = 0; slot < zygote->slots; slot++) {
        if (zygote->pids[slot] > 0) {
            kill_group(zygote->pids[slot]);
        }
    }
    do {
        kill_orphans(); /* each may leave orphans of its own */
    } while (wait(NULL) > 0 || errno == EINTR);
}

static void isolate(struct zygote_process *zygote)
{
    (void)setsid(); /* Ctrl-C is the supervisor's business */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    detach_close_descriptors(&zygote->fd, 1);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    detach_reset_signals(&children);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
        (void)sigaction(ignored[i], &ignore, NULL);
    }
    zygote->child_fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
}

_Noreturn void zygote_main(int fd, const char *const *modules, size_t module_count, unsigned slots)
{
    struct zygote_process zygote = {.fd = fd, .slots = slots, .pids = calloc(slots, sizeof(pid_t))};
    isolate(&zygote);
    if (zygote.pids == NULL || zygote.child_fd < 0) {
        _exit(1);
    }
    /* A module may hang while it is loaded; afterwards the end of the socket is seen, and the end is in good order.
     */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    load(&zygote, modules, module_count);
    (void)prctl(PR_SET_PDEATHSIG, 0);
    for (bool go_on = true; go_on;) {
        struct pollfd sources[2] = {{.fd = zygote.fd, .events = POLLIN}, {.fd = zygote.child_fd, .events = POLLIN}};
        if (poll(sources, 2, -1) < 0) {
            continue;
        }
        if (sources[1].revents != 0) {
            struct signalfd_siginfo signals;
            (void)!read(zygote.child_fd, &signals, sizeof signals);
            reap(&zygote);
        }
        if (sources[0].revents != 0) {
            go_on = handle_request(&zygote);
        }
    }
    end_all(&zygote);
    _exit(0);
}
