/* A broker behind a link, over TLS or ipc: connects, and connects again with jittered back-off when the link breaks.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "client/engine.h"
#include "client/places/backend.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/random.h"
#include "transport/channel.h"
#include "transport/ipc.h"
#include "transport/tls.h"

#define BACK_OFF_MIN_NS (50 * NP_NS_PER_MS)
#define BACK_OFF_MAX_NS (2 * NP_NS_PER_S)
/* What may wait in the channel before the dialogue is asked for more. */
#define BACKLOG_MAX ((size_t)1024 * 1024)

struct backend_remote {
    struct backend backend;
    const struct settings *settings;
    struct engine *engine;
    struct tls_context *tls;
    Np__Role role;
    void *zmq;               /* context; made for ipc only */
    struct channel *channel; /* NULL: none */
    bool is_over;            /* failed for good, or being closed */
    int64_t retry_at;        /* NP_NEVER: not waiting */
    int64_t back_off_ns;
    int64_t give_up_at;    /* while there is no welcome */
    netpool_error trouble; /* what the last attempt died of */
    struct np_random random;
};

static struct backend_remote *remote_of(struct backend *backend)
{
    return (struct backend_remote *)(void *)backend;
}

Np__Role backend_remote_role(const struct backend *backend)
{
    return ((const struct backend_remote *)(const void *)backend)->role;
}

/* Half to all of it, and the next one twice as long. A program that does not wait long for its broker tries often. */
static int64_t next_back_off(struct backend_remote *remote)
{
    int64_t half = remote->back_off_ns / 2;
    int64_t pause = half + (int64_t)np_random_below(&remote->random, (uint64_t)half + 1);
    remote->back_off_ns = np_earlier(remote->back_off_ns * 2, BACK_OFF_MAX_NS);
    return np_earlier(pause, remote->settings->reconnect_timeout_ns / 4 + 1);
}

static bool is_final(netpool_status status)
{
    return status == NETPOOL_REFUSED || status == NETPOOL_CREDENTIALS || status == NETPOOL_PROTOCOL;
}

/* There is no link any more: what now? */
static void lose_link(struct backend_remote *remote, netpool_status status, const char *reason, int64_t now)
{
    struct dialogue *dialogue = engine_dialogue(remote->engine);
    bool was_welcome = dialogue_is_welcome(dialogue);
    channel_destroy(&remote->channel);
    dialogue_disconnect(dialogue);
    engine_reserve_lead(remote->engine, true);
    if (remote->is_over) {
        return;
    }
    const char *url = remote->settings->url_text;
    bool names_url = strncmp(reason, url, strlen(url)) == 0;
    (void)np_error_set(&remote->trouble, status, "%s%s%s", names_url ? "" : url, names_url ? "" : ": ",
                       reason[0] != '\0' ? reason : netpool_status_text(status));
    if (is_final(status)) {
        remote->is_over = true;
        engine_fail(remote->engine, status, remote->trouble.message);
        return;
    }
    if (was_welcome) {
        remote->back_off_ns = BACK_OFF_MIN_NS;
        remote->give_up_at = remote->settings->reconnect_timeout_ns == NP_NEVER
                                 ? NP_NEVER
                                 : now + remote->settings->reconnect_timeout_ns;
    }
    remote->retry_at = now + next_back_off(remote);
}

static void link_opened(void *owner, struct channel *channel)
{
    (void)channel;
    struct backend_remote *remote = owner;
    dialogue_connect(engine_dialogue(remote->engine), np_clock_now());
}

static void take_welcome(struct backend_remote *remote)
{
    const struct dialogue_terms *terms = dialogue_terms(engine_dialogue(remote->engine));
    channel_set_remote_role(remote->channel, NP__ROLE__BROKER);
    channel_set_limits(remote->channel, remote->settings->max_payload, terms->heartbeat_ns, terms->timeout_ns);
    remote->back_off_ns = BACK_OFF_MIN_NS;
    remote->give_up_at = NP_NEVER;
    engine_reserve_lead(remote->engine, false);
    engine_opened(remote->engine);
}

static void link_received(void *owner, struct channel *channel, struct np_message *message)
{
    struct backend_remote *remote = owner;
    netpool_error error = {0};
    bool is_welcome = message->envelope->kind_case == NP__ENVELOPE__KIND_WELCOME;
    netpool_status status = engine_receive(remote->engine, message, &error);
    if (status != NETPOOL_OK) {
        channel_close(channel, status, error.message);
    } else if (is_welcome) {
        take_welcome(remote);
    }
}

static void link_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    (void)channel;
    lose_link(owner, status, reason, np_clock_now());
}

static const struct channel_handler link_handler = {
    .opened = link_opened, .received = link_received, .closed = link_closed};

/* ZeroMQ's own threads must not take the program's signals. */
static void *new_zmq_context(void)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    void *context = zmq_ctx_new();
    if (context != NULL) {
        (void)zmq_ctx_set(context, ZMQ_IO_THREADS, 1);
        void *first = zmq_socket(context, ZMQ_PAIR); /* the first socket is what starts the threads */
        if (first != NULL) {
            (void)zmq_close(first);
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return context;
}

static netpool_status make_link(struct backend_remote *remote, struct link **out, netpool_error *error)
{
    const struct np_url *url = &remote->settings->url;
    if (url->kind == NP_URL_TLS) {
        return tls_link_connect(out, remote->tls, url->host, url->port, error);
    }
    if (remote->zmq == NULL) {
        remote->zmq = new_zmq_context();
    }
    if (remote->zmq == NULL) {
        return np_error_set(error, NETPOOL_SYSTEM, "cannot make a ZeroMQ context: %s", zmq_strerror(zmq_errno()));
    }
    return ipc_link_connect(out, remote->zmq, url->path, error);
}

static void connect_link(struct backend_remote *remote, int64_t now)
{
    struct link *link = NULL;
    netpool_error error = {0};
    remote->retry_at = NP_NEVER;
    netpool_status status = make_link(remote, &link, &error);
    if (status == NETPOOL_OK) {
        struct channel_options options = {.local_role = remote->role, .max_payload = remote->settings->max_payload};
        status = channel_new(&remote->channel, engine_reactor(remote->engine), link, &options, &link_handler, remote,
                             &error);
    }
    if (status != NETPOOL_OK) {
        lose_link(remote, status, error.message, now);
    }
}

static netpool_status start(struct backend *backend, struct engine *engine, netpool_error *error)
{
    (void)error;
    struct backend_remote *remote = remote_of(backend);
    int64_t now = np_clock_now();
    remote->engine = engine;
    remote->retry_at = now; /* the I/O thread connects: that may block */
    remote->give_up_at = now + remote->settings->connect_timeout_ns;
    engine_reserve_lead(engine, true);
    return NETPOOL_OK;
}

static netpool_status dialogue_sends(void *context, Np__Envelope *envelope, const void *body, size_t body_size,
                                     bool urgent)
{
    struct backend_remote *remote = context;
    return channel_send(remote->channel, envelope, body, body_size, urgent ? CHANNEL_URGENT : CHANNEL_IN_ORDER);
}

static void flush(struct backend *backend, int64_t now)
{
    struct backend_remote *remote = remote_of(backend);
    if (remote->channel == NULL || !channel_is_open(remote->channel)) {
        return;
    }
    struct dialogue_output output = {.context = remote, .send = dialogue_sends};
    size_t before;
    do { /* as long as the link takes it all */
        size_t backlog = channel_backlog(remote->channel);
        before = backlog;
        netpool_status status =
            engine_flush(remote->engine, &output, backlog < BACKLOG_MAX ? BACKLOG_MAX - backlog : 0, now);
        if (status != NETPOOL_OK) {
            channel_close(remote->channel, status, netpool_status_text(status));
            return;
        }
        if (channel_backlog(remote->channel) == before) {
            break; /* nothing to say */
        }
        channel_flush(remote->channel);
    } while (remote->channel != NULL && channel_is_open(remote->channel) &&
             channel_backlog(remote->channel) < BACKLOG_MAX / 2);
    if (remote->channel != NULL) {
        channel_flush(remote->channel);
    }
}

static void give_up(struct backend_remote *remote, int64_t now)
{
    if (!dialogue_was_welcome(engine_dialogue(remote->engine))) {
        remote->is_over = true;
        engine_fail(remote->engine, NETPOOL_UNREACHABLE,
                    remote->trouble.message[0] != '\0' ? remote->trouble.message
                                                       : "no connection within the time given");
        return;
    }
    engine_give_up(remote->engine, NETPOOL_UNREACHABLE, remote->trouble.message, now);
    remote->give_up_at = now + remote->settings->reconnect_timeout_ns; /* for what is submitted from now on */
}

static void tick(struct backend *backend, int64_t now, bool may_block)
{
    struct backend_remote *remote = remote_of(backend);
    if (remote->is_over) {
        return;
    }
    if (remote->channel != NULL && now >= channel_deadline(remote->channel)) {
        channel_tick(remote->channel, now);
    }
    if (now >= remote->give_up_at) {
        give_up(remote, now);
    }
    if (may_block && !remote->is_over && remote->channel == NULL && now >= remote->retry_at) {
        connect_link(remote, np_clock_now());
    }
}

static int64_t deadline(const struct backend *backend)
{
    const struct backend_remote *remote = (const struct backend_remote *)(const void *)backend;
    if (remote->is_over) {
        return NP_NEVER;
    }
    int64_t next = np_earlier(remote->retry_at, remote->give_up_at);
    return remote->channel != NULL ? np_earlier(next, channel_deadline(remote->channel)) : next;
}

static void drop_link(struct backend *backend, netpool_status status, const char *reason, int64_t now)
{
    struct backend_remote *remote = remote_of(backend);
    if (remote->channel != NULL) {
        lose_link(remote, status, reason, now);
    }
}

static void shutdown_remote(struct backend *backend)
{
    struct backend_remote *remote = remote_of(backend);
    remote->is_over = true;
    if (remote->channel != NULL) {
        channel_close(remote->channel, NETPOOL_CLOSED, "the client has closed its pool");
        channel_destroy(&remote->channel);
    }
    dialogue_disconnect(engine_dialogue(remote->engine));
    if (remote->zmq != NULL) {
        (void)zmq_ctx_term(remote->zmq);
        remote->zmq = NULL;
    }
}

static void destroy(struct backend *backend)
{
    struct backend_remote *remote = remote_of(backend);
    tls_context_destroy(&remote->tls);
    free(remote);
}

static const struct backend_operations operations = {.start = start,
                                                     .flush = flush,
                                                     .tick = tick,
                                                     .deadline = deadline,
                                                     .drop_link = drop_link,
                                                     .shutdown = shutdown_remote,
                                                     .destroy = destroy};

/* A certificate of role client, or of role admin: then the pool is for looking only. */
static netpool_status load_credentials(struct backend_remote *remote, netpool_error *error)
{
    const struct settings *settings = remote->settings;
    struct tls_files files = {.ca = settings->ca, .cert = settings->cert, .key = settings->key, .crl = settings->crl};
    netpool_status status = tls_context_new(&remote->tls, &files, NP__ROLE__CLIENT, error);
    if (status != NETPOOL_OK && tls_context_new(&remote->tls, &files, NP__ROLE__ADMIN, NULL) == NETPOOL_OK) {
        remote->role = NP__ROLE__ADMIN;
        status = NETPOOL_OK;
    }
    return status;
}

netpool_status backend_remote_new(struct backend **out, const struct settings *settings, netpool_error *error)
{
    struct backend_remote *remote = calloc(1, sizeof *remote);
    if (remote == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    remote->backend.operations = &operations;
    remote->settings = settings;
    remote->role = NP__ROLE__CLIENT;
    remote->retry_at = NP_NEVER;
    remote->give_up_at = NP_NEVER;
    remote->back_off_ns = BACK_OFF_MIN_NS;
    np_random_system(&remote->random.state, sizeof remote->random.state);
    if (settings->url.kind == NP_URL_TLS) {
        netpool_status status = load_credentials(remote, error);
        if (status != NETPOOL_OK) {
            free(remote);
            return status;
        }
    }
    *out = &remote->backend;
    return NETPOOL_OK;
}
