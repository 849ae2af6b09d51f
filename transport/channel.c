#include "transport/channel.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/error.h"
#include "transport/channel_input.h"
#include "transport/channel_output.h"

enum {
    TURN_SIZE = 512 * 1024, /* bytes read at a time; then others have their turn */
    READ_COST = 4 * 1024,   /* in bytes, of a read */
};

enum channel_state {
    OPENING, /* the link is being established */
    OPEN,
    ENDING, /* channel_close was called: `closed` is still to be told */
    DEAD
};

struct channel {
    struct reactor *reactor;
    struct reactor_source source;
    struct link *link;
    const struct channel_handler *handler;
    void *owner;
    uint64_t id;
    enum channel_state state;
    int64_t heartbeat_ns;
    int64_t timeout_ns;
    int64_t handshake_deadline;
    int64_t last_received;
    int64_t last_sent;
    int64_t stalled_since; /* NP_NEVER while what was sent is being written */
    struct channel_input input;
    struct channel_output output;
    netpool_error end; /* why it ends, once state is ENDING */
    int busy;          /* callbacks on the stack */
    bool destroyed;    /* by its owner, from inside a callback */
};

static atomic_uint_fast64_t last_id;

static void close_link(struct channel *channel)
{
    reactor_remove(channel->reactor, &channel->source);
    if (channel->link != NULL) {
        channel->link->operations->destroy(channel->link);
        channel->link = NULL;
    }
}

static void release(struct channel *channel)
{
    close_link(channel);
    channel_input_fini(&channel->input);
    channel_output_fini(&channel->output);
    free(channel);
}

/* Each callback runs between enter and leave, so that the owner may destroy the channel inside. */
static void enter(struct channel *channel)
{
    channel->busy++;
}

/* False: the channel is gone. */
static bool leave(struct channel *channel)
{
    channel->busy--;
    if (channel->destroyed && channel->busy == 0) {
        release(channel);
        return false;
    }
    return !channel->destroyed;
}

static void die(struct channel *channel, netpool_status status, const char *reason)
{
    if (channel->state == DEAD) {
        return;
    }
    channel->state = DEAD;
    reactor_remove(channel->reactor, &channel->source);
    channel->handler->closed(channel->owner, channel, status, reason);
}

static void update_interest(struct channel *channel)
{
    if (channel->state == OPENING || channel->state == OPEN) {
        bool want_write = channel_output_size(&channel->output) > 0;
        reactor_set_interest(channel->reactor, &channel->source,
                             channel->link->operations->interest(channel->link, want_write));
    }
}

static void deliver(struct channel *channel, struct np_message *message)
{
    const Np__Envelope *envelope = message->envelope;
    if (envelope->kind_case == NP__ENVELOPE__KIND_GOODBYE) {
        die(channel, (netpool_status)envelope->goodbye->status, envelope->goodbye->reason);
    } else if (envelope->kind_case != NP__ENVELOPE__KIND_HEARTBEAT) {
        channel->handler->received(channel->owner, channel, message);
    }
}

/* Delivers the whole messages that have come. Callbacks may end or destroy the channel on the way. */
static netpool_status handle_input(struct channel *channel, netpool_error *error)
{
    bool is_whole = true;
    while (is_whole && channel->state == OPEN && !channel->destroyed) {
        struct np_message message;
        netpool_status status =
            channel_input_next(&channel->input, reactor_arena(channel->reactor), &message, &is_whole, error);
        if (status != NETPOOL_OK) {
            return status;
        }
        if (is_whole) {
            deliver(channel, &message);
        }
    }
    return NETPOOL_OK;
}

static netpool_status read_once(struct channel *channel, size_t *got, bool *is_short, netpool_error *error)
{
    size_t size;
    *got = 0;
    uint8_t *place = channel_input_reserve(&channel->input, &size);
    if (place == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory to read");
    }
    netpool_status status = channel->link->operations->read(channel->link, place, size, got, error);
    *is_short = *got <= size / 2;
    if (status == NETPOOL_OK && *got > 0) {
        channel_input_commit(&channel->input, *got);
        channel->last_received = np_clock_now();
        status = handle_input(channel, error);
    }
    return status;
}

static void read_and_handle(struct channel *channel)
{
    netpool_error error = {0};
    netpool_status status = NETPOOL_OK;
    bool has_more = true;
    size_t got = 0;
    for (size_t done = 0; done < TURN_SIZE && has_more && status == NETPOOL_OK; done += got + READ_COST) {
        bool is_short = true;
        status = read_once(channel, &got, &is_short, &error);
        if (channel->state != OPEN || channel->destroyed) {
            return;
        }
        /* It has most likely taken all there was; should it not, the descriptor tells. */
        has_more = !is_short || channel->link->operations->is_readable(channel->link);
    }
    if (status == NETPOOL_OK) {
        if (has_more && channel->link->operations->is_readable(channel->link)) {
            reactor_defer(channel->reactor, &channel->source);
        }
    } else if (status == NETPOOL_CLOSED || status == NETPOOL_UNREACHABLE || status == NETPOOL_REFUSED) {
        /* Only GOODBYE is an end in good order: a link that was shut properly without one is a broken link. */
        die(channel, status == NETPOOL_CLOSED ? NETPOOL_UNREACHABLE : status, error.message);
    } else {
        channel_close(channel, status, error.message);
    }
}

static void establish(struct channel *channel)
{
    netpool_error error = {0};
    bool done = false;
    netpool_status status = channel->link->operations->establish(channel->link, &done, &error);
    if (status != NETPOOL_OK) {
        die(channel, status, error.message);
        return;
    }
    if (!done) {
        return;
    }
    channel->state = OPEN;
    channel->last_received = channel->last_sent = np_clock_now();
    if (channel->handler->opened != NULL) {
        channel->handler->opened(channel->owner, channel);
    }
}

static void source_ready(struct reactor_source *source, uint32_t events)
{
    (void)events;
    channel_ready(NP_CONTAINER(source, struct channel, source));
}

static netpool_status watch(struct channel *channel)
{
    uint32_t interest = channel->link->operations->interest(channel->link, false);
    return reactor_add(channel->reactor, &channel->source, channel->link->fd, interest, source_ready);
}

/* Connecting may go on to the next address of a host, on another descriptor. */
static void watch_new_descriptor(struct channel *channel)
{
    if (channel->link->fd != channel->source.fd) {
        reactor_remove(channel->reactor, &channel->source);
        if (watch(channel) != NETPOOL_OK) {
            die(channel, NETPOOL_SYSTEM, "cannot watch a socket");
        }
    }
}

void channel_ready(struct channel *channel)
{
    enter(channel);
    if (channel->state == OPENING) {
        establish(channel);
        if (!channel->destroyed && channel->state != DEAD) {
            watch_new_descriptor(channel);
        }
    }
    if (!channel->destroyed && channel->state == OPEN) {
        read_and_handle(channel);
    }
    if (!channel->destroyed && channel->state == OPEN) {
        channel_flush(channel);
    }
    if (!channel->destroyed && channel->state == ENDING) {
        die(channel, channel->end.status, channel->end.message);
    }
    if (!channel->destroyed) {
        update_interest(channel);
    }
    (void)leave(channel);
}

static int64_t or_default(int64_t value_ns, int64_t default_ms)
{
    return value_ns > 0 ? value_ns : default_ms * NP_NS_PER_MS;
}

netpool_status channel_new(struct channel **out, struct reactor *reactor, struct link *link,
                           const struct channel_options *options, const struct channel_handler *handler, void *owner,
                           netpool_error *error)
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL) {
        link->operations->destroy(link);
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    int64_t now = np_clock_now();
    *channel = (struct channel){
        .reactor = reactor,
        .link = link,
        .handler = handler,
        .owner = owner,
        .id = atomic_fetch_add(&last_id, 1) + 1,
        .state = OPENING,
        .input = {.local_role = options->local_role, .heap = options->heap, .max_payload = options->max_payload},
        .heartbeat_ns = or_default(options->heartbeat_ns, NP_HEARTBEAT_MS),
        .timeout_ns = or_default(options->timeout_ns, NP_TIMEOUT_MS),
        .handshake_deadline = now + or_default(options->handshake_timeout_ns, NP_HANDSHAKE_TIMEOUT_MS),
        .last_received = now,
        .last_sent = now,
        .stalled_since = NP_NEVER,
    };
    channel_output_init(&channel->output, options->heap);
    if (watch(channel) != NETPOOL_OK) {
        release(channel);
        return np_error_system(error, "cannot watch a socket");
    }
    reactor_defer(reactor, &channel->source); /* a link that needs no handshake opens without an event */
    *out = channel;
    return NETPOOL_OK;
}

void channel_destroy(struct channel **channel_at)
{
    struct channel *channel = *channel_at;
    *channel_at = NULL;
    if (channel == NULL) {
        return;
    }
    channel->destroyed = true;
    if (channel->busy == 0) {
        release(channel);
    }
}

netpool_status channel_send(struct channel *channel, Np__Envelope *envelope, const void *body, size_t body_size,
                            enum channel_urgency urgency)
{
    if (channel->state != OPEN) {
        return NETPOOL_OK;
    }
    return channel_output_add(&channel->output, envelope, body, body_size, urgency == CHANNEL_IN_ORDER);
}

/* A write that makes no progress for the timeout ends the channel: see channel_tick. */
static void note_progress(struct channel *channel, size_t wrote)
{
    bool is_empty = channel_output_size(&channel->output) == 0;
    if (wrote > 0) {
        channel->last_sent = np_clock_now();
        channel->stalled_since = is_empty ? NP_NEVER : channel->last_sent;
    } else if (is_empty) {
        channel->stalled_since = NP_NEVER;
    } else if (channel->stalled_since == NP_NEVER) {
        channel->stalled_since = np_clock_now();
    }
}

void channel_flush(struct channel *channel)
{
    if (channel->state != OPEN || channel_output_size(&channel->output) == 0) {
        return;
    }
    enter(channel);
    netpool_error error = {0};
    size_t wrote = 0;
    netpool_status status = channel_output_write(&channel->output, channel->link, &wrote, &error);
    note_progress(channel, wrote);
    if (status != NETPOOL_OK) {
        die(channel, status, error.message[0] != '\0' ? error.message : netpool_status_text(status));
    } else {
        if (channel->link->operations->is_readable(channel->link)) {
            reactor_defer(channel->reactor, &channel->source);
        }
        update_interest(channel);
    }
    (void)leave(channel);
}

void channel_close(struct channel *channel, netpool_status status, const char *reason)
{
    if (channel->state == ENDING || channel->state == DEAD) {
        return;
    }
    if (channel->state == OPEN) {
        Np__Goodbye goodbye = NP__GOODBYE__INIT;
        goodbye.status = (uint32_t)status;
        goodbye.reason = (char *)(uintptr_t)reason; /* packing does not write to it */
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_GOODBYE;
        envelope.goodbye = &goodbye;
        size_t wrote;
        netpool_error ignored; /* the channel ends in any case */
        if (channel_output_add(&channel->output, &envelope, NULL, 0, false) == NETPOOL_OK &&
            channel_output_write(&channel->output, channel->link, &wrote, &ignored) != NETPOOL_OK) {
            channel->stalled_since = NP_NEVER;
        }
    }
    (void)np_error_set(&channel->end, status, "%s", reason);
    channel->state = ENDING;
    reactor_set_interest(channel->reactor, &channel->source, 0);
    reactor_defer(channel->reactor, &channel->source);
}

static void send_heartbeat(struct channel *channel, int64_t now)
{
    Np__Heartbeat heartbeat = NP__HEARTBEAT__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    if (channel_send(channel, &envelope, NULL, 0, CHANNEL_URGENT) == NETPOOL_OK) {
        channel_flush(channel);
    }
    channel->last_sent = now; /* also when it cannot be queued or written: the next one is due a heartbeat later */
}

static bool is_silent(const struct channel *channel, int64_t now)
{
    return now - channel->last_received >= channel->timeout_ns;
}

static bool is_stalled(const struct channel *channel, int64_t now)
{
    return channel->stalled_since != NP_NEVER && now - channel->stalled_since >= channel->timeout_ns;
}

/* A silence that this process has slept through, stopped or frozen, says nothing about the peer: our own heartbeat is
 * overdue by another one. And what has come and was not read speaks for the peer. */
static void judge(struct channel *channel, int64_t now)
{
    char reason[160];
    bool has_slept = now - channel->last_sent >= 2 * channel->heartbeat_ns;
    channel_ready(channel);
    if (channel->destroyed || channel->state != OPEN) {
        return;
    }
    if (has_slept) {
        channel->last_received = now;
        channel->stalled_since = channel->stalled_since == NP_NEVER ? NP_NEVER : now;
    } else if (is_silent(channel, now)) {
        (void)snprintf(reason, sizeof reason, "nothing was heard from the peer for %.1f s",
                       (double)(now - channel->last_received) / (double)NP_NS_PER_S);
        die(channel, NETPOOL_UNREACHABLE, reason);
    } else if (is_stalled(channel, now)) {
        (void)snprintf(reason, sizeof reason, "the peer took no data for %.1f s",
                       (double)(now - channel->stalled_since) / (double)NP_NS_PER_S);
        die(channel, NETPOOL_UNREACHABLE, reason);
    }
}

static void keep_alive(struct channel *channel, int64_t now)
{
    if (!channel->link->tells_end && (is_silent(channel, now) || is_stalled(channel, now))) {
        judge(channel, now);
    }
    if (channel->destroyed || channel->state != OPEN || now - channel->last_sent < channel->heartbeat_ns) {
        return;
    }
    np_buffer_trim(&channel->input.bytes, 0); /* an idle peer costs no buffer */
    if (channel->link->tells_end) {
        channel->last_sent = now;
    } else {
        send_heartbeat(channel, now);
    }
}

void channel_tick(struct channel *channel, int64_t now)
{
    enter(channel);
    if (channel->state == OPENING && now >= channel->handshake_deadline) {
        die(channel, NETPOOL_UNREACHABLE, "the handshake did not finish in time");
    } else if (channel->state == ENDING) {
        die(channel, channel->end.status, channel->end.message);
    } else if (channel->state == OPEN) {
        keep_alive(channel, now);
    }
    (void)leave(channel);
}

static int64_t open_deadline(const struct channel *channel)
{
    int64_t idle = channel->last_sent + channel->heartbeat_ns;
    if (channel->link->tells_end) {
        const struct np_buffer *bytes = &channel->input.bytes;
        return bytes->capacity > 0 && np_buffer_size(bytes) == 0 ? idle : NP_NEVER; /* to give them back */
    }
    int64_t deadline = np_earlier(channel->last_received + channel->timeout_ns, idle);
    return channel->stalled_since == NP_NEVER ? deadline
                                              : np_earlier(deadline, channel->stalled_since + channel->timeout_ns);
}

int64_t channel_deadline(const struct channel *channel)
{
    switch (channel->state) {
    case OPENING:
        return channel->handshake_deadline;
    case OPEN:
        return open_deadline(channel);
    case ENDING:
        return 0;
    case DEAD:
        break;
    }
    return NP_NEVER;
}

void channel_set_limits(struct channel *channel, uint64_t max_payload, int64_t heartbeat_ns, int64_t timeout_ns)
{
    channel->input.max_payload = max_payload;
    channel->heartbeat_ns = or_default(heartbeat_ns, NP_HEARTBEAT_MS);
    channel->timeout_ns = or_default(timeout_ns, NP_TIMEOUT_MS);
}

void channel_set_remote_role(struct channel *channel, Np__Role remote_role)
{
    channel->input.remote_role = remote_role;
}

const struct link_peer *channel_peer(const struct channel *channel)
{
    return &channel->link->peer;
}

bool channel_is_open(const struct channel *channel)
{
    return channel->state == OPEN;
}

size_t channel_backlog(const struct channel *channel)
{
    return channel_output_size(&channel->output);
}

uint64_t channel_id(const struct channel *channel)
{
    return channel->id;
}
