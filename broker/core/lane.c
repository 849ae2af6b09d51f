#include "broker/core/lane.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/session.h"
#include "broker/core/task.h"

#define EXPRESS_ONE_OF 128 /* lanes */

static uint64_t lane_key(const struct function *function, int32_t priority)
{
    return (uint64_t)function->id << 32 | (uint32_t)priority;
}

static struct task *task_of(struct np_list *node)
{
    return NP_CONTAINER(node, struct task, node);
}

/* With one reference more; NULL when out of memory. */
static struct lane *lane_take(struct functions *functions, struct session *session, const char *name,
                              int32_t priority)
{
    struct function *function = functions_take(functions, name);
    if (function == NULL) {
        return NULL;
    }
    struct lane *lane = np_table_find(&session->lane_table, lane_key(function, priority));
    if (lane != NULL) {
        functions_release(functions, function);
        lane->references++;
        return lane;
    }
    lane = calloc(1, sizeof *lane);
    if (lane == NULL || function_add_lane(function) != NETPOOL_OK) {
        goto failed;
    }
    if (np_table_put(&session->lane_table, lane_key(function, priority), lane) != NETPOOL_OK) {
        function->lane_count--;
        goto failed;
    }
    lane->session = session;
    lane->function = function;
    lane->priority = priority;
    lane->references = 1;
    lane->demand_index = LANE_NOT_WANTED;
    np_list_init(&lane->tasks);
    np_list_init(&lane->node);
    np_list_init(&lane->express_node);
    return lane;

failed:
    free(lane);
    functions_release(functions, function);
    return NULL;
}

void lane_release(struct functions *functions, struct lane *lane)
{
    if (--lane->references > 0) {
        return;
    }
    assert(lane->count == 0 && lane->demand_index == LANE_NOT_WANTED);
    np_table_take(&lane->session->lane_table, lane_key(lane->function, lane->priority));
    lane->function->lane_count--;
    functions_release(functions, lane->function);
    free(lane);
}

static bool kind_matches(const struct kind *kind, const Np__Submit *submit, unsigned max_attempts)
{
    return kind->lane->priority == submit->priority && kind->max_attempts == max_attempts &&
           kind->timeout_ms == submit->timeout_ms && kind->expiry_ms == submit->expiry_ms &&
           kind->item_in_size == submit->item_in_size && kind->item_out_size == submit->item_out_size &&
           kind->at_most_once == (submit->at_most_once != 0) &&
           strcmp(kind->lane->function->name, submit->function) == 0;
}

struct kind *kind_find(struct functions *functions, struct session *session, const Np__Submit *submit,
                       unsigned default_attempts)
{
    unsigned max_attempts = submit->max_attempts == 0 ? default_attempts : submit->max_attempts;
    if (max_attempts > NP_ATTEMPTS_MAX) {
        max_attempts = NP_ATTEMPTS_MAX;
    }
    for (size_t i = 0; i < SESSION_KINDS; i++) {
        if (session->kinds[i] != NULL && kind_matches(session->kinds[i], submit, max_attempts)) {
            return session->kinds[i];
        }
    }
    struct kind *kind = calloc(1, sizeof *kind);
    if (kind == NULL) {
        return NULL;
    }
    kind->lane = lane_take(functions, session, submit->function, submit->priority);
    if (kind->lane == NULL) {
        free(kind);
        return NULL;
    }
    kind->references = 1;
    kind->max_attempts = max_attempts;
    kind->timeout_ms = submit->timeout_ms;
    kind->expiry_ms = submit->expiry_ms;
    kind->item_in_size = submit->item_in_size;
    kind->item_out_size = submit->item_out_size;
    kind->at_most_once = submit->at_most_once != 0;
    struct kind **place = &session->kinds[session->next_kind++ % SESSION_KINDS];
    if (*place != NULL) {
        kind_release(functions, *place);
    }
    *place = kind;
    return kind;
}

void kind_release(struct functions *functions, struct kind *kind)
{
    assert(kind->references > 0);
    if (--kind->references == 0) {
        lane_release(functions, kind->lane);
        free(kind);
    }
}

bool kind_is_alike(const struct kind *a, const struct kind *b)
{
    return a == b || (a->lane->function == b->lane->function && a->lane->session == b->lane->session &&
                      a->timeout_ms == b->timeout_ms && a->item_in_size == b->item_in_size &&
                      a->item_out_size == b->item_out_size);
}

/* The node of the express list that the lane is to stand before. */
static struct np_list *find_express_position(struct lane *lane)
{
    struct np_list *lanes = &lane->session->express_lanes;
    struct np_list *position = lanes;
    while (position->previous != lanes &&
           NP_CONTAINER(position->previous, struct lane, express_node)->priority < lane->priority) {
        position = position->previous;
    }
    return position;
}

/* By priority, highest first; from the back, because most programs use one priority. A program with a priority for
 * each task takes large steps first, as in a skip list of two levels. */
static void activate(struct functions *functions, struct lane *lane)
{
    struct np_list *lanes = &lane->session->lanes;
    struct np_list *express = find_express_position(lane);
    struct np_list *position =
        express == &lane->session->express_lanes ? lanes : &NP_CONTAINER(express, struct lane, express_node)->node;
    while (position->previous != lanes &&
           NP_CONTAINER(position->previous, struct lane, node)->priority < lane->priority) {
        position = position->previous;
    }
    np_list_insert_before(position, &lane->node);
    if (np_random_below(&functions->random, EXPRESS_ONE_OF) == 0) {
        np_list_insert_before(express, &lane->express_node);
    }
    if (!lane->session->is_paused) {
        function_demand_insert(functions, lane->function, lane);
    }
}

/* The node that the task is to stand before. The last out-of-order insertion is where the search starts: requeued
 * tasks come in runs, in one direction or the other, so that a whole run costs one walk. */
static struct np_list *find_position(struct lane *lane, uint64_t seq)
{
    struct np_list *position = lane->hint != NULL ? &lane->hint->node : lane->tasks.next;
    while (position != &lane->tasks && task_of(position)->seq < seq) {
        position = position->next;
    }
    while (position->previous != &lane->tasks && task_of(position->previous)->seq > seq) {
        position = position->previous;
    }
    return position;
}

void lane_insert(struct functions *functions, struct lane *lane, struct task *task)
{
    if (lane->count == 0 || task_of(lane->tasks.previous)->seq < task->seq) {
        np_list_push_back(&lane->tasks, &task->node);
    } else {
        np_list_insert_before(find_position(lane, task->seq), &task->node);
        lane->hint = task;
    }
    lane->function->queued++;
    if (lane->count++ == 0) {
        activate(functions, lane);
    }
}

void lane_remove(struct lane *lane, struct task *task)
{
    if (lane->hint == task) {
        lane->hint = NULL;
    }
    np_list_remove(&task->node);
    lane->function->queued--;
    if (--lane->count == 0) {
        np_list_remove(&lane->node);
        np_list_remove(&lane->express_node);
        if (lane->demand_index != LANE_NOT_WANTED) {
            function_demand_remove(lane->function, lane);
        }
    }
}

struct task *lane_front(const struct lane *lane)
{
    assert(lane->count > 0);
    return task_of(lane->tasks.next);
}

void lanes_pause(struct session *session)
{
    NP_LIST_EACH(node, &session->lanes) {
        struct lane *lane = NP_CONTAINER(node, struct lane, node);
        function_demand_remove(lane->function, lane);
    }
}

void lanes_resume(struct functions *functions, struct session *session)
{
    NP_LIST_EACH(node, &session->lanes) {
        struct lane *lane = NP_CONTAINER(node, struct lane, node);
        function_demand_insert(functions, lane->function, lane);
    }
}
