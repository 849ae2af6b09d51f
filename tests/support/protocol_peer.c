#include "tests/support/protocol_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/support/block_of.h"
#include "tests/support/cmocka_all.h"
#include "transport/ipc.h"

enum { PATIENCE_MS = 20000 };

static void on_received(void *owner, struct channel *channel, struct np_message *message)
{
    struct protocol_peer *peer = owner;
    (void)channel;
    struct protocol_message *copy = calloc(1, sizeof *copy);
    size_t size = np__envelope__get_packed_size(message->envelope);
    uint8_t *packed = malloc(size + 1);
    assert_true(copy != NULL && packed != NULL);
    np__envelope__pack(message->envelope, packed);
    copy->envelope = np__envelope__unpack(NULL, size, packed);
    free(packed);
    copy->body_size = message->body_size;
    copy->body = np_message_take_body(message);
    assert_non_null(copy->envelope);
    np_list_push_back(&peer->received, &copy->link);
}

static void on_closed(void *owner, struct channel *channel, netpool_status status, const char *reason)
{
    struct protocol_peer *peer = owner;
    (void)channel;
    peer->is_closed = true;
    peer->closed_status = status;
    (void)snprintf(peer->closed_reason, sizeof peer->closed_reason, "%s", reason);
}

static const struct channel_handler handler = {.received = on_received, .closed = on_closed};

static void begin(struct protocol_peer *peer)
{
    *peer = (struct protocol_peer){0};
    np_list_init(&peer->received);
    assert_int_equal(reactor_new(&peer->reactor, NULL), NETPOOL_OK);
}

static void use_link(struct protocol_peer *peer, Np__Role role, struct link *link)
{
    struct channel_options options = {.local_role = role, .max_payload = NP_PAYLOAD_DEFAULT};
    assert_int_equal(channel_new(&peer->channel, peer->reactor, link, &options, &handler, peer, NULL), NETPOOL_OK);
    channel_set_remote_role(peer->channel, NP__ROLE__BROKER);
}

void protocol_peer_connect_tls(struct protocol_peer *peer, const char *dir, Np__Role role, const char *name,
                               const char *port)
{
    char ca[256];
    char cert[256];
    char key[256];
    netpool_error error = {0};
    struct link *link = NULL;
    begin(peer);
    (void)snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    (void)snprintf(cert, sizeof cert, "%s/%s-%s.pem", dir, np_role_name(role), name);
    (void)snprintf(key, sizeof key, "%s/%s-%s.key", dir, np_role_name(role), name);
    struct tls_files files = {.ca = ca, .cert = cert, .key = key};
    if (tls_context_new(&peer->credentials, &files, role, &error) != NETPOOL_OK ||
        tls_link_connect(&link, peer->credentials, "127.0.0.1", port, &error) != NETPOOL_OK) {
        fail_msg("%s", error.message);
    }
    use_link(peer, role, link);
}

void protocol_peer_connect_ipc(struct protocol_peer *peer, void *context, Np__Role role, const char *path)
{
    netpool_error error = {0};
    struct link *link;
    begin(peer);
    if (ipc_link_connect(&link, context, path, &error) != NETPOOL_OK) {
        fail_msg("%s", error.message);
    }
    use_link(peer, role, link);
}

void protocol_peer_close(struct protocol_peer *peer)
{
    channel_destroy(&peer->channel);
    for (struct np_list *node = np_list_pop_front(&peer->received); node != NULL;
         node = np_list_pop_front(&peer->received)) {
        protocol_message_destroy(NP_CONTAINER(node, struct protocol_message, link));
    }
    tls_context_destroy(&peer->credentials);
    reactor_destroy(&peer->reactor);
}

static void run_turn(struct protocol_peer *peer, int64_t patience)
{
    int64_t now = np_clock_now();
    assert_true(now < patience);
    if (now >= channel_deadline(peer->channel)) {
        channel_tick(peer->channel, now);
    }
    (void)reactor_turn(peer->reactor, np_earlier(patience, channel_deadline(peer->channel)));
}

void protocol_peer_send(struct protocol_peer *peer, Np__Envelope *envelope, const void *body, size_t body_size)
{
    int64_t patience = np_clock_now() + PATIENCE_MS * NP_NS_PER_MS;
    while (!channel_is_open(peer->channel)) {
        if (peer->is_closed) {
            fail_msg("closed before it was open: %s", peer->closed_reason);
        }
        run_turn(peer, patience);
    }
    void *block = block_of(body, body_size);
    assert_int_equal(channel_send(peer->channel, envelope, block, body_size, CHANNEL_IN_ORDER), NETPOOL_OK);
    np_block_free(block);
    channel_flush(peer->channel);
    while (channel_backlog(peer->channel) > 0 && !peer->is_closed) {
        run_turn(peer, patience);
    }
}

void protocol_peer_hello(struct protocol_peer *peer, Np__Role role, uint8_t session)
{
    uint8_t bytes[NP_SESSION_SIZE];
    char *functions[] = {(char *)"double"};
    Np__Hello hello = NP__HELLO__INIT;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    memset(bytes, session, sizeof bytes);
    hello.version_min = NP_PROTOCOL_VERSION_MIN;
    hello.version_max = NP_PROTOCOL_VERSION_MAX;
    hello.role = role;
    hello.software = (char *)"test";
    hello.name = (char *)"test";
    hello.host = (char *)"here";
    hello.session = (ProtobufCBinaryData){.len = sizeof bytes, .data = bytes};
    hello.max_payload = NP_PAYLOAD_DEFAULT;
    if (role == NP__ROLE__WORKER) {
        hello.slots = 1;
        hello.window_bytes = 16 * 1024 * 1024;
        hello.n_functions = 1;
        hello.functions = functions;
    }
    envelope.kind_case = NP__ENVELOPE__KIND_HELLO;
    envelope.hello = &hello;
    protocol_peer_send(peer, &envelope, NULL, 0);
}

void protocol_peer_enter(struct protocol_peer *peer, Np__Role role, uint8_t session)
{
    protocol_peer_hello(peer, role, session);
    struct protocol_message *welcome = protocol_peer_expect(peer, NP__ENVELOPE__KIND_WELCOME);
    peer->epoch = welcome->envelope->welcome->epoch;
    protocol_message_destroy(welcome);
    if (role == NP__ROLE__WORKER) {
        Np__Ready ready = NP__READY__INIT;
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_READY;
        envelope.ready = &ready;
        protocol_peer_send(peer, &envelope, NULL, 0);
    }
}

struct protocol_message *protocol_peer_expect(struct protocol_peer *peer, Np__Envelope__KindCase kind)
{
    int64_t patience = np_clock_now() + PATIENCE_MS * NP_NS_PER_MS;
    for (;;) {
        struct np_list *node = np_list_pop_front(&peer->received);
        if (node != NULL) {
            struct protocol_message *message = NP_CONTAINER(node, struct protocol_message, link);
            if (message->envelope->kind_case == kind) {
                return message;
            }
            protocol_message_destroy(message);
        } else if (peer->is_closed) {
            fail_msg("closed while a %s was expected: %s", np_message_kind_name(kind), peer->closed_reason);
        } else {
            run_turn(peer, patience);
        }
    }
}

void protocol_message_destroy(struct protocol_message *message)
{
    np__envelope__free_unpacked(message->envelope, NULL);
    np_block_free(message->body);
    free(message);
}

void protocol_peer_expect_closed(struct protocol_peer *peer)
{
    int64_t patience = np_clock_now() + PATIENCE_MS * NP_NS_PER_MS;
    while (!peer->is_closed) {
        run_turn(peer, patience);
    }
}

void protocol_peer_run_until(struct protocol_peer *peer, int64_t end)
{
    for (int64_t now = np_clock_now(); now < end; now = np_clock_now()) {
        if (now >= channel_deadline(peer->channel)) {
            channel_tick(peer->channel, now);
        }
        (void)reactor_turn(peer->reactor, np_earlier(end, channel_deadline(peer->channel)));
    }
}
