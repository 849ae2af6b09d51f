#include "broker/core/prepare.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core/state.h"
#include "common/text.h"

/* As in core.worker_ids: no two connected workers share it. */
static uint64_t key_of(const struct worker *worker)
{
    uint64_t key;
    memcpy(&key, worker->id, sizeof key);
    return key;
}

size_t prepare_bytes(const struct session *session)
{
    return (session->preparation != NULL ? session->preparation->input_size : 0) +
           (session->broken_message != NULL ? strlen(session->broken_message) : 0);
}

static bool is_same(const struct preparation *a, const struct preparation *b)
{
    return a->input_size == b->input_size && a->max_tasks_per_executor == b->max_tasks_per_executor &&
           strcmp(a->initializer, b->initializer) == 0 &&
           (a->input_size == 0 || memcmp(a->input, b->input, a->input_size) == 0);
}

static void set_preparation(struct core *core, struct session *session, struct preparation *preparation)
{
    core->stats.memory_bytes -= prepare_bytes(session);
    free(session->preparation);
    session->preparation = preparation;
    core->stats.memory_bytes += prepare_bytes(session);
}

/* Those that were told of it are to forget it. */
static void outdate_all(struct core *core, struct session *session)
{
    size_t cursor = 0;
    for (struct briefing *briefing; (briefing = np_table_next(&session->briefed, &cursor)) != NULL;) {
        struct worker *worker = briefing->worker;
        briefing->session = NULL;
        np_list_remove(&briefing->node);
        np_list_push_back(&worker->outdated, &briefing->node);
        core_touch(core, worker->peer);
    }
    np_table_fini(&session->briefed);
}

netpool_status prepare_receive(struct core *core, struct session *session, const Np__Prepare *prepare,
                               const uint8_t *input, size_t input_size)
{
    bool has_initializer = prepare->initializer[0] != '\0';
    if (!has_initializer && prepare->max_tasks_per_executor == 0) {
        set_preparation(core, session, NULL);
        outdate_all(core, session);
        return NETPOOL_OK;
    }
    size_t size = has_initializer ? input_size : 0; /* nobody else would read it */
    struct preparation *preparation = malloc(sizeof *preparation + size);
    if (preparation == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    *preparation =
        (struct preparation){.max_tasks_per_executor = prepare->max_tasks_per_executor, .input_size = size};
    (void)np_text_copy(preparation->initializer, sizeof preparation->initializer, prepare->initializer);
    if (size > 0) {
        memcpy(preparation->input, input, size);
    }
    if (session->preparation != NULL && is_same(session->preparation, preparation)) {
        free(preparation); /* said again on a new link: executors that are prepared stay so */
        return NETPOOL_OK;
    }
    set_preparation(core, session, preparation);
    size_t cursor = 0;
    for (struct briefing *briefing; (briefing = np_table_next(&session->briefed, &cursor)) != NULL;) {
        briefing->is_current = false;
    }
    return NETPOOL_OK;
}

/* `preparation` NULL: forget the session. */
static void send_prepare(struct core *core, struct worker *worker, uint8_t *session_id,
                         struct preparation *preparation)
{
    Np__Prepare prepare = NP__PREPARE__INIT;
    prepare.session.data = session_id;
    prepare.session.len = NP_SESSION_SIZE;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PREPARE;
    envelope.prepare = &prepare;
    const void *input = NULL;
    size_t input_size = 0;
    if (preparation != NULL) {
        prepare.initializer = preparation->initializer;
        prepare.max_tasks_per_executor = preparation->max_tasks_per_executor;
        input_size = preparation->input_size;
        input = input_size > 0 ? preparation->input : NULL;
    }
    core->output.send(core->output.context, worker->peer->id, &envelope, input, input_size, false);
}

static struct briefing *briefing_new(struct worker *worker, struct session *session)
{
    struct briefing *briefing = calloc(1, sizeof *briefing);
    if (briefing == NULL || np_table_put(&session->briefed, key_of(worker), briefing) != NETPOOL_OK) {
        free(briefing);
        return NULL;
    }
    briefing->worker = worker;
    briefing->session = session;
    memcpy(briefing->session_id, session->id, NP_SESSION_SIZE);
    np_list_push_back(&worker->briefings, &briefing->node);
    return briefing;
}

bool prepare_brief(struct core *core, struct worker *worker, struct session *session)
{
    struct briefing *briefing = np_table_find(&session->briefed, key_of(worker));
    if (briefing == NULL) {
        briefing = briefing_new(worker, session);
        if (briefing == NULL) {
            return false;
        }
    }
    if (!briefing->is_current) {
        briefing->is_current = true;
        send_prepare(core, worker, session->id, session->preparation);
    }
    return true;
}

void prepare_send_outdated(struct core *core, struct worker *worker)
{
    struct np_list *node;
    while ((node = np_list_pop_front(&worker->outdated)) != NULL) {
        struct briefing *briefing = NP_CONTAINER(node, struct briefing, node);
        send_prepare(core, worker, briefing->session_id, NULL);
        free(briefing);
    }
}

void prepare_failed(struct core *core, struct session *session, const char *message)
{
    if (session->is_broken || session->is_ending) {
        return;
    }
    core_log(core, NP_LOG_INFO, "client %s: its initializer failed: %s", session->name, message);
    session->is_broken = true;
    session->broken_message = strdup(message); /* without it the status says what matters */
    core->stats.memory_bytes += session->broken_message != NULL ? strlen(session->broken_message) : 0;
    struct np_list *lists[] = {&session->recovering, &session->waiting};
    struct np_list *node;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        while ((node = np_list_front(lists[i])) != NULL) {
            task_finish(core, NP_CONTAINER(node, struct task, node), TASK_BREAK, NETPOOL_NOT_INITIALIZED);
        }
    }
    while ((node = np_list_front(&session->queues)) != NULL) {
        struct queue *queue = NP_CONTAINER(node, struct queue, node);
        task_finish(core, queue_front(queue), TASK_BREAK, NETPOOL_NOT_INITIALIZED);
    }
}

void prepare_session_over(struct core *core, struct session *session)
{
    outdate_all(core, session);
    set_preparation(core, session, NULL);
    core->stats.memory_bytes -= prepare_bytes(session);
    free(session->broken_message);
    session->broken_message = NULL;
}

static void free_all(struct np_list *briefings)
{
    struct np_list *node;
    while ((node = np_list_pop_front(briefings)) != NULL) {
        free(NP_CONTAINER(node, struct briefing, node));
    }
}

void prepare_worker_over(struct worker *worker)
{
    NP_LIST_EACH(node, &worker->briefings) {
        np_table_take(&NP_CONTAINER(node, struct briefing, node)->session->briefed, key_of(worker));
    }
    free_all(&worker->briefings);
    free_all(&worker->outdated);
}
