#include <czmq.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/options.h"
#include "broker/server.h"
#include "common/error.h"
#include "common/log.h"
#include "common/streams.h"

enum { EXIT_START = 1, EXIT_USAGE = 2 };

/* Descriptors kept for what is not a TLS peer: files, ZeroMQ (which ends the process when accepting finds none left).
 */
enum { RESERVED_DESCRIPTORS = 64, RESERVED_FOR_IPC = 256 };

/* Signals go to a signalfd; every thread started from here on inherits the mask. */
static void prepare_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* czmq would take over signals and print about its sockets. */
static void prepare_czmq(void)
{
    (void)setenv("ZSYS_SIGHANDLER", "false", 1);
    zsys_handler_set(NULL);
    zsys_set_logstream(NULL);
}

/* As many descriptors as the system allows. Returns how many TLS peers that is. */
static unsigned raise_descriptor_limit(bool with_ipc)
{
    struct rlimit limit = {0};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    rlim_t reserved = with_ipc ? RESERVED_FOR_IPC : RESERVED_DESCRIPTORS;
    if (reserved > limit.rlim_cur / 4) {
        reserved = limit.rlim_cur / 4;
    }
    rlim_t peers = limit.rlim_cur - reserved;
    return peers > UINT32_MAX / 2 ? UINT32_MAX / 2 : (unsigned)peers;
}

static netpool_status tell_ready(int fd, const char *address, netpool_error *error)
{
    if (fd < 0) {
        return NETPOOL_OK;
    }
    char line[300];
    int size = snprintf(line, sizeof line, "listening %s\n", address);
    if (write(fd, line, (size_t)size) != size) {
        return np_error_system(error, "--ready-fd %d: cannot write", fd);
    }
    if (fd > STDERR_FILENO) {
        close(fd);
    }
    return NETPOOL_OK;
}

int main(int argc, char **argv)
{
    if (!np_streams_fill()) {
        return EXIT_START;
    }
    struct options options;
    netpool_error error = {0};
    struct server *server = NULL;
    if (options_parse(&options, argc, argv, &error) != NETPOOL_OK) {
        (void)fprintf(stderr, "netpool-broker: %s (see netpool-broker --help)\n", error.message);
        return EXIT_USAGE;
    }
    if (options.help || options.version) {
        (void)fputs(options.help ? options_help() : "netpool-broker " NETPOOL_VERSION "\n", stdout);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_START;
    }
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0}); /* a core file would hold the private key */
    prepare_signals();
    prepare_czmq();
    np_log_open(STDERR_FILENO, options.log_level);
    unsigned max_peers = raise_descriptor_limit(options.server.ipc_path != NULL);
    options.server.gateway.max_peers = options.server.gateways > 1 ? max_peers / options.server.gateways : max_peers;
    netpool_status status = server_new(&server, &options.server, &error);
    if (status == NETPOOL_OK) {
        status = tell_ready(options.ready_fd, server_address(server), &error);
    }
    if (status != NETPOOL_OK) {
        (void)fprintf(stderr, "netpool-broker: %s\n", error.message);
        server_destroy(&server);
        zsys_shutdown();
        return EXIT_START;
    }
    np_log(NP_LOG_INFO, "broker", "netpool-broker " NETPOOL_VERSION " listening on %s", server_address(server));
    server_run(server);
    server_destroy(&server);
    zsys_shutdown(); /* waits for the last goodbyes to leave the ipc socket, within its linger */
    np_log(NP_LOG_INFO, "broker", "ended");
    return EXIT_SUCCESS;
}
