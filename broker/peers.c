#include "broker/peers.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/timers.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/table.h"

enum { BACKLOG_BASE = 8 * 1024 * 1024 /* bytes that no credit counts: credits, cancels, statuses */ };

struct peers {
    struct reactor *reactor;
    struct port *port;
    struct peers_config config;
    struct np_table by_id;
    struct timers timers;        /* the channels' deadlines; late ones are corrected when they come up */
    struct np_list unintroduced; /* by hello_deadline: all have the same time-out */
    size_t unintroduced_count;
    struct np_list dirty; /* peers something was sent to since the last flush */
    struct np_log_limit lost_limit;
    struct np_log_limit hello_limit;
};

struct peer {
    struct peers *peers;
    struct channel *channel;
    uint64_t id;
    struct timer timer;
    struct np_list waiting; /* in peers.unintroduced until HELLO */
    struct np_list dirty;
    int64_t hello_deadline;
    uint64_t backlog_max; /* bytes */
    bool is_introduced;   /* the core knows it */
    bool is_dismissed;    /* the core wants to hear no more of it */
};

static void no_longer_waiting(struct peer *peer)
{
    if (!np_list_is_empty(&peer->waiting)) {
        np_list_remove(&peer->waiting);
        peer->peers->unintroduced_count--;
    }
}

static void peer_free(struct peer *peer)
{
    struct peers *peers = peer->peers;
    (void)np_table_take(&peers->by_id, peer->id);
    timers_remove(&peers->timers, &peer->timer);
    no_longer_waiting(peer);
    np_list_remove(&peer->dirty);
    channel_destroy(&peer->channel);
    free(peer);
}

/* A role that a peer of the broker can have; the core refuses the others with a reason. */
static bool is_peer_role(Np__Role role)
{
    return role == NP__ROLE__CLIENT || role == NP__ROLE__WORKER || role == NP__ROLE__ADMIN;
}

/* Twice what the credits of the protocol can put on the way to this peer: only a worker has a window. */
static uint64_t backlog_limit(const struct peers *peers, Np__Role role, const Np__Hello *hello)
{
    uint64_t window = 0;
    if (role == NP__ROLE__WORKER) {
        window = hello->window_bytes < NP_PAYLOAD_MAX ? hello->window_bytes : NP_PAYLOAD_MAX;
    }
    return 2 * (peers->config.delivery_bytes + window + peers->config.max_payload) + BACKLOG_BASE;
}

static void introduce(struct peer *peer, const Np__Hello *hello)
{
    struct peers *peers = peer->peers;
    const struct link_peer *who = channel_peer(peer->channel);
    Np__Role role = who->role != NP__ROLE__NONE ? who->role : hello->role;
    no_longer_waiting(peer);
    peer->is_introduced = true;
    peer->backlog_max = backlog_limit(peers, role, hello);
    if (is_peer_role(role)) {
        channel_set_remote_role(peer->channel, role);
    }
    peers->port->events->connected(peers->port->owner, peers->port, peer->id, who);
}

static void on_received(void *owner, struct channel *channel, struct np_message *message)
{
    struct peer *peer = owner;
    struct peers *peers = peer->peers;
    if (!peer->is_introduced) {
        if (message->envelope->kind_case != NP__ENVELOPE__KIND_HELLO) {
            channel_close(channel, NETPOOL_PROTOCOL, "the first message must be hello");
            return;
        }
        introduce(peer, message->envelope->hello);
    }
    if (!peer->is_dismissed) {
        peers->port->events->received(peers->port->owner, peers->port, peer->id, message);
    }
}

static void on_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    struct peer *peer = owner;
    struct peers *peers = peer->peers;
    const struct link_peer *who = channel_peer(channel);
    enum np_log_level level = status == NETPOOL_CLOSED ? NP_LOG_DEBUG : NP_LOG_INFO;
    np_log_limited(&peers->lost_limit, np_clock_now(), level, "peers", "%s%s%s gone: %s (%s)", who->name,
                   who->name[0] != '\0' ? " at " : "", who->address, reason, netpool_status_name(status));
    bool tell = peer->is_introduced;
    uint64_t id = peer->id;
    peer_free(peer);
    if (tell) {
        peers->port->events->disconnected(peers->port->owner, peers->port, id, status == NETPOOL_CLOSED);
    }
}

static const struct channel_handler handler = {.received = on_received, .closed = on_closed};

netpool_status peers_new(struct peers **out, struct reactor *reactor, struct port *port,
                         const struct peers_config *config)
{
    struct peers *peers = calloc(1, sizeof *peers);
    if (peers == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    peers->reactor = reactor;
    peers->port = port;
    peers->config = *config;
    if (peers->config.max_payload == 0) {
        peers->config.max_payload = NP_PAYLOAD_DEFAULT;
    }
    if (peers->config.hello_timeout_ns == 0) {
        peers->config.hello_timeout_ns = NP_HELLO_TIMEOUT_MS * NP_NS_PER_MS;
    }
    np_list_init(&peers->unintroduced);
    np_list_init(&peers->dirty);
    *out = peers;
    return NETPOOL_OK;
}

void peers_destroy(struct peers **peers_at)
{
    struct peers *peers = *peers_at;
    *peers_at = NULL;
    if (peers == NULL) {
        return;
    }
    for (;;) {
        size_t cursor = 0;
        struct peer *peer = np_table_next(&peers->by_id, &cursor);
        if (peer == NULL) {
            break;
        }
        peer_free(peer);
    }
    np_table_fini(&peers->by_id);
    timers_fini(&peers->timers);
    free(peers);
}

netpool_status peers_adopt(struct peers *peers, struct link *link, struct channel **channel)
{
    struct channel_options options = {
        .local_role = NP__ROLE__BROKER,
        .max_payload = peers->config.max_payload,
        .handshake_timeout_ns = peers->config.hello_timeout_ns,
    };
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL || timers_reserve(&peers->timers, peers->by_id.count + 1) != NETPOOL_OK) {
        link->operations->destroy(link);
        free(peer);
        return NETPOOL_NO_MEMORY;
    }
    peer->peers = peers;
    peer->hello_deadline = np_clock_now() + peers->config.hello_timeout_ns;
    peer->backlog_max = BACKLOG_BASE;
    np_list_init(&peer->waiting);
    np_list_init(&peer->dirty);
    netpool_status status = channel_new(&peer->channel, peers->reactor, link, &options, &handler, peer, NULL);
    if (status != NETPOOL_OK) {
        free(peer);
        return status;
    }
    peer->id = channel_id(peer->channel);
    status = np_table_put(&peers->by_id, peer->id, peer);
    if (status != NETPOOL_OK) {
        channel_destroy(&peer->channel);
        free(peer);
        return status;
    }
    np_list_push_back(&peers->unintroduced, &peer->waiting);
    peers->unintroduced_count++;
    timers_set(&peers->timers, &peer->timer, channel_deadline(peer->channel));
    *channel = peer->channel;
    return NETPOOL_OK;
}

static void agree_limits(struct peer *peer, const Np__Welcome *welcome)
{
    channel_set_limits(peer->channel, peer->peers->config.max_payload, welcome->heartbeat_ms * NP_NS_PER_MS,
                       welcome->timeout_ms * NP_NS_PER_MS);
}

void peers_send(struct peers *peers, uint64_t id, Np__Envelope *envelope, const void *body, size_t body_size,
                bool urgent)
{
    struct peer *peer = np_table_find(&peers->by_id, id);
    if (peer == NULL || !channel_is_open(peer->channel)) {
        return;
    }
    enum channel_urgency urgency = urgent ? CHANNEL_URGENT : CHANNEL_IN_ORDER;
    if (channel_send(peer->channel, envelope, body, body_size, urgency) != NETPOOL_OK) {
        channel_close(peer->channel, NETPOOL_NO_MEMORY, "the broker has no memory for a message");
        return;
    }
    if (envelope->kind_case == NP__ENVELOPE__KIND_WELCOME) {
        agree_limits(peer, envelope->welcome);
    }
    if (np_list_is_empty(&peer->dirty)) {
        np_list_push_back(&peers->dirty, &peer->dirty);
    }
}

void peers_close(struct peers *peers, uint64_t id, netpool_status status, const char *reason)
{
    struct peer *peer = np_table_find(&peers->by_id, id);
    if (peer != NULL) {
        peer->is_dismissed = true;
        channel_close(peer->channel, status, reason);
    }
}

void peers_close_revoked(struct peers *peers, const struct tls_context *context)
{
    size_t cursor = 0;
    for (struct peer *peer = np_table_next(&peers->by_id, &cursor); peer != NULL;
         peer = np_table_next(&peers->by_id, &cursor)) {
        const struct link_peer *who = channel_peer(peer->channel);
        if (tls_context_is_revoked(context, who->serial)) {
            np_log(NP_LOG_WARNING, "peers", "%s at %s is cut: its certificate has been revoked", who->name,
                   who->address);
            channel_close(peer->channel, NETPOOL_CREDENTIALS, "the certificate has been revoked");
        }
    }
}

static void drop_silent(struct peers *peers, int64_t now)
{
    while (!np_list_is_empty(&peers->unintroduced)) {
        struct peer *peer = NP_CONTAINER(np_list_front(&peers->unintroduced), struct peer, waiting);
        if (peer->hello_deadline > now) {
            return;
        }
        const struct link_peer *who = channel_peer(peer->channel);
        np_log_limited(&peers->hello_limit, now, NP_LOG_WARNING, "peers", "%s is dropped: no hello in time",
                       who->address);
        no_longer_waiting(peer);
        channel_close(peer->channel, NETPOOL_TIMEOUT, "no hello in time");
    }
}

void peers_tick(struct peers *peers, int64_t now)
{
    drop_silent(peers, now);
    while (timers_deadline(&peers->timers) <= now) {
        struct peer *peer = NP_CONTAINER(timers_first(&peers->timers), struct peer, timer);
        uint64_t id = peer->id;
        timers_remove(&peers->timers, &peer->timer);
        channel_tick(peer->channel, now);
        if (np_table_find(&peers->by_id, id) == peer) {
            int64_t next = channel_deadline(peer->channel);
            timers_set(&peers->timers, &peer->timer, next > now ? next : now + 1);
        }
    }
}

int64_t peers_deadline(const struct peers *peers)
{
    int64_t deadline = timers_deadline(&peers->timers);
    if (!np_list_is_empty(&peers->unintroduced)) {
        const struct peer *peer = NP_CONTAINER(peers->unintroduced.next, struct peer, waiting);
        deadline = np_earlier(deadline, peer->hello_deadline);
    }
    return deadline;
}

void peers_flush(struct peers *peers)
{
    for (struct np_list *node = np_list_pop_front(&peers->dirty); node != NULL;
         node = np_list_pop_front(&peers->dirty)) {
        struct peer *peer = NP_CONTAINER(node, struct peer, dirty);
        uint64_t id = peer->id;
        channel_flush(peer->channel);
        if (np_table_find(&peers->by_id, id) != peer) {
            continue;
        }
        if (channel_backlog(peer->channel) > peer->backlog_max) {
            channel_close(peer->channel, NETPOOL_TIMEOUT, "the peer does not read what it is sent");
        }
        int64_t deadline = channel_deadline(peer->channel);
        if (deadline < peer->timer.at) {
            timers_set(&peers->timers, &peer->timer, deadline);
        }
    }
}

size_t peers_count(const struct peers *peers)
{
    return peers->by_id.count;
}

size_t peers_unintroduced(const struct peers *peers)
{
    return peers->unintroduced_count;
}
