#include "client/places/worker_process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "worker/companion.h"

/* Descriptors for a program started anew: beyond those that it or its loader might use by number. */
enum { INHERITED_FD_MIN = 64 };

/* The four ends, and what is shared. */
struct plumbing {
    int ours;
    int theirs;
    int ready_read;
    int ready_write;
    int heap; /* not ours to close; 0: none */
};

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void close_plumbing(struct plumbing *plumbing)
{
    close_fd(&plumbing->ours);
    close_fd(&plumbing->theirs);
    close_fd(&plumbing->ready_read);
    close_fd(&plumbing->ready_write);
}

/* A program without standard streams is given their numbers: whatever it prints would go down the worker's socket. */
static int above_standard_streams(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO) {
        return fd;
    }
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    return moved;
}

static netpool_status lay_plumbing(struct plumbing *out, netpool_error *error)
{
    int link[2];
    int ready[2];
    *out = (struct plumbing){-1, -1, -1, -1, 0};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) != 0) {
        return np_error_system(error, "cannot make a socket for the worker process");
    }
    out->ours = above_standard_streams(link[0]);
    out->theirs = above_standard_streams(link[1]);
    if (pipe2(ready, O_CLOEXEC) != 0) {
        netpool_status status = np_error_system(error, "cannot make a pipe for the worker process");
        close_plumbing(out);
        return status;
    }
    out->ready_read = above_standard_streams(ready[0]);
    out->ready_write = above_standard_streams(ready[1]);
    if (out->ours < 0 || out->theirs < 0 || out->ready_read < 0 || out->ready_write < 0) {
        netpool_status status = np_error_system(error, "cannot keep the worker process off the standard streams");
        close_plumbing(out);
        return status;
    }
    (void)fcntl(out->ready_read, F_SETFL, O_NONBLOCK);
    return NETPOOL_OK;
}

/* ThreadSanitizer has one of its own, which does not hold locks of the program. */
#if defined(__SANITIZE_THREAD__)
enum { TOOL_THREADS = 1 };
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
enum { TOOL_THREADS = 1 };
#else
enum { TOOL_THREADS = 0 };
#endif
#else
enum { TOOL_THREADS = 0 };
#endif

/* Threads of this process; 1 when it cannot be told. */
static long count_threads(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    char line[256];
    long threads = 1;
    if (status == NULL) {
        return threads;
    }
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "Threads:", 8) == 0) {
            threads = strtol(line + 8, NULL, 10);
            break;
        }
    }
    (void)fclose(status);
    return threads - TOOL_THREADS;
}

static struct companion describe(const struct settings *settings, int link_fd, int ready_fd, int heap_fd)
{
    return (struct companion){.link_fd = link_fd,
                              .ready_fd = ready_fd,
                              .heap_fd = heap_fd,
                              .slots = settings->slots,
                              .max_payload = settings->max_payload,
                              .name = settings->name,
                              .modules = settings->modules};
}

static netpool_status start_by_fork(pid_t *pid, const struct settings *settings, const struct plumbing *plumbing,
                                    netpool_error *error)
{
    long threads = count_threads();
    if (threads > 1) {
        return np_error_set(error, NETPOOL_UNSUPPORTED,
                            "this program has %ld threads and can no longer be forked: open the local pool before "
                            "starting threads, or use start_method NETPOOL_START_SPAWN or NETPOOL_START_MODULE, or "
                            "threads:N",
                            threads);
    }
    *pid = fork();
    if (*pid < 0) {
        return np_error_system(error, "cannot fork the worker process");
    }
    if (*pid == 0) {
        struct companion companion = describe(settings, plumbing->theirs, plumbing->ready_write, plumbing->heap);
        companion_run(&companion);
    }
    return NETPOOL_OK;
}

/* The first of the places where netpool-worker may be; out has room for PATH_MAX. False: ask PATH. */
static bool find_worker_program(char out[4096])
{
    const char *given = getenv("NETPOOL_WORKER");
    if (given != NULL && given[0] != '\0') {
        return (size_t)snprintf(out, 4096, "%s", given) < 4096;
    }
    static const char *const places[] = {"netpool-worker", "../bin/netpool-worker", "../../bin/netpool-worker"};
    Dl_info library = {0};
    char self[4096] = "";
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    /* Beside this library, or beside the program. */
    bool is_known = dladdr((void *)(uintptr_t)&find_worker_program, &library) != 0;
    const char *bases[2] = {is_known ? library.dli_fname : NULL, self};
    for (size_t b = 0; b < 2; b++) {
        const char *slash = bases[b] != NULL ? strrchr(bases[b], '/') : NULL;
        for (size_t i = 0; slash != NULL && i < sizeof places / sizeof places[0]; i++) {
            int size = snprintf(out, 4096, "%.*s/%s", (int)(slash - bases[b]), bases[b], places[i]);
            if (size > 0 && size < 4096 && access(out, X_OK) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Inherited descriptors keep their numbers: duplicates without close-on-exec are made in the child. */
static int spawn_companion(pid_t *pid, const struct settings *settings, const char *program, bool search,
                           const struct plumbing *plumbing)
{
    const int given[] = {plumbing->theirs, plumbing->ready_write, plumbing->heap};
    enum { GIVEN = sizeof given / sizeof given[0] };
    int fds[GIVEN] = {0};
    int failed = 0;
    for (int i = 0; i < GIVEN; i++) {
        fds[i] = given[i] > 0 ? fcntl(given[i], F_DUPFD_CLOEXEC, INHERITED_FD_MIN) : 0;
        failed = fds[i] < 0 ? EMFILE : failed;
    }
    struct companion companion = describe(settings, fds[0], fds[1], fds[2]);
    char **arguments = companion_arguments(&companion, program);
    failed = arguments == NULL ? ENOMEM : failed;
    if (failed == 0) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none;
        sigset_t all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawn_file_actions_init(&actions);
        for (int i = 0; i < GIVEN; i++) {
            if (fds[i] > 0) { /* a descriptor duplicated onto itself loses its close-on-exec flag in the child */
                posix_spawn_file_actions_adddup2(&actions, fds[i], fds[i]);
            }
        }
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        failed = search ? posix_spawnp(pid, program, &actions, &attributes, arguments, environ)
                        : posix_spawn(pid, program, &actions, &attributes, arguments, environ);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
    }
    free(arguments);
    for (int i = 0; i < GIVEN; i++) {
        if (fds[i] > 0) {
            close(fds[i]);
        }
    }
    return failed;
}

static netpool_status start_anew(pid_t *pid, const struct settings *settings, const struct plumbing *plumbing,
                                 netpool_error *error)
{
    char program[4096] = "/proc/self/exe";
    bool search = false;
    if (settings->start_method == NETPOOL_START_SPAWN && companion_is_due()) {
        return np_error_set(error, NETPOOL_UNSUPPORTED,
                            "this process was started by a pool, to serve it (NETPOOL_START_SPAWN), and starts no "
                            "others: call netpool_init(&argc, &argv) first in main");
    }
    if (settings->start_method == NETPOOL_START_MODULE && !find_worker_program(program)) {
        (void)strcpy(program, "netpool-worker");
        search = true;
    }
    int failed = spawn_companion(pid, settings, program, search, plumbing);
    if (failed != 0) {
        return np_error_set(error, NETPOOL_SYSTEM, "cannot start the worker process %s: %s", program,
                            strerror(failed));
    }
    return NETPOOL_OK;
}

netpool_status worker_process_start(struct worker_process *out, const struct settings *settings, int heap_fd,
                                    netpool_error *error)
{
    struct plumbing plumbing;
    netpool_status status = lay_plumbing(&plumbing, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    plumbing.heap = heap_fd;
    pid_t pid = 0;
    if (settings->start_method == NETPOOL_START_FORK) {
        status = start_by_fork(&pid, settings, &plumbing, error);
    } else {
        status = start_anew(&pid, settings, &plumbing, error);
    }
    if (status != NETPOOL_OK) {
        close_plumbing(&plumbing);
        return status;
    }
    close_fd(&plumbing.theirs);
    close_fd(&plumbing.ready_write);
    *out = (struct worker_process){.pid = pid, .link_fd = plumbing.ours, .ready_fd = plumbing.ready_read};
    out->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    out->is_unwatched = out->pidfd < 0 && errno == ENOSYS;
    if (out->pidfd < 0 && errno != ESRCH && errno != ENOSYS) {
        status = np_error_system(error, "cannot watch the worker process");
        (void)kill(pid, SIGKILL); /* the number is still its own, or we had got ESRCH */
        worker_process_end(out, 0, NULL);
    }
    return status;
}

/* True when the process has ended within the time. */
static bool wait_for_end(int pidfd, int64_t grace_ns)
{
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    int64_t deadline = np_clock_now() + grace_ns;
    int ready;
    do {
        int64_t left = deadline - np_clock_now();
        ready = poll(&ended, 1, left > 0 ? (int)(left / NP_NS_PER_MS) + 1 : 0);
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

void worker_process_end(struct worker_process *process, int64_t grace_ns, char how[64])
{
    close_fd(&process->link_fd);
    close_fd(&process->ready_fd);
    if (process->pid <= 0) {
        return;
    }
    /* Without a pidfd, where there are pidfds, it was gone before we had one: its number may be another's by now. */
    if (process->is_unwatched) {
        (void)kill(process->pid, SIGKILL);
    } else if (process->pidfd >= 0 && !wait_for_end(process->pidfd, grace_ns)) {
        (void)syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
    }
    close_fd(&process->pidfd);
    int status = 0;
    pid_t reaped;
    do {
        reaped = waitpid(process->pid, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    if (how != NULL) {
        if (reaped < 0) {
            (void)snprintf(how, 64, "reaped by the program itself");
        } else if (WIFSIGNALED(status)) {
            (void)snprintf(how, 64, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        } else {
            (void)snprintf(how, 64, "exit status %d", WEXITSTATUS(status));
        }
    }
    process->pid = 0;
}

bool worker_process_can_restart(const struct settings *settings)
{
    return settings->start_method != NETPOOL_START_FORK;
}
