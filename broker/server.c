#include "broker/server.h"

#include <assert.h>
#include <czmq.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "broker/gateway_actor.h"
#include "broker/ipc_front.h"
#include "common/block.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/list.h"
#include "common/log.h"
#include "common/random.h"
#include "common/table.h"
#include "common/text.h"
#include "transport/tcp.h"

enum { FAREWELL_MS = 2000 /* from SIGTERM to the exit, at most */ };

struct server {
    const struct server_config *config;
    struct reactor *reactor;
    struct reactor_source signals;
    int signal_fd;
    int listener; /* -1 = none */
    struct core *core;
    struct port **ports; /* the gateways, then the ipc front */
    size_t port_count;
    struct np_table owners; /* peer -> port, for every peer that the core knows */
    bool has_events;        /* the core has been told something since its last flush */
    int64_t end_at;         /* np_clock_now time; NP_NEVER until SIGTERM */
    char address[256];
    struct np_log_limit core_limit;
};

static void on_connected(void *owner, struct port *port, uint64_t peer, const struct link_peer *who)
{
    struct server *server = owner;
    struct core_peer known = {.role = who->role, .name = who->name, .address = who->address};
    if (np_table_put(&server->owners, peer, port) == NETPOOL_OK &&
        core_connect(server->core, peer, &known, np_clock_now())) {
        server->has_events = true;
        return;
    }
    np_table_take(&server->owners, peer);
    port->operations->close(port, peer, NETPOOL_NO_MEMORY, "the broker has no memory for another peer");
}

static void on_received(void *owner, struct port *port, uint64_t peer, struct np_message *message)
{
    struct server *server = owner;
    (void)port;
    if (np_table_find(&server->owners, peer) != NULL) {
        core_receive(server->core, peer, message, np_clock_now());
        server->has_events = true;
    }
}

static void on_disconnected(void *owner, struct port *port, uint64_t peer, bool orderly)
{
    struct server *server = owner;
    (void)port;
    if (np_table_take(&server->owners, peer) != NULL) {
        core_disconnect(server->core, peer, orderly, np_clock_now());
        server->has_events = true;
    }
}

static const struct port_events port_events = {
    .connected = on_connected, .received = on_received, .disconnected = on_disconnected};

static void core_send(void *context, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                      bool urgent)
{
    struct server *server = context;
    struct port *port = np_table_find(&server->owners, peer);
    if (port != NULL) {
        port->operations->send(port, peer, envelope, body, body_size, urgent);
    }
}

static void core_close(void *context, uint64_t peer, netpool_status status, const char *reason)
{
    struct server *server = context;
    struct port *port = np_table_take(&server->owners, peer);
    if (port != NULL) {
        port->operations->close(port, peer, status, reason);
    }
}

static void core_log(void *context, enum np_log_level level, const char *text)
{
    struct server *server = context;
    np_log_limited(&server->core_limit, np_clock_now(), level, "core", "%s", text);
}

static void reload(struct server *server)
{
    size_t count = server->config->host == NULL ? 0 : server->port_count - (server->config->ipc_path != NULL);
    struct tls_context **loaded = calloc(count + 1, sizeof(struct tls_context *));
    netpool_error error = {0};
    netpool_status status = loaded == NULL ? NETPOOL_NO_MEMORY : NETPOOL_OK;
    for (size_t i = 0; i < count && status == NETPOOL_OK; i++) {
        status = tls_context_new(&loaded[i], &server->config->files, NP__ROLE__BROKER, &error);
    }
    if (status != NETPOOL_OK) {
        np_log(NP_LOG_ERROR, "broker", "the old certificates stay in use: %s", error.message);
        for (size_t i = 0; loaded != NULL && i < count; i++) {
            tls_context_destroy(&loaded[i]);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            server->ports[i]->operations->reload(server->ports[i], loaded[i]);
        }
        np_log(NP_LOG_INFO, "broker", "certificates%s reloaded",
               server->config->files.crl == NULL ? "" : " and revocation list");
    }
    free(loaded);
}

static void begin_end(struct server *server, const char *signal_name)
{
    if (server->end_at != NP_NEVER) {
        server->end_at = 0; /* asked twice: at once */
        return;
    }
    int64_t now = np_clock_now();
    np_log(NP_LOG_INFO, "broker", "%s: saying goodbye to every peer", signal_name);
    server->end_at = now + FAREWELL_MS * NP_NS_PER_MS;
    for (size_t i = 0; i < server->port_count; i++) {
        server->ports[i]->operations->stop_accepting(server->ports[i]);
    }
    core_shutdown(server->core, "the broker is shutting down", now);
    server->has_events = true;
}

static void signals_ready(struct reactor_source *source, uint32_t events)
{
    struct server *server = NP_CONTAINER(source, struct server, signals);
    struct signalfd_siginfo info;
    (void)events;
    while (read(source->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            reload(server);
        } else {
            begin_end(server, info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
        }
    }
}

static netpool_status watch_signals(struct server *server, netpool_error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->signal_fd < 0 ||
        reactor_add(server->reactor, &server->signals, server->signal_fd, EPOLLIN, signals_ready) != NETPOOL_OK) {
        return np_error_system(error, "cannot watch signals");
    }
    return NETPOOL_OK;
}

static void own_port(struct server *server, struct port *port)
{
    port->events = &port_events;
    port->owner = server;
    server->ports[server->port_count++] = port;
}

static netpool_status open_gateway(struct server *server, netpool_error *error)
{
    const struct server_config *config = server->config;
    struct tls_context *credentials;
    struct port *port;
    netpool_status status = tls_context_new(&credentials, &config->files, NP__ROLE__BROKER, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    if (config->gateways == 0) {
        status = gateway_new(&port, server->reactor, server->listener, credentials, &config->gateway, error);
    } else {
        status = gateway_actor_new(&port, server->reactor, server->listener, credentials, &config->gateway, error);
    }
    if (status == NETPOOL_OK) {
        own_port(server, port);
    }
    return status;
}

static netpool_status open_ports(struct server *server, netpool_error *error)
{
    const struct server_config *config = server->config;
    char bound[128] = "";
    netpool_status status = NETPOOL_OK;
    server->ports = calloc(config->gateways + 2, sizeof(struct port *));
    if (server->ports == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    if (config->host != NULL) {
        status = tcp_listen(&server->listener, config->host, config->port, bound, error);
        for (unsigned i = 0; i < (config->gateways == 0 ? 1 : config->gateways) && status == NETPOOL_OK; i++) {
            status = open_gateway(server, error);
        }
    }
    if (config->ipc_path != NULL && status == NETPOOL_OK) {
        struct port *port;
        status = ipc_front_new(&port, server->reactor, zsys_init(), config->ipc_path, &config->gateway.peers, error);
        if (status == NETPOOL_OK) {
            own_port(server, port);
        }
    }
    (void)snprintf(server->address, sizeof server->address, "%s%s%s%s", bound,
                   bound[0] != '\0' && config->ipc_path != NULL ? " " : "", config->ipc_path != NULL ? "ipc://" : "",
                   config->ipc_path != NULL ? config->ipc_path : "");
    return status;
}

static netpool_status open_core(struct server *server, netpool_error *error)
{
    struct core_config config = server->config->core;
    struct core_output output = {.context = server, .send = core_send, .close = core_close, .log = core_log};
    np_random_system(config.broker_id, sizeof config.broker_id);
    np_random_system(&config.epoch, sizeof config.epoch);
    np_random_system(&config.hash_seed, sizeof config.hash_seed);
    config.epoch |= 1;
    config.hash_seed |= 1;
    (void)np_text_copy(config.address, sizeof config.address, server->address);
    netpool_status status = core_new(&server->core, &config, &output, np_clock_now());
    return status == NETPOOL_OK ? status : np_error_set(error, status, "cannot start the core: out of memory");
}

netpool_status server_new(struct server **out, const struct server_config *config, netpool_error *error)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    server->config = config;
    server->signal_fd = -1;
    server->listener = -1;
    server->end_at = NP_NEVER;
    netpool_status status = reactor_new(&server->reactor, error);
    if (status == NETPOOL_OK) {
        status = watch_signals(server, error);
    }
    if (status == NETPOOL_OK) {
        status = open_ports(server, error);
    }
    if (status == NETPOOL_OK) {
        status = open_core(server, error);
    }
    if (status != NETPOOL_OK) {
        server_destroy(&server);
        return status;
    }
    *out = server;
    return NETPOOL_OK;
}

void server_destroy(struct server **server_at)
{
    struct server *server = *server_at;
    *server_at = NULL;
    if (server == NULL) {
        return;
    }
    for (size_t i = 0; i < server->port_count; i++) {
        server->ports[i]->operations->destroy(server->ports[i]);
    }
    free(server->ports);
    core_destroy(&server->core);
    np_table_fini(&server->owners);
    if (server->reactor != NULL) {
        reactor_remove(server->reactor, &server->signals);
    }
    reactor_destroy(&server->reactor);
    if (server->signal_fd >= 0) {
        close(server->signal_fd);
    }
    if (server->listener >= 0) {
        close(server->listener);
    }
    free(server);
}

const char *server_address(const struct server *server)
{
    return server->address;
}

static int64_t next_deadline(const struct server *server)
{
    if (server->has_events) {
        return 0; /* a flush brought news: let the core act on them at once */
    }
    int64_t deadline = np_earlier(core_deadline(server->core), server->end_at);
    for (size_t i = 0; i < server->port_count; i++) {
        deadline = np_earlier(deadline, server->ports[i]->operations->deadline(server->ports[i]));
    }
    return deadline;
}

static void run_turn(struct server *server)
{
    (void)reactor_turn(server->reactor, next_deadline(server));
    int64_t now = np_clock_now();
    for (size_t i = 0; i < server->port_count; i++) {
        server->ports[i]->operations->tick(server->ports[i], now);
    }
    if (now >= core_deadline(server->core)) {
        core_tick(server->core, now);
        server->has_events = true;
    }
    if (server->has_events) {
        server->has_events = false;
        core_flush(server->core, now);
    }
    for (size_t i = 0; i < server->port_count; i++) {
        server->ports[i]->operations->flush(server->ports[i]);
    }
}

static bool is_ended(const struct server *server)
{
    if (server->end_at == NP_NEVER) {
        return false;
    }
    bool is_empty = true;
    for (size_t i = 0; i < server->port_count; i++) {
        is_empty = is_empty && server->ports[i]->operations->is_empty(server->ports[i]);
    }
    return is_empty || np_clock_now() >= server->end_at;
}

void server_run(struct server *server)
{
    np_block_add_reviewer();
    while (!is_ended(server)) {
        run_turn(server);
    }
    np_block_remove_reviewer();
}
