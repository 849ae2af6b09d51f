#include "broker/core/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/state.h"

#define EXPRESS_ONE_OF 128 /* queues */

static uint64_t queue_key(const struct demand *demand, int32_t priority)
{
    return (uint64_t)demand->id << 32 | (uint32_t)priority;
}

static struct task *task_of(struct np_list *node)
{
    return NP_CONTAINER(node, struct task, node);
}

static uint32_t slots_of(const Np__Submit *submit)
{
    return submit->slots == 0 ? 1 : submit->slots;
}

/* With one reference more; NULL when out of memory. */
static struct queue *queue_take(struct functions *functions, struct session *session, const Np__Submit *submit)
{
    struct demand *demand =
        demand_take(functions, submit->function, submit->labels, submit->n_labels, slots_of(submit));
    if (demand == NULL) {
        return NULL;
    }
    struct queue *queue = np_table_find(&session->queue_table, queue_key(demand, submit->priority));
    if (queue != NULL) {
        demand_release(functions, demand);
        queue->references++;
        return queue;
    }
    queue = calloc(1, sizeof *queue);
    if (queue == NULL || demand_add_queue(demand) != NETPOOL_OK) {
        goto failed;
    }
    if (np_table_put(&session->queue_table, queue_key(demand, submit->priority), queue) != NETPOOL_OK) {
        demand->queue_count--;
        goto failed;
    }
    queue->session = session;
    queue->demand = demand;
    queue->priority = submit->priority;
    queue->references = 1;
    queue->demand_index = QUEUE_NOT_WANTED;
    np_list_init(&queue->tasks);
    np_list_init(&queue->node);
    np_list_init(&queue->express_node);
    return queue;

failed:
    free(queue);
    demand_release(functions, demand);
    return NULL;
}

void queue_release(struct functions *functions, struct queue *queue)
{
    if (--queue->references > 0) {
        return;
    }
    assert(queue->count == 0 && queue->waiting == 0 && queue->demand_index == QUEUE_NOT_WANTED);
    np_table_take(&queue->session->queue_table, queue_key(queue->demand, queue->priority));
    queue->demand->queue_count--;
    demand_release(functions, queue->demand);
    free(queue);
}

/* What a queue keeps in memory beside its tasks. A demand of several queues counts for each of them, unless it is one
 * of the few that workers' functions make by themselves. */
static uint32_t bytes_of(const struct queue *queue)
{
    const struct demand *demand = queue->demand;
    bool is_common = demand->labels.count == 0 && demand->function->fleets.count > 0;
    size_t bytes = sizeof *queue + BLOCK_BYTES + ENTRY_BYTES + sizeof(struct queue *);
    return (uint32_t)(bytes + (is_common ? 0 : demand_bytes(demand)));
}

/* The session remembers it no longer. */
static void forget_kind(struct core *core, struct kind *kind)
{
    struct queue *queue = kind->queue;
    if (kind->references > 1) {
        if (queue->counted_kinds++ == 0) {
            queue->counted_bytes = bytes_of(queue);
            session_add_kind_bytes(core, queue->session, queue->counted_bytes);
        }
        np_list_push_back(&queue->session->forgotten_kinds, &kind->node);
        queue->session->forgotten_count++;
        session_add_kind_bytes(core, queue->session, KIND_BYTES);
    }
    kind_release(core, kind);
}

static void uncount(struct core *core, struct kind *kind)
{
    struct queue *queue = kind->queue;
    np_list_remove(&kind->node);
    queue->session->forgotten_count--;
    session_add_kind_bytes(core, queue->session, -(int64_t)KIND_BYTES);
    if (--queue->counted_kinds == 0) {
        session_add_kind_bytes(core, queue->session, -(int64_t)queue->counted_bytes);
    }
}

static bool kind_matches(const struct kind *kind, const Np__Submit *submit, unsigned max_attempts)
{
    const struct demand *demand = kind->demand;
    return kind->queue->priority == submit->priority && kind->max_attempts == max_attempts &&
           kind->timeout_ms == submit->timeout_ms && kind->expiry_ms == submit->expiry_ms &&
           kind->item_in_size == submit->item_in_size && kind->item_out_size == submit->item_out_size &&
           kind->retry_delay_ms == submit->retry_delay_ms && kind->retry_failures == (submit->retry_failures != 0) &&
           kind->at_most_once == (submit->at_most_once != 0) && demand->slots == slots_of(submit) &&
           strcmp(demand->function->name, submit->function) == 0 &&
           labels_equal(&demand->labels, submit->labels, submit->n_labels);
}

struct kind *kind_find(struct core *core, struct session *session, const Np__Submit *submit)
{
    unsigned max_attempts = submit->max_attempts == 0 ? core->config.max_attempts : submit->max_attempts;
    if (max_attempts > NP_ATTEMPTS_MAX) {
        max_attempts = NP_ATTEMPTS_MAX;
    }
    labels_sort(submit->labels, submit->n_labels);
    for (size_t i = 0; i < SESSION_KINDS; i++) {
        if (session->kinds[i] != NULL && kind_matches(session->kinds[i], submit, max_attempts)) {
            return session->kinds[i];
        }
    }
    struct kind *kind = calloc(1, sizeof *kind);
    if (kind == NULL) {
        return NULL;
    }
    kind->queue = queue_take(&core->functions, session, submit);
    if (kind->queue == NULL) {
        free(kind);
        return NULL;
    }
    kind->demand = kind->queue->demand;
    kind->references = 1;
    np_list_init(&kind->node);
    kind->max_attempts = max_attempts;
    kind->timeout_ms = submit->timeout_ms;
    kind->expiry_ms = submit->expiry_ms;
    kind->item_in_size = submit->item_in_size;
    kind->item_out_size = submit->item_out_size;
    kind->retry_delay_ms = submit->retry_delay_ms;
    kind->at_most_once = submit->at_most_once != 0;
    kind->retry_failures = submit->retry_failures != 0;
    struct kind **place = &session->kinds[session->next_kind++ % SESSION_KINDS];
    if (*place != NULL) {
        forget_kind(core, *place);
    }
    *place = kind;
    return kind;
}

void kind_free(struct core *core, struct kind *kind)
{
    if (!np_list_is_empty(&kind->node)) {
        uncount(core, kind);
    }
    queue_release(&core->functions, kind->queue);
    free(kind);
}

bool kind_retries(const struct kind *kind, netpool_status status)
{
    return (status == NETPOOL_FAILED || status == NETPOOL_DEADLINE) && kind->retry_failures && !kind->at_most_once &&
           kind->max_attempts > 1;
}

bool kind_has_same_words(const struct kind *a, const struct kind *b)
{
    return a->demand->function == b->demand->function && a->queue->session == b->queue->session &&
           a->timeout_ms == b->timeout_ms && a->item_in_size == b->item_in_size &&
           a->item_out_size == b->item_out_size;
}

/* The node of the express list that the queue is to stand before. */
static struct np_list *find_express_position(struct queue *queue)
{
    struct np_list *queues = &queue->session->express_queues;
    struct np_list *position = queues;
    while (position->previous != queues &&
           NP_CONTAINER(position->previous, struct queue, express_node)->priority < queue->priority) {
        position = position->previous;
    }
    return position;
}

/* By priority, highest first; from the back, because most programs use one priority. A program with a priority for
 * each task takes large steps first, as in a skip list of two levels. */
static void activate(struct functions *functions, struct queue *queue)
{
    struct np_list *queues = &queue->session->queues;
    struct np_list *express = find_express_position(queue);
    struct np_list *position = express == &queue->session->express_queues
                                   ? queues
                                   : &NP_CONTAINER(express, struct queue, express_node)->node;
    while (position->previous != queues &&
           NP_CONTAINER(position->previous, struct queue, node)->priority < queue->priority) {
        position = position->previous;
    }
    np_list_insert_before(position, &queue->node);
    if (np_random_below(&functions->random, EXPRESS_ONE_OF) == 0) {
        np_list_insert_before(express, &queue->express_node);
    }
    if (!queue->session->is_paused) {
        demand_insert(functions, queue->demand, queue);
    }
}

/* The node that the task is to stand before. The last out-of-order insertion is where the search starts: requeued
 * tasks come in runs, in one direction or the other, so that a whole run costs one walk. */
static struct np_list *find_position(struct queue *queue, uint64_t seq)
{
    struct np_list *position = queue->hint != NULL ? &queue->hint->node : queue->tasks.next;
    while (position != &queue->tasks && task_of(position)->seq < seq) {
        position = position->next;
    }
    while (position->previous != &queue->tasks && task_of(position->previous)->seq > seq) {
        position = position->previous;
    }
    return position;
}

void queue_insert(struct functions *functions, struct queue *queue, struct task *task)
{
    if (queue->count == 0 || task_of(queue->tasks.previous)->seq < task->seq) {
        np_list_push_back(&queue->tasks, &task->node);
    } else {
        np_list_insert_before(find_position(queue, task->seq), &task->node);
        queue->hint = task;
    }
    queue->demand->function->queued++;
    if (queue->count++ == 0) {
        activate(functions, queue);
    }
}

/* So many have left. */
static void count_out(struct functions *functions, struct queue *queue, size_t count)
{
    queue->demand->function->queued -= count;
    queue->count -= count;
    if (queue->count == 0) {
        np_list_remove(&queue->node);
        np_list_remove(&queue->express_node);
        if (queue->demand_index != QUEUE_NOT_WANTED) {
            demand_remove(functions, queue->demand, queue);
        }
    }
}

void queue_remove(struct functions *functions, struct queue *queue, struct task *task)
{
    if (queue->hint == task) {
        queue->hint = NULL;
    }
    np_list_remove(&task->node);
    count_out(functions, queue, 1);
}

void queue_move_front(struct functions *functions, struct queue *queue, struct np_list *end, size_t count,
                      struct np_list *to)
{
    if (queue->hint != NULL && (end == &queue->tasks || queue->hint->seq < task_of(end)->seq)) {
        queue->hint = NULL;
    }
    np_list_move_front(to, &queue->tasks, end);
    count_out(functions, queue, count);
}

void queue_wait(struct queue *queue, struct task *task)
{
    np_list_push_back(&queue->session->waiting, &task->node);
    queue->waiting++;
    queue->demand->function->queued++;
}

void queue_wait_over(struct queue *queue, struct task *task)
{
    np_list_remove(&task->node);
    queue->waiting--;
    queue->demand->function->queued--;
}

struct task *queue_front(const struct queue *queue)
{
    assert(queue->count > 0);
    return task_of(queue->tasks.next);
}

void queues_pause(struct functions *functions, struct session *session)
{
    NP_LIST_EACH(node, &session->queues) {
        struct queue *queue = NP_CONTAINER(node, struct queue, node);
        demand_remove(functions, queue->demand, queue);
    }
}

void queues_resume(struct functions *functions, struct session *session)
{
    NP_LIST_EACH(node, &session->queues) {
        struct queue *queue = NP_CONTAINER(node, struct queue, node);
        demand_insert(functions, queue->demand, queue);
    }
}
