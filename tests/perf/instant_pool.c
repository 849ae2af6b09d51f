#include "tests/perf/instant_pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/places/backend.h"
#include "client/pool.h"
#include "common/clock.h"

static const uint8_t body_of_zeros[INSTANT_BODY];

netpool_status instant_send(void *context, Np__Envelope *envelope, const void *body, size_t body_size, bool urgent)
{
    struct instant_broker *broker = context;
    (void)body;
    (void)urgent;
    if (envelope->kind_case == NP__ENVELOPE__KIND_HELLO) {
        broker->has_hello = true;
    } else if (envelope->kind_case == NP__ENVELOPE__KIND_SUBMIT) {
        const Np__Submit *submit = envelope->submit;
        assert(broker->count + submit->n_seqs <= INSTANT_BATCH && broker->body_size + body_size <= INSTANT_BODY);
        memcpy(broker->seqs + broker->count, submit->seqs, submit->n_seqs * sizeof(uint64_t));
        memcpy(broker->sizes + broker->count, submit->sizes, submit->n_seqs * sizeof(uint32_t));
        broker->count += submit->n_seqs;
        broker->body_size += body_size;
    }
    return NETPOOL_OK;
}

static void make_welcome(struct instant_broker *broker)
{
    static uint8_t id[NP_SESSION_SIZE] = {9};
    np__welcome__init(&broker->welcome);
    broker->welcome.version = 1;
    broker->welcome.broker = (ProtobufCBinaryData){sizeof id, id};
    broker->welcome.epoch = 1;
    broker->welcome.max_payload = 1 << 20;
    broker->welcome.credit_tasks = broker->welcome.credit_bytes = UINT64_C(1) << 60;
    broker->envelope.kind_case = NP__ENVELOPE__KIND_WELCOME;
    broker->envelope.welcome = &broker->welcome;
}

static void make_results(struct instant_broker *broker)
{
    static char worker[] = "worker";
    static char host[] = "host";
    np__results__init(&broker->results);
    broker->results.worker = worker;
    broker->results.host = host;
    broker->results.seqs = broker->seqs;
    broker->results.sizes = broker->sizes;
    broker->results.n_seqs = broker->results.n_sizes = broker->count;
    broker->envelope.kind_case = NP__ENVELOPE__KIND_RESULTS;
    broker->envelope.results = &broker->results;
}

bool instant_answer(struct instant_broker *broker, struct np_message *message)
{
    np__envelope__init(&broker->envelope);
    *message = (struct np_message){.envelope = &broker->envelope, .body = body_of_zeros};
    if (broker->has_hello) {
        broker->has_hello = false;
        make_welcome(broker);
    } else if (broker->count > 0) {
        make_results(broker);
        message->body_size = broker->body_size;
        broker->count = broker->body_size = 0;
    } else {
        return false;
    }
    return true;
}

struct instant_backend {
    struct backend backend;
    struct engine *engine;
    struct instant_broker broker;
};

static void flush(struct backend *backend, int64_t now)
{
    struct instant_backend *instant = (struct instant_backend *)(void *)backend;
    struct dialogue_output output = {.context = &instant->broker, .send = instant_send};
    struct np_message message;
    do {
        if (engine_flush(instant->engine, &output, SIZE_MAX, now) != NETPOOL_OK ||
            !instant_answer(&instant->broker, &message)) {
            return;
        }
    } while (engine_receive(instant->engine, &message, NULL) == NETPOOL_OK);
}

static void tick(struct backend *backend, int64_t now, bool may_block)
{
    (void)backend;
    (void)now;
    (void)may_block;
}

static int64_t deadline(const struct backend *backend)
{
    (void)backend;
    return NP_NEVER;
}

static void destroy(struct backend *backend)
{
    free(backend);
}

static const struct backend_operations operations = {
    .flush = flush, .tick = tick, .deadline = deadline, .destroy = destroy};

netpool *instant_pool_new(void)
{
    struct dialogue_config config = {
        .id = {1}, .name = "perf", .host = "here", .role = NP__ROLE__CLIENT, .max_payload = 1 << 20};
    struct netpool *pool = pool_new();
    struct instant_backend *instant = calloc(1, sizeof *instant);
    assert(pool != NULL && instant != NULL);
    instant->backend.operations = &operations;
    config.keep_name = pool_keep_name;
    config.context = pool;
    pool->settings.max_payload = config.max_payload;
    netpool_status status = engine_new(&pool->engine, &config, &instant->backend, &pool->profile, NULL);
    assert(status == NETPOOL_OK);
    (void)status;
    instant->engine = pool->engine;
    dialogue_connect(engine_dialogue(pool->engine), 0);
    return pool;
}
