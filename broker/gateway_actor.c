#include "broker/gateway_actor.h"

#include <czmq.h>
#include <stdlib.h>
#include <string.h>

#include "broker/gateway_thread.h"
#include "broker/parcel.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/list.h"
#include "common/log.h"

struct gateway_actor {
    struct port port;
    struct reactor *reactor;     /* the core's */
    struct reactor_source input; /* the pipe's descriptor: edge-triggered, so deferred while there is more */
    zactor_t *actor;
    struct parcel_pipe pipe;
    struct np_arena arena; /* for decoding what comes up */
    size_t peer_count;     /* reported connected and not yet disconnected */
    bool is_ended;         /* the thread has said its last word */
};

static struct gateway_actor *from_port(struct port *port)
{
    return NP_CONTAINER(port, struct gateway_actor, port);
}

static void add(struct gateway_actor *actor, struct parcel *parcel)
{
    if (parcel == NULL) {
        np_log(NP_LOG_ERROR, "broker", "out of memory");
        abort();
    }
    parcel_pipe_add(&actor->pipe, parcel);
}

static void actor_send(struct port *port, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                       bool urgent)
{
    const struct np_message message = {.envelope = envelope, .body = body, .body_size = body_size};
    struct parcel *parcel = parcel_of_message(peer, &message);
    if (parcel != NULL) {
        parcel->urgent = urgent;
    }
    add(from_port(port), parcel);
}

static void actor_close(struct port *port, uint64_t peer, netpool_status status, const char *reason)
{
    struct gateway_actor *actor = from_port(port);
    struct parcel *parcel = parcel_new(PARCEL_CLOSE, peer, reason, strlen(reason) + 1);
    if (parcel != NULL) {
        parcel->status = status;
    }
    add(actor, parcel);
}

static void actor_reload(struct port *port, struct tls_context *credentials)
{
    struct parcel *parcel = parcel_new(PARCEL_RELOAD, 0, NULL, 0);
    if (parcel != NULL) {
        parcel->credentials = credentials;
    }
    add(from_port(port), parcel);
}

static void actor_stop_accepting(struct port *port)
{
    add(from_port(port), parcel_new(PARCEL_STOP_ACCEPTING, 0, NULL, 0));
}

static void forward_message(struct gateway_actor *actor, const struct parcel *parcel)
{
    struct np_frame frame = {.header = parcel->header, .header_size = parcel->header_size};
    netpool_error error = {0};
    struct np_message message = {.body = parcel->body, .body_size = parcel->body_size};
    netpool_status status = np_message_decode(&frame, &actor->arena, &message.envelope, &error);
    if (status != NETPOOL_OK) {
        actor_close(&actor->port, parcel->peer, status, error.message);
        return;
    }
    actor->port.events->received(actor->port.owner, &actor->port, parcel->peer, &message);
}

static void handle(struct gateway_actor *actor, struct parcel *parcel)
{
    struct port *port = &actor->port;
    switch (parcel->kind) {
    case PARCEL_CONNECTED:
        actor->peer_count++;
        port->events->connected(port->owner, port, parcel->peer, parcel->who);
        break;
    case PARCEL_MESSAGE:
        forward_message(actor, parcel);
        break;
    case PARCEL_DISCONNECTED:
        actor->peer_count--;
        port->events->disconnected(port->owner, port, parcel->peer, parcel->orderly);
        break;
    case PARCEL_END:
        actor->is_ended = true;
        break;
    case PARCEL_CLOSE:
    case PARCEL_RELOAD:
    case PARCEL_STOP_ACCEPTING:
        assert(false && "a parcel that only goes down");
    }
}

static bool receive_bundle(struct gateway_actor *actor, bool is_heard)
{
    struct np_list parcels;
    if (!parcel_pipe_receive(&actor->pipe, &parcels)) {
        return false;
    }
    for (struct np_list *node = np_list_pop_front(&parcels); node != NULL; node = np_list_pop_front(&parcels)) {
        struct parcel *parcel = NP_CONTAINER(node, struct parcel, link);
        if (is_heard || parcel->kind == PARCEL_END) {
            handle(actor, parcel);
        }
        parcel_destroy(&parcel);
    }
    return true;
}

static void input_ready(struct reactor_source *source, uint32_t events)
{
    struct gateway_actor *actor = NP_CONTAINER(source, struct gateway_actor, input);
    (void)events;
    (void)receive_bundle(actor, true);
    if (parcel_pipe_is_readable(&actor->pipe)) {
        reactor_defer(actor->reactor, &actor->input);
    }
}

static void actor_tick(struct port *port, int64_t now)
{
    (void)port; /* the thread keeps its own deadlines */
    (void)now;
}

static int64_t actor_deadline(const struct port *port)
{
    (void)port;
    return NP_NEVER;
}

static void actor_flush(struct port *port)
{
    struct gateway_actor *actor = from_port(port);
    parcel_pipe_flush(&actor->pipe);
    if (parcel_pipe_is_readable(&actor->pipe)) { /* the send may have taken in the descriptor's signal */
        reactor_defer(actor->reactor, &actor->input);
    }
}

static bool actor_is_empty(const struct port *port)
{
    const struct gateway_actor *actor = NP_CONTAINER(port, const struct gateway_actor, port);
    return actor->peer_count == 0;
}

/* The thread's last word comes after all else it sent, so nothing is left in the pipe when the actor is destroyed. */
static void end_thread(struct gateway_actor *actor)
{
    parcel_pipe_fini(&actor->pipe);
    add(actor, parcel_new(PARCEL_END, 0, NULL, 0));
    while (!actor->is_ended) {
        parcel_pipe_flush(&actor->pipe);
        zmq_pollitem_t item = {.socket = zsock_resolve(actor->pipe.pipe), .events = ZMQ_POLLIN};
        (void)zmq_poll(&item, 1, -1);
        while (!actor->is_ended && receive_bundle(actor, false)) { /* after it comes the actor's own signal */
        }
    }
}

static void actor_destroy(struct port *port)
{
    struct gateway_actor *actor = from_port(port);
    if (actor->actor != NULL) {
        end_thread(actor);
        reactor_remove(actor->reactor, &actor->input);
        parcel_pipe_fini(&actor->pipe);
        zactor_destroy(&actor->actor);
    }
    np_arena_fini(&actor->arena);
    free(actor);
}

static const struct port_operations operations = {
    .send = actor_send,
    .close = actor_close,
    .reload = actor_reload,
    .stop_accepting = actor_stop_accepting,
    .tick = actor_tick,
    .deadline = actor_deadline,
    .flush = actor_flush,
    .is_empty = actor_is_empty,
    .destroy = actor_destroy,
};

netpool_status gateway_actor_new(struct port **out, struct reactor *reactor, int listener,
                                 struct tls_context *credentials, const struct gateway_config *config,
                                 netpool_error *error)
{
    struct gateway_thread *thread;
    netpool_status status = gateway_thread_new(&thread, listener, credentials, config, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    struct gateway_actor *actor = calloc(1, sizeof *actor);
    if (actor == NULL) {
        gateway_thread_destroy(&thread);
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory for a gateway");
    }
    actor->port.operations = &operations;
    actor->reactor = reactor;
    actor->actor = zactor_new(gateway_thread_run, thread);
    if (actor->actor == NULL) {
        gateway_thread_destroy(&thread);
        actor_destroy(&actor->port);
        return np_error_set(error, NETPOOL_SYSTEM, "cannot start a gateway thread");
    }
    parcel_pipe_init(&actor->pipe, zactor_sock(actor->actor));
    if (reactor_add(reactor, &actor->input, zsock_fd(actor->pipe.pipe), EPOLLIN, input_ready) != NETPOOL_OK) {
        actor_destroy(&actor->port);
        return np_error_system(error, "cannot watch a gateway's pipe");
    }
    reactor_defer(reactor, &actor->input); /* libzmq signals only a reader that has found the pipe empty before */
    *out = &actor->port;
    return NETPOOL_OK;
}
