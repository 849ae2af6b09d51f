#include "client/places/embedded.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/random.h"
#include "common/text.h"

enum { CLIENT_PEER = 1 };

/* Rounds of dialogue and core in one flush: an answer can make the next question, but not for ever. */
enum { ROUNDS_MAX = 64 };

static void send_to_client(struct embedded *embedded, Np__Envelope *envelope, const void *body, size_t body_size)
{
    struct np_message message = {.envelope = envelope, .body = body, .body_size = body_size};
    netpool_error error = {0};
    netpool_status status = engine_receive(embedded->engine, &message, &error);
    if (status != NETPOOL_OK) {
        engine_fail(embedded->engine, status, error.message);
    }
}

static void core_sends(void *context, uint64_t peer, Np__Envelope *envelope, const void *body, size_t body_size,
                       bool urgent)
{
    struct embedded *embedded = context;
    if (peer == CLIENT_PEER) {
        send_to_client(embedded, envelope, body, body_size);
    } else {
        embedded->worker->send(embedded->owner, peer, envelope, body, body_size, urgent);
    }
}

static void core_closes(void *context, uint64_t peer, netpool_status status, const char *reason)
{
    struct embedded *embedded = context;
    if (peer == CLIENT_PEER) {
        dialogue_disconnect(embedded->dialogue);
        engine_fail(embedded->engine, status, reason);
    } else {
        embedded->worker->close(embedded->owner, peer, status, reason);
    }
}

static netpool_status dialogue_sends(void *context, Np__Envelope *envelope, const void *body, size_t body_size,
                                     bool urgent)
{
    (void)urgent;
    struct embedded *embedded = context;
    struct np_message message = {.envelope = envelope, .body = body, .body_size = body_size};
    core_receive(embedded->core, CLIENT_PEER, &message, embedded->now);
    return NETPOOL_OK;
}

netpool_status embedded_init(struct embedded *embedded, const struct settings *settings, struct engine *engine,
                             const struct embedded_worker *worker, void *owner, netpool_error *error)
{
    *embedded = (struct embedded){.engine = engine,
                                  .dialogue = engine_dialogue(engine),
                                  .worker = worker,
                                  .owner = owner,
                                  .last_peer = CLIENT_PEER};
    struct core_config config = {.max_payload = settings->max_payload, .recovery_ns = -1};
    np_random_system(config.broker_id, sizeof config.broker_id);
    np_random_system(&config.epoch, sizeof config.epoch);
    config.epoch |= 1; /* never 0 */
    (void)np_text_copy(config.address, sizeof config.address, settings->url_text);
    struct core_output output = {.context = embedded, .send = core_sends, .close = core_closes};
    int64_t now = np_clock_now();
    netpool_status status = core_new(&embedded->core, &config, &output, now);
    if (status != NETPOOL_OK) {
        return np_error_set(error, status, "cannot start the embedded broker: %s", netpool_status_text(status));
    }
    struct core_peer who = {.role = NP__ROLE__CLIENT, .name = "", .address = "this program"};
    if (!core_connect(embedded->core, CLIENT_PEER, &who, now)) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    dialogue_connect(embedded->dialogue, now);
    return NETPOOL_OK;
}

void embedded_fini(struct embedded *embedded)
{
    if (embedded->core != NULL) {
        core_destroy(&embedded->core);
    }
}

uint64_t embedded_connect_worker(struct embedded *embedded, const char *name, const char *address, int64_t now)
{
    uint64_t peer = ++embedded->last_peer;
    struct core_peer who = {.role = NP__ROLE__WORKER, .name = name, .address = address};
    return core_connect(embedded->core, peer, &who, now) ? peer : 0;
}

void embedded_flush(struct embedded *embedded, int64_t now)
{
    struct dialogue_output output = {.context = embedded, .send = dialogue_sends};
    embedded->now = now;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        netpool_status status = engine_flush(embedded->engine, &output, SIZE_MAX, now);
        if (status != NETPOOL_OK) {
            engine_fail(embedded->engine, status, "out of memory in the client");
        }
        core_flush(embedded->core, now);
        if (!dialogue_has_output(embedded->dialogue)) {
            return;
        }
    }
    engine_wake(embedded->engine); /* goes on in the next turn */
}
