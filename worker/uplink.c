#include "worker/uplink.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "proto/limits.h"

#define BACKOFF_FIRST_NS (50 * NP_NS_PER_MS)
#define BACKOFF_MAX_NS (2 * NP_NS_PER_S)
#define SOFTWARE "netpool 0.1.0"
#define WINDOW_DEFAULT (UINT64_C(256) * 1024 * 1024)

void uplink_init(struct uplink *uplink, struct reactor *reactor, const struct supervisor_options *options,
                 const struct uplink_handler *handler, void *owner)
{
    *uplink = (struct uplink){
        .reactor = reactor,
        .options = options,
        .handler = handler,
        .owner = owner,
        .connect_at = 0,
        .welcome_by = NP_NEVER,
        .away_since = np_clock_now(),
        .backoff_ns = BACKOFF_FIRST_NS,
    };
    np_random_system(uplink->session, sizeof uplink->session);
    np_random_system(&uplink->random.state, sizeof uplink->random.state);
}

void uplink_fini(struct uplink *uplink)
{
    channel_destroy(&uplink->channel);
}

static void end(struct uplink *uplink, netpool_status status, const char *reason)
{
    uplink->has_ended = true;
    uplink->connect_at = NP_NEVER;
    (void)np_error_set(&uplink->end, status, "%s", reason);
}

static uint64_t payload_limit(const struct supervisor_options *options)
{
    return options->max_payload > 0 ? options->max_payload : NP_PAYLOAD_DEFAULT;
}

static void say_hello(void *owner, struct channel *channel)
{
    struct uplink *uplink = owner;
    const struct supervisor_options *options = uplink->options;
    char host[NP_NAME_MAX + 1] = "";
    char name[NP_NAME_MAX + 32];
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(name, sizeof name, "%s-%d", host, (int)getpid());
    name[NP_NAME_MAX] = '\0';
    Np__Hello hello = NP__HELLO__INIT;
    hello.version_min = NP_PROTOCOL_VERSION_MIN;
    hello.version_max = NP_PROTOCOL_VERSION_MAX;
    hello.role = NP__ROLE__WORKER;
    hello.software = (char *)(uintptr_t)SOFTWARE;
    hello.name = options->name != NULL && options->name[0] != '\0' ? (char *)(uintptr_t)options->name : name;
    hello.host = host;
    hello.pid = (uint32_t)getpid();
    hello.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = uplink->session};
    hello.resume = uplink->was_welcomed;
    hello.max_payload = payload_limit(options);
    hello.slots = options->slots;
    hello.window_bytes = options->window_bytes > 0 ? options->window_bytes : WINDOW_DEFAULT;
    hello.functions = uplink->functions;
    hello.n_functions = uplink->function_count;
    hello.labels = (char **)(uintptr_t)options->labels;
    hello.n_labels = options->label_count;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    if (channel_send(channel, &envelope, NULL, 0, CHANNEL_IN_ORDER) != NETPOOL_OK) {
        channel_close(channel, NETPOOL_NO_MEMORY, "out of memory");
    }
    if (!options->is_single_link) { /* whose other end may be stopped (Ctrl-Z) */
        uplink->welcome_by = np_clock_now() + NP_HELLO_TIMEOUT_MS * NP_NS_PER_MS;
    }
}

static void welcome(struct uplink *uplink, struct channel *channel, const Np__Welcome *message)
{
    if (message->version < NP_PROTOCOL_VERSION_MIN || message->version > NP_PROTOCOL_VERSION_MAX) {
        channel_close(channel, NETPOOL_PROTOCOL, "the broker chose a protocol version that was not offered");
        return;
    }
    channel_set_limits(channel, payload_limit(uplink->options), (int64_t)message->heartbeat_ms * NP_NS_PER_MS,
                       (int64_t)message->timeout_ms * NP_NS_PER_MS);
    channel_set_remote_role(channel, NP__ROLE__BROKER);
    uplink->epoch = message->epoch;
    uplink->credit_bytes = message->credit_bytes;
    uplink->sent_bytes = 0;
    uplink->backoff_ns = BACKOFF_FIRST_NS;
    uplink->welcome_by = NP_NEVER;
    uplink->away_since = NP_NEVER;
    uplink->is_ready = uplink->was_welcomed = true;
    np_log(NP_LOG_INFO, "worker", "connected to %s", channel_peer(channel)->address);
    uplink->handler->welcomed(uplink->owner);
}

static void receive(void *owner, struct channel *channel, struct np_message *message)
{
    struct uplink *uplink = owner;
    const Np__Envelope *envelope = message->envelope;
    if (envelope->kind_case == NP__ENVELOPE__KIND_WELCOME) {
        if (uplink->is_ready) {
            channel_close(channel, NETPOOL_PROTOCOL, "a second welcome");
            return;
        }
        welcome(uplink, channel, envelope->welcome);
    } else if (envelope->kind_case == NP__ENVELOPE__KIND_CREDIT) {
        if (envelope->credit->bytes > uplink->credit_bytes) {
            uplink->credit_bytes = envelope->credit->bytes;
        }
    } else {
        uplink->handler->received(uplink->owner, message);
    }
}

/* Between half and the whole of the current back-off, which then doubles. */
static void retry_later(struct uplink *uplink, int64_t now)
{
    uint64_t half = (uint64_t)uplink->backoff_ns / 2;
    uplink->connect_at = now + (int64_t)(half + np_random_below(&uplink->random, half + 1));
    uplink->backoff_ns = 2 * uplink->backoff_ns < BACKOFF_MAX_NS ? 2 * uplink->backoff_ns : BACKOFF_MAX_NS;
}

static void lose(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    struct uplink *uplink = owner;
    bool was_ready = uplink->is_ready;
    np_log(NP_LOG_WARNING, "worker", "link to %s is gone: %s", channel_peer(channel)->address, reason);
    uplink->is_dead = true;
    uplink->is_ready = false;
    uplink->welcome_by = NP_NEVER;
    int64_t now = np_clock_now();
    if (uplink->away_since == NP_NEVER) {
        uplink->away_since = now;
    }
    if (status == NETPOOL_REFUSED || status == NETPOOL_CREDENTIALS || status == NETPOOL_PROTOCOL) {
        end(uplink, status, reason);
    } else if (uplink->options->is_single_link) {
        end(uplink, NETPOOL_CLOSED, reason);
    } else {
        retry_later(uplink, now);
    }
    if (was_ready) {
        uplink->handler->lost(uplink->owner);
    }
}

static const struct channel_handler channel_handler = {.opened = say_hello, .received = receive, .closed = lose};

static void connect_now(struct uplink *uplink, int64_t now)
{
    netpool_error error = {0};
    struct link *link = NULL;
    uplink->connect_at = NP_NEVER;
    netpool_status status = uplink->options->connect(uplink->options->connect_context, &link, &error);
    if (status == NETPOOL_OK) {
        const struct channel_options options = {
            .local_role = NP__ROLE__WORKER, .max_payload = payload_limit(uplink->options), .heap = uplink->heap};
        status = channel_new(&uplink->channel, uplink->reactor, link, &options, &channel_handler, uplink, &error);
    }
    if (status == NETPOOL_CLOSED) {
        end(uplink, NETPOOL_CLOSED, "the program this worker belongs to has closed its pool");
    } else if (status != NETPOOL_OK) {
        np_log(NP_LOG_WARNING, "worker", "cannot connect: %s", error.message);
        retry_later(uplink, now);
    }
}

static void give_up_in_time(struct uplink *uplink, int64_t now)
{
    int64_t limit_ns = uplink->options->reconnect_ms * NP_NS_PER_MS;
    if (limit_ns > 0 && uplink->away_since != NP_NEVER && now - uplink->away_since >= limit_ns) {
        char reason[128];
        (void)snprintf(reason, sizeof reason, "the broker was away for %lld ms",
                       (long long)uplink->options->reconnect_ms);
        end(uplink, NETPOOL_UNREACHABLE, reason);
    }
}

void uplink_turn(struct uplink *uplink, int64_t now)
{
    if (uplink->channel != NULL && !uplink->is_dead && now >= channel_deadline(uplink->channel)) {
        channel_tick(uplink->channel, now);
    }
    if (uplink->channel != NULL && !uplink->is_dead && now >= uplink->welcome_by) {
        uplink->welcome_by = NP_NEVER;
        channel_close(uplink->channel, NETPOOL_TIMEOUT, "no welcome in time");
    }
    if (uplink->is_dead) {
        channel_destroy(&uplink->channel);
        uplink->is_dead = false;
    }
    give_up_in_time(uplink, now);
    if (uplink->channel == NULL && !uplink->has_ended && now >= uplink->connect_at) {
        connect_now(uplink, now);
    }
}

int64_t uplink_deadline(const struct uplink *uplink)
{
    int64_t deadline = uplink->connect_at;
    if (uplink->channel != NULL) {
        deadline = uplink->is_dead ? 0 : np_earlier(channel_deadline(uplink->channel), uplink->welcome_by);
    }
    if (uplink->options->reconnect_ms > 0 && uplink->away_since != NP_NEVER) {
        deadline = np_earlier(deadline, uplink->away_since + uplink->options->reconnect_ms * NP_NS_PER_MS);
    }
    return deadline;
}

void uplink_send(struct uplink *uplink, Np__Envelope *envelope)
{
    if (uplink->is_ready && channel_send(uplink->channel, envelope, NULL, 0, CHANNEL_IN_ORDER) != NETPOOL_OK) {
        channel_close(uplink->channel, NETPOOL_NO_MEMORY, "out of memory");
    }
}
