#include "broker/parcel.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"

/* What the pointer in a ZeroMQ message points to. libzmq orders memory between the two threads; `is_ready` says so in
 * terms that thread sanitizers see, which do not look into libzmq. */
struct bundle {
    atomic_bool is_ready;
    struct np_list parcels;
    uint64_t returned_count, returned_bytes; /* worked off by the sender of this bundle, in all */
};

static size_t size_of(const struct parcel *parcel)
{
    return sizeof *parcel + parcel->header_size + parcel->body_size;
}

static bool has_block(const struct parcel *parcel)
{
    return parcel->body_size > NP_FRAME_BODY_MAX;
}

static struct parcel *new_parcel(enum parcel_kind kind, uint64_t peer, size_t header_size, size_t inline_size)
{
    struct parcel *parcel = malloc(sizeof *parcel + header_size + inline_size);
    if (parcel != NULL) {
        *parcel = (struct parcel){.kind = kind, .peer = peer, .header_size = header_size};
        np_list_init(&parcel->link);
    }
    return parcel;
}

struct parcel *parcel_new(enum parcel_kind kind, uint64_t peer, const void *header, size_t header_size)
{
    struct parcel *parcel = new_parcel(kind, peer, header_size, 0);
    if (parcel != NULL && header != NULL) {
        memcpy(parcel->header, header, header_size);
    }
    return parcel;
}

struct parcel *parcel_of_message(uint64_t peer, const struct np_message *message)
{
    size_t header_size = np__envelope__get_packed_size(message->envelope);
    size_t inline_size = np_message_has_block(message) ? 0 : message->body_size;
    struct parcel *parcel = new_parcel(PARCEL_MESSAGE, peer, header_size, inline_size);
    if (parcel == NULL) {
        return NULL;
    }
    (void)np__envelope__pack(message->envelope, parcel->header);
    parcel->body_size = message->body_size;
    if (np_message_has_block(message)) {
        parcel->body = np_block_share(message->body);
    } else if (inline_size > 0) {
        parcel->body = memcpy(parcel->header + header_size, message->body, inline_size);
    }
    return parcel;
}

void parcel_destroy(struct parcel **parcel_at)
{
    struct parcel *parcel = *parcel_at;
    *parcel_at = NULL;
    if (parcel != NULL) {
        tls_context_destroy(&parcel->credentials);
        free(parcel->who);
        if (has_block(parcel)) {
            np_block_free(parcel->body);
        }
        free(parcel);
    }
}

static void destroy_all(struct np_list *parcels)
{
    for (struct np_list *node = np_list_pop_front(parcels); node != NULL; node = np_list_pop_front(parcels)) {
        struct parcel *parcel = NP_CONTAINER(node, struct parcel, link);
        parcel_destroy(&parcel);
    }
}

void parcel_pipe_init(struct parcel_pipe *pipe, zsock_t *socket)
{
    *pipe = (struct parcel_pipe){.pipe = socket};
    np_list_init(&pipe->waiting);
}

void parcel_pipe_fini(struct parcel_pipe *pipe)
{
    destroy_all(&pipe->waiting);
}

void parcel_pipe_add(struct parcel_pipe *pipe, struct parcel *parcel)
{
    np_list_push_back(&pipe->waiting, &parcel->link);
}

bool parcel_pipe_has_credit(const struct parcel_pipe *pipe)
{
    return pipe->sent_count - pipe->returned_count < PARCEL_WINDOW_COUNT &&
           pipe->sent_bytes - pipe->returned_bytes < PARCEL_WINDOW_BYTES;
}

static bool owes_credit(const struct parcel_pipe *pipe)
{
    return pipe->received_count - pipe->reported_count >= PARCEL_WINDOW_COUNT / 4 ||
           pipe->received_bytes - pipe->reported_bytes >= PARCEL_WINDOW_BYTES / 4;
}

void parcel_pipe_flush(struct parcel_pipe *pipe)
{
    bool has_parcels = !np_list_is_empty(&pipe->waiting) && parcel_pipe_has_credit(pipe);
    if (!has_parcels && !owes_credit(pipe)) {
        return;
    }
    struct bundle *bundle = malloc(sizeof *bundle);
    if (bundle == NULL) {
        return; /* with the next flush */
    }
    atomic_init(&bundle->is_ready, false);
    np_list_init(&bundle->parcels);
    while (!np_list_is_empty(&pipe->waiting) && parcel_pipe_has_credit(pipe)) {
        struct np_list *node = np_list_pop_front(&pipe->waiting);
        pipe->sent_count++;
        pipe->sent_bytes += size_of(NP_CONTAINER(node, struct parcel, link));
        np_list_push_back(&bundle->parcels, node);
    }
    bundle->returned_count = pipe->reported_count = pipe->received_count;
    bundle->returned_bytes = pipe->reported_bytes = pipe->received_bytes;
    atomic_store_explicit(&bundle->is_ready, true, memory_order_release);
    /* Cannot block: credit keeps fewer bundles on their way than the socket's high-water mark. */
    int sent = zmq_send(zsock_resolve(pipe->pipe), &bundle, sizeof bundle, ZMQ_DONTWAIT);
    assert(sent == (int)sizeof bundle);
    (void)sent;
}

bool parcel_pipe_receive(struct parcel_pipe *pipe, struct np_list *parcels)
{
    struct bundle *bundle;
    np_list_init(parcels);
    if (zmq_recv(zsock_resolve(pipe->pipe), &bundle, sizeof bundle, ZMQ_DONTWAIT) != (int)sizeof bundle) {
        return false;
    }
    bool is_ready = atomic_load_explicit(&bundle->is_ready, memory_order_acquire);
    assert(is_ready);
    (void)is_ready;
    pipe->returned_count = bundle->returned_count;
    pipe->returned_bytes = bundle->returned_bytes;
    for (struct np_list *node = bundle->parcels.next; node != &bundle->parcels; node = node->next) {
        pipe->received_count++;
        pipe->received_bytes += size_of(NP_CONTAINER(node, struct parcel, link));
    }
    np_list_splice_back(parcels, &bundle->parcels);
    free(bundle);
    return true;
}

bool parcel_pipe_is_readable(const struct parcel_pipe *pipe)
{
    return (zsock_events(pipe->pipe) & ZMQ_POLLIN) != 0;
}
