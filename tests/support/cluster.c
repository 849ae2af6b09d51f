#include "tests/support/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/ca/authority.h"
#include "tests/support/cmocka_all.h"

enum { ARGUMENTS_MAX = 40, READY_FD = 3 };

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static void run_child(const char *const *arguments, int ready_fd)
{
    char *argv[ARGUMENTS_MAX + 3];
    size_t count = 0;
    for (; arguments[count] != NULL; count++) {
        argv[count] = (char *)(uintptr_t)arguments[count]; /* exec takes them as they are */
    }
    char option[] = "--ready-fd";
    char number[] = "3";
    argv[count] = option;
    argv[count + 1] = number;
    argv[count + 2] = NULL;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(ready_fd, READY_FD) == READY_FD) {
        (void)execv(argv[0], argv);
    }
    _exit(127);
}

/* Starts the program and waits for the end of its report, which goes to `line`. */
static pid_t start(const char *const *arguments, char *line, size_t size)
{
    int ready[2];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    int writer = fcntl(ready[1], F_DUPFD_CLOEXEC, 10); /* away from the number it is to get */
    assert_true(writer >= 0);
    close(ready[1]);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        run_child(arguments, writer);
    }
    close(writer);
    size_t got = 0;
    ssize_t more;
    while (got < size - 1 && (more = read(ready[0], line + got, size - 1 - got)) > 0) {
        got += (size_t)more;
    }
    line[got] = '\0';
    close(ready[0]);
    return pid;
}

static int end(pid_t pid, int signal_number)
{
    int status;
    assert_int_equal(kill(pid, signal_number), 0);
    while (waitpid(pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void text(char *out, size_t size, const char *format, ...) NETPOOL_PRINTF(3, 4);

static void text(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    assert_true(length > 0 && (size_t)length < size);
}

static void make_certificates(struct cluster *cluster)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    netpool_error error = {0};
    if (ca_init(cluster->directory, "test", &error) != NETPOOL_OK ||
        ca_issue(cluster->directory, NP__ROLE__BROKER, "broker", hosts, 2, &error) != NETPOOL_OK ||
        ca_issue(cluster->directory, NP__ROLE__WORKER, "worker", NULL, 0, &error) != NETPOOL_OK ||
        ca_issue(cluster->directory, NP__ROLE__CLIENT, "client", NULL, 0, &error) != NETPOOL_OK) {
        fail_msg("certificates: %s", error.message);
    }
    text(cluster->ca, sizeof cluster->ca, "%s/ca.pem", cluster->directory);
    text(cluster->cert, sizeof cluster->cert, "%s/client-client.pem", cluster->directory);
    text(cluster->key, sizeof cluster->key, "%s/client-client.key", cluster->directory);
}

static void start_broker(struct cluster *cluster, const char *listen)
{
    char cert[128];
    char key[128];
    char line[300];
    text(cert, sizeof cert, "%s/broker-broker.pem", cluster->directory);
    text(key, sizeof key, "%s/broker-broker.key", cluster->directory);
    const char *const tls[] = {NETPOOL_BROKER, "--listen", listen, "--ca",        cluster->ca, "--cert",
                               cert,           "--key",    key,    "--log-level", "error",     NULL};
    const char *const ipc[] = {NETPOOL_BROKER, "--ipc", listen, "--log-level", "error", NULL};
    cluster->broker = start(cluster->kind == CLUSTER_TLS ? tls : ipc, line, sizeof line);
    if (strncmp(line, "listening ", 10) != 0) {
        fail_msg("the broker did not start: %s", line);
    }
    if (cluster->kind == CLUSTER_TLS) {
        const char *colon = strrchr(line, ':');
        assert_non_null(colon);
        text(cluster->url, sizeof cluster->url, "tls://127.0.0.1:%lu", strtoul(colon + 1, NULL, 10));
    } else {
        text(cluster->url, sizeof cluster->url, "ipc://%s", listen);
    }
}

unsigned cluster_add_worker_with(struct cluster *cluster, unsigned slots_wanted, const char *labels)
{
    char cert[128];
    char key[128];
    char slots[16];
    char name[32];
    char line[600];
    char label_texts[256];
    unsigned index = cluster->worker_count++;
    assert_true(index < CLUSTER_WORKERS_MAX);
    text(cert, sizeof cert, "%s/worker-worker.pem", cluster->directory);
    text(key, sizeof key, "%s/worker-worker.key", cluster->directory);
    text(slots, sizeof slots, "%u", slots_wanted);
    text(name, sizeof name, "worker-%u", index + 1);
    const char *arguments[ARGUMENTS_MAX] = {NETPOOL_WORKER, "--url", cluster->url, "--name",        name,
                                            "--slots",      slots,   "--module",   cluster->module, "--log-level",
                                            "error"};
    size_t count = 11;
    if (cluster->kind == CLUSTER_TLS) {
        const char *const credentials[] = {"--ca", cluster->ca, "--cert", cert, "--key", key};
        memcpy(arguments + count, credentials, sizeof credentials);
        count += 6;
    }
    text(label_texts, sizeof label_texts, "%s,", labels);
    char *rest = label_texts;
    for (char *label = strtok_r(rest, ",", &rest); label != NULL; label = strtok_r(NULL, ",", &rest)) {
        assert_true(count < ARGUMENTS_MAX - 2);
        arguments[count++] = "--label";
        arguments[count++] = label;
    }
    cluster->workers[index] = start(arguments, line, sizeof line);
    if (strcmp(line, "\n") != 0) {
        fail_msg("a worker did not start: %s", line);
    }
    return index;
}

void cluster_add_worker(struct cluster *cluster)
{
    (void)cluster_add_worker_with(cluster, cluster->slots, "");
}

void cluster_remove_worker(struct cluster *cluster, unsigned index)
{
    assert_int_equal(end(cluster->workers[index], SIGTERM), 0);
    cluster->workers[index] = 0;
}

void cluster_interrupt_worker(struct cluster *cluster, unsigned index)
{
    assert_int_equal(kill(cluster->workers[index], SIGTERM), 0);
    assert_int_not_equal(end(cluster->workers[index], SIGINT), 0);
    cluster->workers[index] = 0;
}

void cluster_start(struct cluster *cluster, enum cluster_kind kind, unsigned workers, unsigned slots,
                   const char *module)
{
    *cluster = (struct cluster){.kind = kind, .slots = slots, .module = module};
    const char *base = getenv("TMPDIR");
    text(cluster->directory, sizeof cluster->directory, "%.40s/netpool-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(cluster->directory));
    char socket[96];
    text(socket, sizeof socket, "%s/broker.socket", cluster->directory);
    if (kind == CLUSTER_TLS) {
        make_certificates(cluster);
    }
    start_broker(cluster, kind == CLUSTER_TLS ? "127.0.0.1:0" : socket);
    for (unsigned i = 0; i < workers; i++) {
        cluster_add_worker(cluster);
    }
}

void cluster_stop(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->worker_count; i++) {
        if (cluster->workers[i] > 0) {
            assert_int_equal(end(cluster->workers[i], SIGTERM), 0);
        }
    }
    if (cluster->broker > 0) {
        assert_int_equal(end(cluster->broker, SIGTERM), 0);
    }
    assert_int_equal(nftw(cluster->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void cluster_kill_broker(struct cluster *cluster)
{
    assert_int_equal(end(cluster->broker, SIGKILL), 128 + SIGKILL);
    cluster->broker = 0;
}

void cluster_restart_broker(struct cluster *cluster)
{
    char listen[128];
    text(listen, sizeof listen, "%s", cluster->url + 6); /* behind "tls://" or "ipc://" */
    start_broker(cluster, listen);
}

void cluster_kill_worker(struct cluster *cluster, unsigned index)
{
    assert_int_equal(end(cluster->workers[index], SIGKILL), 128 + SIGKILL);
    cluster->workers[index] = 0;
}

void cluster_options(const struct cluster *cluster, netpool_options *options)
{
    if (cluster->kind == CLUSTER_TLS) {
        options->ca = cluster->ca;
        options->cert = cluster->cert;
        options->key = cluster->key;
    }
}
