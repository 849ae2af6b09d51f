#include "tests/support/broker_process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/support/cmocka_all.h"

enum { ARGUMENTS_MAX = 48, PATIENCE_MS = 20000 };

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void test_directory_make(char out[64])
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(out, 64, "%.40s/netpool-test-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(out));
}

void test_directory_remove(const char *path)
{
    assert_int_equal(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void run_child(const char *const *arguments, int ready_fd, int log_fd, unsigned descriptors)
{
    const char *argv[ARGUMENTS_MAX] = {NETPOOL_BROKER, "--ready-fd", "3"};
    size_t count = 3;
    for (size_t i = 0; arguments[i] != NULL && count < ARGUMENTS_MAX - 1; i++) {
        argv[count++] = arguments[i];
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(log_fd, STDERR_FILENO) < 0 || dup2(ready_fd, 3) < 0) {
        _exit(126);
    }
    if (descriptors > 0) {
        struct rlimit limit = {descriptors, descriptors};
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)execv(NETPOOL_BROKER, (char *const *)argv);
    _exit(127);
}

/* Returns the read end of the ready pipe. */
static int spawn(struct broker_process *broker, const char *const *arguments, unsigned descriptors)
{
    int ready[2];
    int log[2];
    *broker = (struct broker_process){0};
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(log, O_CLOEXEC), 0);
    /* The child puts the pipe at 3, so nothing of ours that it must copy first may be there. */
    int ready_end = fcntl(ready[1], F_DUPFD_CLOEXEC, 10);
    int log_end = fcntl(log[1], F_DUPFD_CLOEXEC, 10);
    assert_true(ready_end >= 0 && log_end >= 0);
    close(ready[1]);
    close(log[1]);
    broker->pid = fork();
    assert_true(broker->pid >= 0);
    if (broker->pid == 0) {
        run_child(arguments, ready_end, log_end, descriptors);
    }
    close(ready_end);
    close(log_end);
    broker->log_fd = log[0];
    (void)fcntl(broker->log_fd, F_SETFL, O_NONBLOCK);
    return ready[0];
}

static void read_log(struct broker_process *broker)
{
    ssize_t got;
    while (broker->log_size < sizeof broker->log - 1 && (got = read(broker->log_fd, broker->log + broker->log_size,
                                                                    sizeof broker->log - 1 - broker->log_size)) > 0) {
        broker->log_size += (size_t)got;
    }
    broker->log[broker->log_size] = '\0';
}

static int wait_for_end(struct broker_process *broker)
{
    int status;
    int64_t deadline = np_clock_now() + PATIENCE_MS * NP_NS_PER_MS;
    struct pollfd log = {.fd = broker->log_fd, .events = POLLIN};
    for (;;) { /* its log ends with it */
        read_log(broker);
        if (poll(&log, 1, 100) > 0 && (log.revents & (POLLIN | POLLHUP)) == POLLHUP) {
            break;
        }
        if (np_clock_now() > deadline) {
            (void)kill(broker->pid, SIGKILL);
            (void)waitpid(broker->pid, &status, 0);
            fail_msg("the broker did not end; its log:\n%s", broker->log);
        }
    }
    assert_int_equal(waitpid(broker->pid, &status, 0), broker->pid);
    close(broker->log_fd);
    broker->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void broker_start(struct broker_process *broker, const char *const *arguments, unsigned descriptors)
{
    char line[300];
    size_t size = 0;
    int ready = spawn(broker, arguments, descriptors);
    ssize_t got;
    while (size < sizeof line - 1 && (got = read(ready, line + size, sizeof line - 1 - size)) > 0) {
        size += (size_t)got;
    }
    close(ready);
    line[size] = '\0';
    if (strncmp(line, "listening ", 10) != 0) {
        (void)wait_for_end(broker);
        fail_msg("the broker did not start; its log:\n%s", broker->log);
    }
    const char *colon = strchr(line, ':');
    if (colon != NULL && isdigit((unsigned char)colon[1])) {
        (void)snprintf(broker->port, sizeof broker->port, "%lu", strtoul(colon + 1, NULL, 10));
    }
}

int broker_start_failing(struct broker_process *broker, const char *const *arguments)
{
    close(spawn(broker, arguments, 0));
    return wait_for_end(broker);
}

void broker_expect_log(struct broker_process *broker, const char *text)
{
    int64_t deadline = np_clock_now() + PATIENCE_MS * NP_NS_PER_MS;
    struct pollfd log = {.fd = broker->log_fd, .events = POLLIN};
    for (;;) {
        read_log(broker);
        if (strstr(broker->log, text) != NULL) {
            return;
        }
        int result = poll(&log, 1, 200);
        if (np_clock_now() > deadline || (result > 0 && (log.revents & (POLLIN | POLLHUP)) == POLLHUP)) {
            fail_msg("'%s' did not appear in the broker's log:\n%s", text, broker->log);
        }
    }
}

int broker_stop(struct broker_process *broker, int signal_number)
{
    assert_int_equal(kill(broker->pid, signal_number), 0);
    return wait_for_end(broker);
}

long broker_cpu_ms(const struct broker_process *broker)
{
    char path[64];
    char line[1024] = "";
    unsigned long user = 0;
    unsigned long system = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)broker->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    (void)fclose(file);
    const char *rest = strrchr(line, ')'); /* the name may hold anything; utime and stime are fields 14 and 15 */
    assert_non_null(rest);
    assert_int_equal(sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
    return (long)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

static long thread_sleeps(const char *task, const char *thread)
{
    char path[400];
    char line[256];
    long count = 0;
    (void)snprintf(path, sizeof path, "%s/%s/status", task, thread);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "voluntary_ctxt_switches: %ld", &count);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return count;
}

long broker_sleeps(const struct broker_process *broker)
{
    char path[64];
    long count = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)broker->pid);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        count += entry->d_name[0] != '.' ? thread_sleeps(path, entry->d_name) : 0;
    }
    (void)closedir(directory);
    return count;
}

long broker_peak_kib(const struct broker_process *broker)
{
    char path[64];
    char line[256];
    long peak = -1;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)broker->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (peak < 0 && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "VmHWM: %ld kB", &peak);
    }
    (void)fclose(file);
    assert_true(peak > 0);
    return peak;
}
