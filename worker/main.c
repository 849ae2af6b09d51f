#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

#include "common/error.h"
#include "common/log.h"
#include "common/streams.h"
#include "transport/ipc.h"
#include "transport/tls.h"
#include "worker/command_line.h"
#include "worker/companion.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_POOL = 3 };

/* How the broker is reached. */
struct way {
    const struct command_line *command_line;
    struct tls_context *tls; /* the latest good credentials */
    void *zmq;
};

/* Certificates are renewed while a worker runs: each connection takes what the files hold then, and the old pair
 * where they cannot be used. */
static netpool_status load_credentials(struct way *way, netpool_error *error)
{
    struct tls_context *fresh = NULL;
    netpool_status status = tls_context_new(&fresh, &way->command_line->files, NP__ROLE__WORKER, error);
    if (status == NETPOOL_OK) {
        tls_context_destroy(&way->tls);
        way->tls = fresh;
    }
    return status;
}

static netpool_status connect_to_broker(void *context, struct link **out, netpool_error *error)
{
    struct way *way = context;
    const struct np_url *url = &way->command_line->url;
    if (url->kind == NP_URL_IPC) {
        return ipc_link_connect(out, way->zmq, url->path, error);
    }
    netpool_error local;
    if (load_credentials(way, &local) != NETPOOL_OK) {
        np_log(NP_LOG_WARNING, "worker", "the credentials stay as they were: %s", local.message);
    }
    return tls_link_connect(out, way->tls, url->host, url->port, error);
}

static netpool_status prepare(struct way *way, netpool_error *error)
{
    if (way->command_line->url.kind == NP_URL_TLS) {
        return load_credentials(way, error);
    }
    way->zmq = zmq_ctx_new();
    return way->zmq != NULL ? NETPOOL_OK : np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
}

/* Each executor takes three here. Not before the zygote exists: functions keep the usual limit. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void say_not_ready(int fd, const char *reason)
{
    if (fd >= 0) {
        (void)!write(fd, reason, strlen(reason));
        (void)!write(fd, "\n", 1);
    }
}

static int exit_code(netpool_status status)
{
    switch (status) {
    case NETPOOL_OK:
        return EXIT_SUCCESS;
    case NETPOOL_INVALID:
        return EXIT_USAGE;
    case NETPOOL_UNREACHABLE:
    case NETPOOL_REFUSED:
    case NETPOOL_PROTOCOL:
    case NETPOOL_CREDENTIALS:
        return EXIT_POOL;
    default:
        return EXIT_FAILED;
    }
}

static int serve(struct command_line *command_line)
{
    struct way way = {.command_line = command_line};
    struct supervisor *supervisor = NULL;
    netpool_error error = {0};
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* a core file would hold the private key */
    command_line->supervisor.connect = connect_to_broker;
    command_line->supervisor.connect_context = &way;
    int code;
    netpool_status status = supervisor_new(&supervisor, &command_line->supervisor, &error);
    if (status != NETPOOL_OK) {
        code = status == NETPOOL_INVALID ? EXIT_USAGE : EXIT_FAILED;
        goto cleanup;
    }
    raise_descriptor_limit();
    status = prepare(&way, &error);
    if (status != NETPOOL_OK) {
        say_not_ready(command_line->supervisor.ready_fd, error.message);
        code = EXIT_FAILED;
        goto cleanup;
    }
    status = supervisor_run(supervisor, &error);
    code = exit_code(status);
cleanup:
    if (status != NETPOOL_OK) {
        (void)fprintf(stderr, "netpool-worker: %s\n", error.message);
    }
    supervisor_destroy(&supervisor);
    tls_context_destroy(&way.tls);
    if (way.zmq != NULL) {
        (void)zmq_ctx_term(way.zmq);
    }
    return code;
}

int main(int argc, char **argv)
{
    if (!np_streams_fill()) {
        return EXIT_FAILED;
    }
    struct companion companion;
    if (companion_parse(&companion, argc, argv)) {
        companion_run(&companion);
    }
    struct command_line command_line;
    netpool_error error = {0};
    int code = EXIT_SUCCESS;
    if (command_line_parse(&command_line, argc, argv, &error) != NETPOOL_OK) {
        (void)fprintf(stderr, "netpool-worker: %s (see netpool-worker --help)\n", error.message);
        code = EXIT_USAGE;
    } else if (command_line.help || command_line.version) {
        (void)fputs(command_line.help ? command_line_help() : "netpool-worker " NETPOOL_VERSION "\n", stdout);
        code = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
    } else {
        np_log_open(STDERR_FILENO, command_line.log_level);
        code = serve(&command_line);
    }
    command_line_fini(&command_line);
    return code;
}
