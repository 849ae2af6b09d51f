#include "cli/up/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/error.h"

#define LAST_WORDS_MAX 400
#define EXIT_NOT_RUN 127

/* Only async-signal-safe calls from here to exec. */
_Noreturn static void become(const char *program, char *const argv[], int log_fd, int ready_fd, pid_t parent)
{
    static const char said[] = "cannot run it: ";
    sigset_t none;
    sigemptyset(&none);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) { /* it died before the line above */
        _exit(EXIT_NOT_RUN);
    }
    setpgid(0, 0);
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd >= 0 && dup2(null_fd, STDIN_FILENO) >= 0 && dup2(log_fd, STDOUT_FILENO) >= 0 &&
        dup2(log_fd, STDERR_FILENO) >= 0 && fcntl(ready_fd, F_SETFD, 0) == 0) {
        sigprocmask(SIG_SETMASK, &none, NULL);
        execv(program, argv);
    }
    const char *why = strerrordesc_np(errno);
    if (write(ready_fd, said, sizeof said - 1) < 0 || write(ready_fd, why, strlen(why)) < 0) {
        _exit(EXIT_NOT_RUN); /* nobody listens any more */
    }
    _exit(EXIT_NOT_RUN);
}

netpool_status child_start(struct child *child, const char *name, const char *log_path, const char *program,
                           char *const argv[], netpool_error *error)
{
    char *arguments[CHILD_ARGUMENTS_MAX + 3];
    char option[] = "--ready-fd";
    char ready_fd_text[16];
    int ready[2];
    size_t count = 0;

    *child = (struct child){.ready_fd = -1};
    snprintf(child->name, sizeof child->name, "%s", name);
    snprintf(child->log_path, sizeof child->log_path, "%s", log_path);
    while (count < CHILD_ARGUMENTS_MAX && argv[count] != NULL) {
        arguments[count] = argv[count];
        count++;
    }
    if (argv[count] != NULL) {
        return np_error_set(error, NETPOOL_INVALID, "%s: more than %d arguments", name, CHILD_ARGUMENTS_MAX);
    }
    int log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) {
        return np_error_system(error, "%s", log_path);
    }
    if (pipe2(ready, O_CLOEXEC) != 0) {
        close(log_fd);
        return np_error_system(error, "pipe");
    }
    snprintf(ready_fd_text, sizeof ready_fd_text, "%d", ready[1]);
    arguments[count] = option;
    arguments[count + 1] = ready_fd_text;
    arguments[count + 2] = NULL;
    pid_t parent = getpid();
    child->pid = fork();
    if (child->pid == 0) {
        become(program, arguments, log_fd, ready[1], parent);
    }
    int fork_errno = errno;
    close(log_fd);
    close(ready[1]);
    if (child->pid < 0) {
        child->pid = 0;
        close(ready[0]);
        errno = fork_errno;
        return np_error_system(error, "starting %s", name);
    }
    fcntl(ready[0], F_SETFL, O_NONBLOCK);
    child->ready_fd = ready[0];
    return NETPOOL_OK;
}

bool child_hear(struct child *child)
{
    while (child->ready_fd >= 0) {
        size_t size = strlen(child->ready_text);
        char rest[256];
        ssize_t got = read(child->ready_fd, rest, sizeof rest - 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return false;
        }
        if (got <= 0) {
            close(child->ready_fd);
            child->ready_fd = -1;
            return true;
        }
        rest[got] = '\0';
        snprintf(child->ready_text + size, sizeof child->ready_text - size, "%s", rest);
    }
    return true;
}

bool child_reap(struct child *child)
{
    if (child->pid == 0 || waitpid(child->pid, &child->wait_status, WNOHANG) != child->pid) {
        return false;
    }
    child->pid = 0;
    return true;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool child_wait(struct child *child, int timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms;
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    while (child->pid != 0 && !child_reap(child)) {
        int64_t left = deadline - now_ms();
        if (left <= 0) {
            return false;
        }
        struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
        sigtimedwait(&chld, NULL, &wait);
    }
    return true;
}

/* The last line of the log that is not empty. */
static void read_last_words(const char *log_path, char *words, size_t size)
{
    char tail[LAST_WORDS_MAX];
    words[0] = '\0';
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    off_t end = lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)sizeof tail - 1 ? end - (off_t)sizeof tail + 1 : 0;
    ssize_t got = pread(fd, tail, sizeof tail - 1, from);
    close(fd);
    while (got > 0 && tail[got - 1] == '\n') {
        got--;
    }
    if (got <= 0) {
        return;
    }
    tail[got] = '\0';
    const char *line = memrchr(tail, '\n', (size_t)got);
    snprintf(words, size, "%s", line != NULL ? line + 1 : tail);
}

void child_describe_end(const struct child *child, char *text, size_t size)
{
    char words[LAST_WORDS_MAX];
    char how[64];
    read_last_words(child->log_path, words, sizeof words);
    if (WIFSIGNALED(child->wait_status)) {
        const char *signal_name = sigabbrev_np(WTERMSIG(child->wait_status));
        snprintf(how, sizeof how, "was ended by SIG%s", signal_name != NULL ? signal_name : "?");
    } else {
        snprintf(how, sizeof how, "ended with status %d", WEXITSTATUS(child->wait_status));
    }
    const char *said = child->is_ready || child->ready_text[0] == '\0' ? words : child->ready_text;
    snprintf(text, size, "%s %s%s%.*s (log: %s)", child->name, how, said[0] != '\0' ? ": " : "",
             (int)strcspn(said, "\n"), said, child->log_path);
}
