#include "broker/gateway.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/list.h"
#include "common/log.h"
#include "transport/tcp.h"

enum {
    ACCEPTS_PER_TURN = 16,
    PAUSE_MS = 200 /* of accepting, when the system has no descriptor or memory for another connection */
};

struct gateway {
    struct port port;
    struct reactor *reactor;
    struct reactor_source listener;
    struct tls_context *credentials;
    struct admission *admission;
    struct peers *peers;
    unsigned max_pending;
    unsigned max_peers;
    bool is_stopped;
    bool was_full;        /* at the end of the last turn */
    int64_t paused_until; /* np_clock_now time, 0 = not paused */
    struct np_log_limit pause_limit;
    struct np_log_limit revoked_limit;
};

static struct gateway *from_port(struct port *port)
{
    return NP_CONTAINER(port, struct gateway, port);
}

static bool is_full(const struct gateway *gateway)
{
    return admission_count(gateway->admission) + peers_count(gateway->peers) >= gateway->max_peers;
}

static bool may_accept(const struct gateway *gateway)
{
    size_t pending = admission_count(gateway->admission) + peers_unintroduced(gateway->peers);
    return !gateway->is_stopped && gateway->paused_until == 0 && pending < gateway->max_pending && !is_full(gateway);
}

static void update_listener(struct gateway *gateway)
{
    bool was_full = gateway->was_full;
    gateway->was_full = is_full(gateway);
    if (gateway->was_full && !was_full) {
        np_log_limited(&gateway->pause_limit, np_clock_now(), NP_LOG_ERROR, "gateway",
                       "%u connections are open, as many as the limit of open files (ulimit -n) leaves room for: "
                       "new connections wait, those that are open go on",
                       gateway->max_peers);
    }
    reactor_set_interest(gateway->reactor, &gateway->listener, may_accept(gateway) ? EPOLLIN : 0);
}

static void pause_accepting(struct gateway *gateway, const char *reason)
{
    int64_t now = np_clock_now();
    np_log_limited(&gateway->pause_limit, now, NP_LOG_ERROR, "gateway",
                   "%s: new connections wait, those that are open go on", reason);
    gateway->paused_until = now + PAUSE_MS * NP_NS_PER_MS;
}

static void offer(struct gateway *gateway, int fd, const char *address)
{
    if (admission_is_full_for(gateway->admission, address)) {
        close(fd);
        return;
    }
    struct link *link = tls_link_accept(gateway->credentials, fd, address);
    if (link == NULL) {
        close(fd);
        pause_accepting(gateway, "out of memory");
    } else if (admission_offer(gateway->admission, link) != NETPOOL_OK) {
        pause_accepting(gateway, "no memory to watch another connection");
    }
}

static void listener_ready(struct reactor_source *source, uint32_t events)
{
    struct gateway *gateway = NP_CONTAINER(source, struct gateway, listener);
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && may_accept(gateway); i++) {
        char address[128];
        netpool_error error = {0};
        int fd = -1;
        if (tcp_accept(source->fd, &fd, address, &error) != NETPOOL_OK) {
            pause_accepting(gateway, error.message);
            break;
        }
        if (fd < 0) {
            break;
        }
        offer(gateway, fd, address);
    }
    update_listener(gateway);
}

/* The handshake may have begun before a reload: the certificate is checked against what holds now. */
static void admitted(void *owner, struct link *link)
{
    struct gateway *gateway = owner;
    struct channel *channel;
    if (tls_context_is_revoked(gateway->credentials, link->peer.serial)) {
        np_log_limited(&gateway->revoked_limit, np_clock_now(), NP_LOG_WARNING, "gateway",
                       "%s at %s is refused: its certificate has been revoked", link->peer.name, link->peer.address);
        link->operations->destroy(link);
        return;
    }
    np_log(NP_LOG_DEBUG, "gateway", "%s %s at %s is authenticated", np_role_name(link->peer.role), link->peer.name,
           link->peer.address);
    if (peers_adopt(gateway->peers, link, &channel) != NETPOOL_OK) {
        pause_accepting(gateway, "no memory for another peer");
    }
}

static void gateway_send(struct port *port, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                         bool urgent)
{
    peers_send(from_port(port)->peers, peer, envelope, body, body_size, urgent);
}

static void gateway_close(struct port *port, uint64_t peer, netpool_status status, const char *reason)
{
    peers_close(from_port(port)->peers, peer, status, reason);
}

static void gateway_reload(struct port *port, struct tls_context *credentials)
{
    struct gateway *gateway = from_port(port);
    tls_context_destroy(&gateway->credentials);
    gateway->credentials = credentials;
    peers_close_revoked(gateway->peers, credentials);
}

static void gateway_stop_accepting(struct port *port)
{
    struct gateway *gateway = from_port(port);
    gateway->is_stopped = true;
    update_listener(gateway);
}

static void gateway_tick(struct port *port, int64_t now)
{
    struct gateway *gateway = from_port(port);
    if (now >= gateway->paused_until) {
        gateway->paused_until = 0;
    }
    admission_tick(gateway->admission, now);
    peers_tick(gateway->peers, now);
    update_listener(gateway);
}

static int64_t gateway_deadline(const struct port *port)
{
    const struct gateway *gateway = NP_CONTAINER(port, const struct gateway, port);
    int64_t deadline = np_earlier(admission_deadline(gateway->admission), peers_deadline(gateway->peers));
    return gateway->paused_until == 0 ? deadline : np_earlier(deadline, gateway->paused_until);
}

static void gateway_flush(struct port *port)
{
    peers_flush(from_port(port)->peers);
}

static bool gateway_is_empty(const struct port *port)
{
    const struct gateway *gateway = NP_CONTAINER(port, const struct gateway, port);
    return peers_count(gateway->peers) == 0;
}

static void gateway_destroy(struct port *port)
{
    struct gateway *gateway = from_port(port);
    reactor_remove(gateway->reactor, &gateway->listener);
    admission_destroy(&gateway->admission);
    peers_destroy(&gateway->peers);
    tls_context_destroy(&gateway->credentials);
    free(gateway);
}

static const struct port_operations operations = {
    .send = gateway_send,
    .close = gateway_close,
    .reload = gateway_reload,
    .stop_accepting = gateway_stop_accepting,
    .tick = gateway_tick,
    .deadline = gateway_deadline,
    .flush = gateway_flush,
    .is_empty = gateway_is_empty,
    .destroy = gateway_destroy,
};

netpool_status gateway_new(struct port **out, struct reactor *reactor, int listener, struct tls_context *credentials,
                           const struct gateway_config *config, netpool_error *error)
{
    struct gateway *gateway = calloc(1, sizeof *gateway);
    if (gateway == NULL) {
        tls_context_destroy(&credentials);
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory for a gateway");
    }
    gateway->port.operations = &operations;
    gateway->reactor = reactor;
    gateway->credentials = credentials;
    gateway->max_pending = config->max_pending;
    gateway->max_peers = config->max_peers;
    netpool_status status = admission_new(&gateway->admission, reactor, &config->admission, admitted, gateway);
    if (status == NETPOOL_OK) {
        status = peers_new(&gateway->peers, reactor, &gateway->port, &config->peers);
    }
    if (status == NETPOOL_OK) {
        status = reactor_add(reactor, &gateway->listener, listener, EPOLLIN, listener_ready);
    }
    if (status != NETPOOL_OK) {
        gateway_destroy(&gateway->port);
        return np_error_set(error, status, "cannot start a gateway");
    }
    *out = &gateway->port;
    return NETPOOL_OK;
}
