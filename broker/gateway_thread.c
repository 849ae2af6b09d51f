#include "broker/gateway_thread.h"

#include <stdlib.h>
#include <string.h>

#include "broker/parcel.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/list.h"
#include "common/log.h"

struct gateway_thread {
    struct reactor *reactor;
    struct port *gateway;
    struct parcel_pipe pipe;
    struct reactor_source input; /* the pipe's descriptor: edge-triggered, so deferred while there is more */
    bool is_ended;
};

/* The daemon may end with a clear line when the heap is exhausted: half a message cannot be taken back. */
static struct parcel *must_have(struct parcel *parcel)
{
    if (parcel == NULL) {
        np_log(NP_LOG_ERROR, "gateway", "out of memory");
        abort();
    }
    return parcel;
}

static void on_connected(void *owner, struct port *port, uint64_t peer, const struct link_peer *who)
{
    struct gateway_thread *thread = owner;
    (void)port;
    struct parcel *parcel = must_have(parcel_new(PARCEL_CONNECTED, peer, NULL, 0));
    parcel->who = malloc(sizeof *who);
    if (parcel->who == NULL) {
        parcel_destroy(&parcel);
        must_have(NULL);
    }
    *parcel->who = *who;
    parcel_pipe_add(&thread->pipe, parcel);
}

static void on_received(void *owner, struct port *port, uint64_t peer, struct np_message *message)
{
    struct gateway_thread *thread = owner;
    (void)port;
    parcel_pipe_add(&thread->pipe, must_have(parcel_of_message(peer, message)));
}

static void on_disconnected(void *owner, struct port *port, uint64_t peer, bool orderly)
{
    struct gateway_thread *thread = owner;
    (void)port;
    struct parcel *parcel = must_have(parcel_new(PARCEL_DISCONNECTED, peer, NULL, 0));
    parcel->orderly = orderly;
    parcel_pipe_add(&thread->pipe, parcel);
}

static const struct port_events events = {
    .connected = on_connected, .received = on_received, .disconnected = on_disconnected};

static void input_ready(struct reactor_source *source, uint32_t ready)
{
    (void)source; /* each turn receives what there is */
    (void)ready;
}

static void forward_message(struct gateway_thread *thread, const struct parcel *parcel)
{
    struct np_frame frame = {.header = parcel->header, .header_size = parcel->header_size};
    const Np__Envelope *envelope;
    netpool_error error;
    netpool_status status = np_message_decode(&frame, reactor_arena(thread->reactor), &envelope, &error);
    if (status == NETPOOL_OK) {
        /* A copy: sending sets large_body, and the decoded envelope is constant. */
        Np__Envelope copy = *envelope;
        thread->gateway->operations->send(thread->gateway, parcel->peer, &copy, parcel->body, parcel->body_size,
                                          parcel->urgent);
    } else {
        np_log(NP_LOG_ERROR, "gateway", "a message of the broker's own cannot be sent: %s", error.message);
        thread->gateway->operations->close(thread->gateway, parcel->peer, status, "the broker has no memory");
    }
}

static void handle(struct gateway_thread *thread, struct parcel *parcel)
{
    struct port *gateway = thread->gateway;
    switch (parcel->kind) {
    case PARCEL_MESSAGE:
        forward_message(thread, parcel);
        break;
    case PARCEL_CLOSE:
        gateway->operations->close(gateway, parcel->peer, parcel->status, (const char *)parcel->header);
        break;
    case PARCEL_RELOAD:
        gateway->operations->reload(gateway, parcel->credentials);
        parcel->credentials = NULL;
        break;
    case PARCEL_STOP_ACCEPTING:
        gateway->operations->stop_accepting(gateway);
        break;
    case PARCEL_END:
        thread->is_ended = true;
        break;
    case PARCEL_CONNECTED:
    case PARCEL_DISCONNECTED:
        assert(false && "a parcel that only goes up");
    }
}

static void receive(struct gateway_thread *thread)
{
    struct np_list parcels;
    while (!thread->is_ended && parcel_pipe_receive(&thread->pipe, &parcels)) {
        for (struct np_list *node = np_list_pop_front(&parcels); node != NULL; node = np_list_pop_front(&parcels)) {
            struct parcel *parcel = NP_CONTAINER(node, struct parcel, link);
            handle(thread, parcel);
            parcel_destroy(&parcel);
        }
    }
}

/* Waits for the core alone: the links stay unread. */
static void wait_for_credit(struct gateway_thread *thread, int64_t deadline)
{
    int64_t now = np_clock_now();
    long wait_ms = -1;
    if (deadline != NP_NEVER) {
        wait_ms = deadline <= now ? 0 : (long)((deadline - now) / NP_NS_PER_MS + 1);
    }
    zmq_pollitem_t item = {.socket = zsock_resolve(thread->pipe.pipe), .events = ZMQ_POLLIN};
    (void)zmq_poll(&item, 1, wait_ms);
}

static void run_turn(struct gateway_thread *thread)
{
    const struct port_operations *operations = thread->gateway->operations;
    int64_t deadline = operations->deadline(thread->gateway);
    if (parcel_pipe_has_credit(&thread->pipe)) {
        (void)reactor_turn(thread->reactor, deadline);
    } else {
        wait_for_credit(thread, deadline);
    }
    receive(thread);
    operations->tick(thread->gateway, np_clock_now());
    operations->flush(thread->gateway);
    parcel_pipe_flush(&thread->pipe);
    if (parcel_pipe_is_readable(&thread->pipe)) { /* also after the send, which may have taken in the signal */
        reactor_defer(thread->reactor, &thread->input);
    }
}

netpool_status gateway_thread_new(struct gateway_thread **out, int listener, struct tls_context *credentials,
                                  const struct gateway_config *config, netpool_error *error)
{
    struct gateway_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) {
        tls_context_destroy(&credentials);
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory for a gateway");
    }
    parcel_pipe_init(&thread->pipe, NULL);
    netpool_status status = reactor_new(&thread->reactor, error);
    if (status != NETPOOL_OK) {
        tls_context_destroy(&credentials);
    } else {
        status = gateway_new(&thread->gateway, thread->reactor, listener, credentials, config, error);
    }
    if (status != NETPOOL_OK) {
        gateway_thread_destroy(&thread);
        return status;
    }
    thread->gateway->events = &events;
    thread->gateway->owner = thread;
    *out = thread;
    return NETPOOL_OK;
}

void gateway_thread_destroy(struct gateway_thread **thread_at)
{
    struct gateway_thread *thread = *thread_at;
    *thread_at = NULL;
    if (thread == NULL) {
        return;
    }
    if (thread->gateway != NULL) {
        thread->gateway->operations->destroy(thread->gateway);
    }
    if (thread->reactor != NULL) {
        reactor_remove(thread->reactor, &thread->input);
    }
    reactor_destroy(&thread->reactor);
    parcel_pipe_fini(&thread->pipe);
    free(thread);
}

void gateway_thread_run(zsock_t *pipe, void *argument)
{
    struct gateway_thread *thread = argument;
    thread->pipe.pipe = pipe;
    int fd = zsock_fd(pipe);
    if (reactor_add(thread->reactor, &thread->input, fd, EPOLLIN, input_ready) != NETPOOL_OK) {
        np_log(NP_LOG_ERROR, "gateway", "cannot watch its pipe");
        abort();
    }
    zsock_signal(pipe, 0);
    /* libzmq signals a message only to a reader that has found the pipe empty before. */
    reactor_defer(thread->reactor, &thread->input);
    while (!thread->is_ended) {
        run_turn(thread);
    }
    /* All that was to go up has gone or is of no interest any more. The last word lets the core's side free the rest.
     */
    parcel_pipe_fini(&thread->pipe);
    struct parcel *last = must_have(parcel_new(PARCEL_END, 0, NULL, 0));
    parcel_pipe_init(&thread->pipe, pipe);
    parcel_pipe_add(&thread->pipe, last);
    parcel_pipe_flush(&thread->pipe);
    gateway_thread_destroy(&thread);
}
