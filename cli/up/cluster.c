#include "cli/up/cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "common/clock.h"
#include "common/error.h"

#define READY_TIMEOUT_MS 30000
#define STOP_TIMEOUT_MS 5000

/* A program of ours: beside this one, else in PATH. */
static netpool_status find_program(const char *name, char *path, size_t size, netpool_error *error)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length > 0) {
        self[length] = '\0';
        *strrchr(self, '/') = '\0';
        if ((size_t)snprintf(path, size, "%s/%s", self, name) < size && access(path, X_OK) == 0) {
            return NETPOOL_OK;
        }
    }
    const char *next = getenv("PATH");
    while (next != NULL && *next != '\0') {
        size_t part = strcspn(next, ":");
        if ((size_t)snprintf(path, size, "%.*s/%s", (int)part, next, name) < size && access(path, X_OK) == 0) {
            return NETPOOL_OK;
        }
        next += part + (next[part] == ':');
    }
    return np_error_set(error, NETPOOL_SYSTEM, "%s is neither beside the netpool program nor in PATH", name);
}

static void log_path(const struct cluster *cluster, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/log/%ld-%s.log", cluster->options.state, (long)getpid(), name);
}

/* Handles one signal; NETPOOL_CANCELLED unless it was only SIGCHLD. */
static netpool_status take_signal(int signal_fd, int *signal_number, netpool_error *error)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof info) == sizeof info && info.ssi_signo != SIGCHLD) {
        *signal_number = (int)info.ssi_signo;
        return np_error_set(error, NETPOOL_CANCELLED, "interrupted");
    }
    return NETPOOL_OK;
}

/* Waits until this child has closed its readiness pipe. */
static netpool_status await_ready(struct child *child, int64_t deadline_ns, int signal_fd, int *signal_number,
                                  netpool_error *error)
{
    while (!child_hear(child)) {
        int64_t left_ms = (deadline_ns - np_clock_now()) / 1000000;
        if (left_ms <= 0) {
            return np_error_set(error, NETPOOL_TIMEOUT, "%s is not ready after %d s (log: %s)", child->name,
                                READY_TIMEOUT_MS / 1000, child->log_path);
        }
        struct pollfd polls[2] = {{.fd = child->ready_fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
        poll(polls, 2, (int)left_ms);
        if (polls[1].revents != 0) {
            netpool_status status = take_signal(signal_fd, signal_number, error);
            if (status != NETPOOL_OK) {
                return status;
            }
        }
    }
    return NETPOOL_OK;
}

static netpool_status not_ready(struct child *child, netpool_error *error)
{
    char text[512];
    if (!child_wait(child, STOP_TIMEOUT_MS)) {
        return np_error_set(error, NETPOOL_SYSTEM, "%s will not start: %.*s (log: %s)", child->name,
                            (int)strcspn(child->ready_text, "\n"), child->ready_text, child->log_path);
    }
    child_describe_end(child, text, sizeof text);
    return np_error_set(error, NETPOOL_SYSTEM, "%s", text);
}

static netpool_status start_broker(struct cluster *cluster, int signal_fd, int *signal_number, netpool_error *error)
{
    struct credentials *credentials = &cluster->credentials;
    struct child *child = &cluster->children[0];
    char program[PATH_MAX];
    char log[CHILD_PATH_MAX];
    char listen[32];
    unsigned port;
    char *argv[] = {"netpool-broker",
                    "--listen",
                    listen,
                    "--ca",
                    credentials->ca,
                    "--cert",
                    credentials->broker.cert,
                    "--key",
                    credentials->broker.key,
                    NULL};

    netpool_status status = find_program("netpool-broker", program, sizeof program, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    snprintf(listen, sizeof listen, "127.0.0.1:%" PRIu64, cluster->options.port);
    log_path(cluster, "broker", log, sizeof log);
    status = child_start(child, "the broker", log, program, argv, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    cluster->count = 1;
    int64_t deadline_ns = np_clock_now() + READY_TIMEOUT_MS * INT64_C(1000000);
    status = await_ready(child, deadline_ns, signal_fd, signal_number, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    const char *colon = strrchr(child->ready_text, ':');
    if (strstr(child->ready_text, "127.0.0.1:") == NULL || sscanf(colon + 1, "%5u", &port) != 1 || port == 0) {
        return not_ready(child, error);
    }
    child->is_ready = true;
    snprintf(cluster->url, sizeof cluster->url, "tls://127.0.0.1:%u", port);
    return NETPOOL_OK;
}

/* Appends `option VALUE` for each value. */
static netpool_status append_options(char **argv, size_t *count, char *option, const char *const *values,
                                     netpool_error *error)
{
    for (; *values != NULL; values++) {
        if (*count + 2 > CHILD_ARGUMENTS_MAX) {
            return np_error_set(error, NETPOOL_INVALID, "too many modules and labels");
        }
        argv[(*count)++] = option;
        argv[(*count)++] = (char *)(uintptr_t)*values;
    }
    return NETPOOL_OK;
}

static netpool_status start_worker(struct cluster *cluster, const char *program, unsigned number,
                                   netpool_error *error)
{
    struct credentials *credentials = &cluster->credentials;
    struct credential credential;
    char *argv[CHILD_ARGUMENTS_MAX + 1] = {"netpool-worker", "--url",  cluster->url,    "--ca",
                                           credentials->ca,  "--cert", credential.cert, "--key",
                                           credential.key,   "--slots"};
    size_t count = 10;
    char slots[16];
    char name[32];
    char shown[64];
    char log[CHILD_PATH_MAX];

    netpool_status status = credentials_worker(credentials, number, &credential, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    snprintf(slots, sizeof slots, "%u", cluster->options.slots);
    snprintf(name, sizeof name, "worker-%u", number);
    snprintf(shown, sizeof shown, "worker %u", number);
    argv[count++] = slots;
    argv[count++] = "--name";
    argv[count++] = name;
    status = append_options(argv, &count, "--module", cluster->options.modules, error);
    if (status == NETPOOL_OK) {
        status = append_options(argv, &count, "--label", cluster->options.labels, error);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    log_path(cluster, name, log, sizeof log);
    status = child_start(&cluster->children[cluster->count], shown, log, program, argv, error);
    cluster->count += status == NETPOOL_OK;
    return status;
}

static netpool_status start_workers(struct cluster *cluster, int signal_fd, int *signal_number, netpool_error *error)
{
    char program[PATH_MAX];
    netpool_status status = find_program("netpool-worker", program, sizeof program, error);
    for (unsigned i = 1; i <= cluster->options.workers && status == NETPOOL_OK; i++) {
        status = start_worker(cluster, program, i, error);
    }
    int64_t deadline_ns = np_clock_now() + READY_TIMEOUT_MS * INT64_C(1000000);
    for (size_t i = 1; i < cluster->count && status == NETPOOL_OK; i++) {
        struct child *child = &cluster->children[i];
        status = await_ready(child, deadline_ns, signal_fd, signal_number, error);
        if (status == NETPOOL_OK) {
            child->is_ready = strcmp(child->ready_text, "\n") == 0;
            status = child->is_ready ? NETPOOL_OK : not_ready(child, error);
        }
    }
    return status;
}

netpool_status cluster_start(struct cluster *cluster, const struct cluster_options *options, int signal_fd,
                             int *signal_number, netpool_error *error)
{
    char logs[CHILD_PATH_MAX];
    *cluster = (struct cluster){.options = *options};
    cluster->children = calloc((size_t)options->workers + 1, sizeof *cluster->children);
    if (cluster->children == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    snprintf(logs, sizeof logs, "%s/log", options->state);
    if (mkdir(logs, 0700) != 0 && errno != EEXIST) {
        return np_error_system(error, "%s", logs);
    }
    netpool_status status = credentials_prepare(&cluster->credentials, options->state, error);
    if (status == NETPOOL_OK) {
        status = start_broker(cluster, signal_fd, signal_number, error);
    }
    if (status == NETPOOL_OK) {
        status = start_workers(cluster, signal_fd, signal_number, error);
    }
    return status;
}

bool cluster_look(struct cluster *cluster)
{
    size_t workers_left = 0;
    for (size_t i = 0; i < cluster->count; i++) {
        struct child *child = &cluster->children[i];
        if (child_reap(child)) {
            char text[1024];
            child_describe_end(child, text, sizeof text);
            complain("%s", text);
        }
        workers_left += i > 0 && child->pid != 0;
    }
    return cluster->children[0].pid != 0 && workers_left > 0;
}

static void end_child(struct child *child, int64_t deadline_ns)
{
    int64_t left_ms = (deadline_ns - np_clock_now()) / 1000000;
    if (child->pid != 0 && !child_wait(child, left_ms > 0 ? (int)left_ms : 0)) {
        kill(child->pid, SIGKILL);
        child_wait(child, STOP_TIMEOUT_MS);
    }
}

static void signal_child(const struct child *child)
{
    if (child->pid != 0) {
        kill(child->pid, SIGTERM);
    }
}

void cluster_stop(struct cluster *cluster, bool keep_logs)
{
    int64_t deadline_ns = np_clock_now() + STOP_TIMEOUT_MS * INT64_C(1000000);
    for (size_t i = 1; i < cluster->count; i++) {
        signal_child(&cluster->children[i]);
    }
    for (size_t i = 1; i < cluster->count; i++) {
        end_child(&cluster->children[i], deadline_ns);
    }
    if (cluster->count > 0) {
        signal_child(&cluster->children[0]);
        end_child(&cluster->children[0], np_clock_now() + STOP_TIMEOUT_MS * INT64_C(1000000));
    }
    for (size_t i = 0; i < cluster->count; i++) {
        child_hear(&cluster->children[i]);
        if (!keep_logs) {
            unlink(cluster->children[i].log_path);
        }
    }
    free(cluster->children);
    *cluster = (struct cluster){0};
}
