#include "broker/core/core.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/lease.h"
#include "broker/core/recovery.h"
#include "broker/core/schedule.h"
#include "broker/core/state.h"

#define MIB (UINT64_C(1024) * 1024)

void core_touch(struct core *core, struct peer *peer)
{
    if (peer->state == PEER_OPEN && np_list_is_empty(&peer->touched_node)) {
        np_list_push_back(&core->touched, &peer->touched_node);
    }
}

void core_touch_session(struct core *core, struct session *session)
{
    if (session->peer != NULL) {
        core_touch(core, session->peer);
    }
}

void core_log(struct core *core, enum np_log_level level, const char *format, ...)
{
    if (core->output.log == NULL) {
        return;
    }
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    core->output.log(core->output.context, level, text);
}

static void fill(uint64_t *value, uint64_t standard)
{
    if (*value == 0) {
        *value = standard;
    }
}

static void fill_ns(int64_t *value, int64_t standard)
{
    if (*value == 0) {
        *value = standard;
    }
}

static void fill_defaults(struct core_config *config)
{
    fill(&config->max_payload, NP_PAYLOAD_DEFAULT);
    fill(&config->max_tasks, 8 * MIB);
    fill(&config->max_memory, 4096 * MIB);
    fill(&config->client_tasks, 2 * MIB);
    fill(&config->client_bytes, 512 * MIB);
    fill(&config->delivery_bytes, 4 * MIB);
    if (config->max_attempts == 0) {
        config->max_attempts = 3;
    }
    fill_ns(&config->session_grace_ns, 10 * NP_NS_PER_S);
    fill_ns(&config->recovery_ns, 5 * NP_NS_PER_S);
    fill_ns(&config->heartbeat_ns, NP_HEARTBEAT_MS * NP_NS_PER_MS);
    fill_ns(&config->timeout_ns, NP_TIMEOUT_MS * NP_NS_PER_MS);
}

netpool_status core_new(struct core **out, const struct core_config *config, const struct core_output *output,
                        int64_t now)
{
    assert(config->epoch != 0);
    struct core *core = calloc(1, sizeof *core);
    struct outbox *outbox = calloc(1, sizeof *outbox);
    if (core == NULL || outbox == NULL) {
        free(core);
        free(outbox);
        return NETPOOL_NO_MEMORY;
    }
    core->config = *config;
    fill_defaults(&core->config);
    core->output = *output;
    core->outbox = outbox;
    core->now = now;
    core->started_ns = now;
    core->balance_ns = NP_NEVER;
    core->is_recovering = core->config.recovery_ns > 0;
    core->recovery_end_ns = core->is_recovering ? now + core->config.recovery_ns : NP_NEVER;
    task_memory_init(&core->task_memory);
    functions_init(&core->functions, config->hash_seed);
    core->sessions.seed = config->hash_seed;
    core->worker_ids.seed = config->hash_seed;
    struct np_list *lists[] = {&core->new_peers, &core->touched, &core->closing,   &core->all_sessions,
                               &core->detached,  &core->paused,  &core->to_review, &core->fleets,
                               &core->workers,   &core->changed, &core->hungry,    &core->surplus,
                               &core->progress};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        np_list_init(lists[i]);
    }
    *out = core;
    return NETPOOL_OK;
}

void core_destroy(struct core **place)
{
    struct core *core = *place;
    if (core == NULL) {
        return;
    }
    core->output = (struct core_output){0};
    size_t cursor = 0;
    for (struct peer *peer; (peer = np_table_next(&core->peers, &cursor)) != NULL;) {
        peer_settle(core, peer, core->now);
    }
    while (core->peers.count > 0) {
        cursor = 0;
        peer_destroy(core, np_table_next(&core->peers, &cursor));
    }
    NP_LIST_EACH(node, &core->all_sessions) {
        struct session *session = NP_CONTAINER(node, struct session, node);
        if (!session->is_ending) {
            session_end(core, session);
        }
    }
    assert(np_list_is_empty(&core->all_sessions) && core->held == 0 && core->stats.memory_bytes == 0);
    functions_fini(&core->functions);
    task_memory_fini(&core->task_memory);
    deadlines_fini(&core->deadlines);
    np_table_fini(&core->sessions);
    np_table_fini(&core->peers);
    np_table_fini(&core->worker_ids);
    free(core->outbox);
    free(core);
    *place = NULL;
}

/* Peers that are to be closed are parted from what they stood for at the end of each event. */
static void settle_closing(struct core *core, int64_t now)
{
    NP_LIST_EACH(node, &core->closing) {
        peer_settle(core, NP_CONTAINER(node, struct peer, closing_node), now);
    }
}

bool core_connect(struct core *core, uint64_t id, const struct core_peer *who, int64_t now)
{
    struct peer *peer = peer_new(core, id, who, now);
    if (peer == NULL || np_table_put(&core->peers, id, peer) != NETPOOL_OK) {
        if (peer != NULL) {
            np_list_remove(&peer->new_node);
            free(peer);
        }
        core_log(core, NP_LOG_ERROR, "no memory for the peer %s", who->address != NULL ? who->address : "");
        return false;
    }
    if (core->is_shut) {
        peer_close(core, peer, NETPOOL_CLOSED, "the broker is going down");
    }
    return true;
}

void core_disconnect(struct core *core, uint64_t id, bool orderly, int64_t now)
{
    core->now = now;
    struct peer *peer = np_table_find(&core->peers, id);
    if (peer != NULL) {
        peer_lost(core, peer, orderly, now);
        settle_closing(core, now);
    }
}

void core_receive(struct core *core, uint64_t id, struct np_message *message, int64_t now)
{
    core->now = now;
    struct peer *peer = np_table_find(&core->peers, id);
    if (peer == NULL) {
        return;
    }
    if (message->envelope->kind_case == NP__ENVELOPE__KIND_GOODBYE) {
        peer_lost(core, peer, true, now);
    } else {
        peer_receive(core, peer, message, now);
    }
    settle_closing(core, now);
}

static struct peer *first_new_peer(const struct core *core)
{
    struct np_list *node = np_list_front(&core->new_peers);
    return node != NULL ? NP_CONTAINER(node, struct peer, new_node) : NULL;
}

static struct session *first_detached(const struct core *core)
{
    struct np_list *node = np_list_front(&core->detached);
    return node != NULL ? NP_CONTAINER(node, struct session, detached_node) : NULL;
}

void core_tick(struct core *core, int64_t now)
{
    core->now = now;
    struct peer *peer;
    while ((peer = first_new_peer(core)) != NULL && peer->hello_end_ns <= now) {
        peer_close(core, peer, NETPOOL_TIMEOUT, "no HELLO within %d ms", NP_HELLO_TIMEOUT_MS);
    }
    struct session *session;
    while ((session = first_detached(core)) != NULL && session->grace_end_ns <= now) {
        core_log(core, NP_LOG_INFO, "client %s has not come back: its %llu tasks are cancelled", session->name,
                 (unsigned long long)session->held);
        core->stats.clients--;
        session_end(core, session);
    }
    struct task *task;
    while ((task = deadline_first(&core->deadlines)) != NULL && deadline_of(task) <= now) {
        if (task->extra->expiry_ns <= now) {
            lease_cancel(core, task, TASK_EXPIRE);
        } else {
            task_retry_due(core, task);
        }
    }
    progress_tick(core, now);
    if (core->balance_ns <= now) {
        core->balance_ns = NP_NEVER; /* the scheduler looks with the flush */
    }
    if (core->is_recovering && core->recovery_end_ns <= now) {
        recovery_over(core);
    }
    settle_closing(core, now);
}

int64_t core_deadline(const struct core *core)
{
    int64_t deadline = np_earlier(np_earlier(core->recovery_end_ns, core->balance_ns), progress_deadline(core));
    const struct peer *peer = first_new_peer(core);
    const struct session *session = first_detached(core);
    const struct task *task = deadline_first(&core->deadlines);
    if (peer != NULL) {
        deadline = np_earlier(deadline, peer->hello_end_ns);
    }
    if (session != NULL) {
        deadline = np_earlier(deadline, session->grace_end_ns);
    }
    if (task != NULL) {
        deadline = np_earlier(deadline, deadline_of(task));
    }
    return deadline;
}

/* Clients that were held back because of the broker's memory go on when it has come down. */
static void review_memory(struct core *core)
{
    bool is_over = core->stats.memory_bytes > core->config.max_memory;
    if (core->is_over_memory && !is_over) {
        NP_LIST_EACH(node, &core->paused) {
            session_review_pause(core, NP_CONTAINER(node, struct session, paused_node));
        }
    }
    core->is_over_memory = is_over;
}

static void send_touched(struct core *core, int64_t now)
{
    struct np_list *node;
    while ((node = np_list_pop_front(&core->touched)) != NULL) {
        outbox_send_due(core, NP_CONTAINER(node, struct peer, touched_node), now);
    }
}

static void send_closing(struct core *core)
{
    struct np_list *node;
    while ((node = np_list_pop_front(&core->closing)) != NULL) {
        struct peer *peer = NP_CONTAINER(node, struct peer, closing_node);
        core->output.close(core->output.context, peer->id, peer->close_status, peer->close_reason);
        peer_destroy(core, peer);
    }
}

void core_flush(struct core *core, int64_t now)
{
    core->now = now;
    do {
        settle_closing(core, now);
        send_closing(core);
        sessions_review(core);
        review_memory(core);
        schedule_run(core, now);
        send_touched(core, now);
    } while (!np_list_is_empty(&core->closing)); /* a message could not be made: its peer's tasks go to others */
}

void core_shutdown(struct core *core, const char *reason, int64_t now)
{
    core->now = now;
    core->is_shut = true;
    size_t cursor = 0;
    for (struct peer *peer; (peer = np_table_next(&core->peers, &cursor)) != NULL;) {
        peer_close(core, peer, NETPOOL_CLOSED, "%s", reason);
    }
    settle_closing(core, now);
}

void core_get_stats(const struct core *core, struct core_stats *out)
{
    *out = core->stats;
}
