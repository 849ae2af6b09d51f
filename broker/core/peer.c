#include "broker/core/peer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/client.h"
#include "broker/core/hello.h"
#include "broker/core/lease.h"
#include "broker/core/recovery.h"
#include "broker/core/schedule.h"
#include "broker/core/state.h"

static const uint8_t rules[PEER_STATES][PEER_EVENTS] = {
    /*                 HELLO          another       HELLO late        we close it       link gone */
    [PEER_NEW] = {PEER_TO_OPEN, PEER_FAULT, PEER_TO_CLOSING, PEER_TO_CLOSING, PEER_TO_GONE},
    [PEER_OPEN] = {PEER_FAULT, PEER_STAYS, PEER_NEVER, PEER_TO_CLOSING, PEER_TO_GONE},
    [PEER_CLOSING] = {PEER_IGNORED, PEER_IGNORED, PEER_NEVER, PEER_IGNORED, PEER_TO_GONE},
    [PEER_GONE] = {PEER_NEVER, PEER_NEVER, PEER_NEVER, PEER_NEVER, PEER_NEVER},
};

enum peer_rule peer_rule(enum peer_state state, enum peer_event event)
{
    return (enum peer_rule)rules[state][event];
}

/* True when the event changes the state or is to be acted upon. */
static bool set_state(struct core *core, struct peer *peer, enum peer_event event)
{
    switch (peer_rule(peer->state, event)) {
    case PEER_TO_OPEN:
        peer->state = PEER_OPEN;
        return true;
    case PEER_STAYS:
        return true;
    case PEER_TO_CLOSING:
        peer->state = PEER_CLOSING;
        return true;
    case PEER_TO_GONE:
        peer->state = PEER_GONE;
        return true;
    case PEER_FAULT:
        peer_close(core, peer, NETPOOL_PROTOCOL,
                   event == PEER_HELLO ? "a second HELLO" : "the first message is not HELLO");
        return false;
    case PEER_IGNORED:
        return false;
    case PEER_NEVER:
        break;
    }
    assert(false && "the peer cannot meet this event in its state");
    return false;
}

struct peer *peer_new(struct core *core, uint64_t id, const struct core_peer *who, int64_t now)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        return NULL;
    }
    peer->id = id;
    peer->state = PEER_NEW;
    peer->role = who->role;
    snprintf(peer->name, sizeof peer->name, "%s", who->name != NULL ? who->name : "");
    peer->is_name_vouched = peer->name[0] != '\0';
    snprintf(peer->address, sizeof peer->address, "%s", who->address != NULL ? who->address : "");
    np_list_init(&peer->touched_node);
    np_list_init(&peer->closing_node);
    np_list_push_back(&core->new_peers, &peer->new_node);
    peer->hello_end_ns = now + NP_HELLO_TIMEOUT_MS * NP_NS_PER_MS;
    return peer;
}

static void on_results(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    (void)now;
    if (lease_results(core, peer->worker, message)) {
        core_touch(core, peer);
    }
}

static void on_returned(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    (void)now;
    lease_returned(core, peer->worker, message->envelope->returned);
}

static void on_held(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    (void)now;
    recovery_held(core, peer->worker, message->envelope->held);
}

static void on_ready(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    (void)peer;
    (void)message;
    (void)now;
    schedule_finish_unserved(core);
}

static void on_drain(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    (void)core;
    (void)peer;
    (void)message;
    (void)now;
}

static void on_progress(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    progress_receive(core, peer->worker, message->envelope->progress, now);
}

static void on_status_request(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    (void)message;
    (void)now;
    peer->status_due = true;
    core_touch(core, peer);
}

static const struct handler {
    Np__Envelope__KindCase kind;
    int worker_event; /* of the worker's state machine, or -1 */
    void (*handle)(struct core *core, struct peer *peer, struct np_message *message, int64_t now);
} handlers[] = {
    {NP__ENVELOPE__KIND_SUBMIT, -1, client_submit},
    {NP__ENVELOPE__KIND_CANCEL, -1, client_cancel},
    {NP__ENVELOPE__KIND_ACKNOWLEDGE, -1, client_acknowledge},
    {NP__ENVELOPE__KIND_PREPARE, -1, client_prepare},
    {NP__ENVELOPE__KIND_RESULTS, WORKER_RESULTS, on_results},
    {NP__ENVELOPE__KIND_RETURNED, WORKER_RETURNED, on_returned},
    {NP__ENVELOPE__KIND_HELD, WORKER_HELD, on_held},
    {NP__ENVELOPE__KIND_READY, WORKER_SAYS_READY, on_ready},
    {NP__ENVELOPE__KIND_DRAIN, WORKER_DRAIN, on_drain},
    {NP__ENVELOPE__KIND_PROGRESS, -1, on_progress},
    {NP__ENVELOPE__KIND_STATUS_REQUEST, -1, on_status_request},
};

static void dispatch(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    Np__Envelope__KindCase kind = message->envelope->kind_case;
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (handlers[i].kind != kind) {
            continue;
        }
        if (handlers[i].worker_event >= 0 &&
            !worker_handle(core, peer->worker, (enum worker_event)handlers[i].worker_event)) {
            peer_close(core, peer, NETPOOL_PROTOCOL, "%s from a worker that is %s", np_message_kind_name(kind),
                       worker_state_name(peer->worker->state));
            return;
        }
        handlers[i].handle(core, peer, message, now);
        return;
    }
    peer_close(core, peer, NETPOOL_PROTOCOL, "%s does not belong here", np_message_kind_name(kind));
}

void peer_receive(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    Np__Envelope__KindCase kind = message->envelope->kind_case;
    if (kind == NP__ENVELOPE__KIND_HEARTBEAT) {
        return;
    }
    if (!set_state(core, peer, kind == NP__ENVELOPE__KIND_HELLO ? PEER_HELLO : PEER_MESSAGE)) {
        return;
    }
    if (kind == NP__ENVELOPE__KIND_HELLO) {
        hello_receive(core, peer, message, now);
    } else if (!np_message_is_allowed(peer->role, NP__ROLE__BROKER, kind)) {
        peer_close(core, peer, NETPOOL_PROTOCOL, "a %s may not send %s", np_role_name(peer->role),
                   np_message_kind_name(kind));
    } else {
        dispatch(core, peer, message, now);
    }
}

void peer_close(struct core *core, struct peer *peer, netpool_status status, const char *format, ...)
{
    enum peer_event event = status == NETPOOL_TIMEOUT && peer->state == PEER_NEW ? PEER_HELLO_LATE : PEER_CLOSE;
    if (!set_state(core, peer, event)) {
        return;
    }
    peer->close_status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(peer->close_reason, sizeof peer->close_reason, format, arguments);
    va_end(arguments);
    np_list_remove(&peer->new_node);
    np_list_remove(&peer->touched_node);
    np_list_push_back(&core->closing, &peer->closing_node);
}

void peer_settle(struct core *core, struct peer *peer, int64_t now)
{
    struct session *session = peer->session;
    struct worker *worker = peer->worker;
    peer->session = NULL;
    peer->worker = NULL;
    if (session != NULL && peer->is_orderly) {
        core->stats.clients--;
        session_end(core, session);
    } else if (session != NULL) {
        session_detach(core, session, now);
    }
    if (worker != NULL) {
        uint64_t key;
        memcpy(&key, worker->id, sizeof key);
        if (np_table_find(&core->worker_ids, key) == worker) {
            np_table_take(&core->worker_ids, key);
        }
        worker_end(core, worker, peer->is_orderly, now);
    }
}

void peer_lost(struct core *core, struct peer *peer, bool orderly, int64_t now)
{
    if (!set_state(core, peer, PEER_LOST)) {
        return;
    }
    peer->is_orderly = orderly;
    peer_settle(core, peer, now);
    peer_destroy(core, peer);
}

void peer_destroy(struct core *core, struct peer *peer)
{
    assert(peer->session == NULL && peer->worker == NULL);
    np_table_take(&core->peers, peer->id);
    np_list_remove(&peer->new_node);
    np_list_remove(&peer->touched_node);
    np_list_remove(&peer->closing_node);
    free(peer);
}
