#include "client/calls/reduce.h"

#include <stdlib.h>

#include "client/calls/reply.h"
#include "client/dialogue/failure.h"
#include "common/block.h"
#include "common/clock.h"

/* Payload bytes of one reduction on their way to each executor. More does harm: the sum of 100 million doubles on two
 * local executors takes 0.8 s with this, and ten times as long with 32 MiB each, all of it in page faults. */
#define IN_FLIGHT_BYTES_A_SLOT ((size_t)2 << 20)

/* One task: a leaf or a combination. */
struct step {
    struct np_task task;
    struct np_list node; /* in reduction.active or .idle */
    struct reduction *reduction;
    struct reduce_node place;
    void *owned; /* input, a block; NULL: borrowed */
};

/* Cancelling one step inside of another one's end may end it at once: only the outermost call may say that it is
 * over, with its last touch, as the reduction is the caller's from then on. */
static void release(struct reduction *reduction)
{
    bool has_end = reduction->has_result || reduction->status != NETPOOL_OK;
    if (--reduction->holds == 0 && reduction->in_flight == 0 && has_end) {
        event_signal(&reduction->done);
    }
}

/* The reduction ends with this, unless an earlier input has failed. */
static void fail(struct reduction *reduction, struct reduce_node place, const struct np_outcome *outcome,
                 struct dialogue *dialogue)
{
    const struct np_task_kind *kind = place.level == 0 ? &reduction->leaf_kind : &reduction->combine_kind;
    netpool_failure failure;
    failure_fill(&failure, kind, reduce_tree_first(&reduction->tree, place), outcome);
    bool is_first = reduction->status == NETPOOL_OK;
    if (is_first || (failure.item < reduction->failure.item && outcome->status != NETPOOL_CANCELLED)) {
        reduction->status = outcome->status;
        reduction->failure = failure;
        reduction->failed = place;
    }
    if (!is_first) {
        return;
    }
    /* The rest is of no use any more. Cancelling may finish steps at once, which takes only them off the list. */
    NP_LIST_EACH(node, &reduction->active) {
        dialogue_cancel(dialogue, &NP_CONTAINER(node, struct step, node)->task, NP_CANCEL_ALWAYS, outcome->now);
    }
}

/* The same for what went wrong here. */
static void fail_here(struct reduction *reduction, struct reduce_node place, netpool_status status,
                      struct dialogue *dialogue, int64_t now)
{
    struct np_outcome outcome = {.status = status, .worker = "", .host = "", .now = now};
    outcome.reason = status == NETPOOL_NO_MEMORY ? NULL : reduction->reason;
    fail(reduction, place, &outcome, dialogue);
}

static void step_finished(struct np_task *task, const struct np_outcome *outcome);

/* Takes `owned` over. */
static void submit(struct reduction *reduction, struct reduce_node place, netpool_bytes input, void *owned,
                   struct dialogue *dialogue, int64_t now)
{
    struct np_list *idle = np_list_pop_front(&reduction->idle);
    struct step *step = idle != NULL ? NP_CONTAINER(idle, struct step, node) : malloc(sizeof *step);
    if (step == NULL) {
        np_block_free(owned);
        fail_here(reduction, place, NETPOOL_NO_MEMORY, dialogue, now);
        return;
    }
    *step = (struct step){.reduction = reduction, .place = place, .owned = owned};
    step->task = (struct np_task){
        .kind = place.level == 0 ? &reduction->leaf_kind : &reduction->combine_kind,
        .input = input.data,
        .input_size = input.size,
        .is_input_block = owned != NULL,
        .first_item = reduce_tree_first(&reduction->tree, place),
        .lane = reduction->lane,
        .finished = step_finished,
    };
    reduction->in_flight++;
    reduction->in_flight_bytes += input.size;
    np_list_push_back(&reduction->active, &step->node);
    dialogue_submit(dialogue, &step->task, now);
}

/* Takes the value of a node over, and goes on with what it makes possible. */
static void add(struct reduction *reduction, struct reduce_node place, netpool_bytes part, struct dialogue *dialogue,
                int64_t now)
{
    struct reduce_group *ready;
    struct reduce_node next = place;
    netpool_bytes input;
    netpool_status status = reduce_tree_add(&reduction->tree, &next, &part, &ready);
    if (status != NETPOOL_OK) {
        fail_here(reduction, place, status, dialogue, now);
    } else if (ready != NULL) {
        status = reduction->operations->join(reduction, ready, &input);
        reduce_group_free(ready);
        if (status == NETPOOL_OK) {
            submit(reduction, next, input, (void *)(uintptr_t)input.data, dialogue, now);
        } else {
            fail_here(reduction, next, status, dialogue, now);
        }
    } else if (next.level == reduction->tree.top) {
        reduction->result = part;
        reduction->has_result = true;
    }
}

/* A single input that no function need see. */
static void add_input(struct reduction *reduction, struct reduce_node place, netpool_bytes input, void *owned,
                      struct dialogue *dialogue, int64_t now)
{
    const struct np_outcome outcome = {.data = input.data, .size = input.size};
    netpool_bytes part = {.data = owned, .size = input.size};
    reduction->finished++;
    if (owned == NULL && input.size > 0) {
        part.data = reply_take_bytes(&outcome);
    }
    if (part.data == NULL && input.size > 0) {
        fail_here(reduction, place, NETPOOL_NO_MEMORY, dialogue, now);
    } else {
        add(reduction, place, part, dialogue, now);
    }
}

static bool has_room(const struct reduction *reduction)
{
    return reduction->in_flight == 0 ||
           (reduction->in_flight < chunk_size_in_flight(&reduction->size, (size_t)reduction->tree.chunk) &&
            reduction->in_flight_bytes <= reduction->size.slots * IN_FLIGHT_BYTES_A_SLOT);
}

/* Hands out leaves as far as that is wanted. */
static void fill(struct reduction *reduction, struct dialogue *dialogue, int64_t now)
{
    const struct reduce_tree *tree = &reduction->tree;
    while (reduction->next < tree->width[0] && reduction->status == NETPOOL_OK && has_room(reduction)) {
        struct reduce_node place = {.index = reduction->next++};
        size_t first = (size_t)reduce_tree_first(tree, place);
        size_t count = (size_t)reduce_tree_inputs(tree, place);
        netpool_bytes input;
        void *owned = NULL;
        netpool_status status = reduction->operations->leaf(reduction, first, count, &input, &owned);
        if (status != NETPOOL_OK) {
            fail_here(reduction, place, status, dialogue, now);
        } else if (count == 1 && !reduction->has_leaf_function) {
            add_input(reduction, place, input, owned, dialogue, now);
        } else {
            submit(reduction, place, input, owned, dialogue, now);
        }
    }
}

/* Keeps what a step has brought. */
static void take_result(struct reduction *reduction, const struct step *step, const struct np_outcome *outcome,
                        struct dialogue *dialogue)
{
    netpool_status status = reduction->operations->check(reduction, outcome);
    netpool_bytes part = {.size = outcome->size};
    if (status == NETPOOL_OK && outcome->size > 0) {
        part.data = reply_take_bytes(outcome);
        status = part.data != NULL ? NETPOOL_OK : NETPOOL_NO_MEMORY;
    }
    if (status != NETPOOL_OK) {
        struct np_outcome end = *outcome;
        end.status = status;
        end.reason = status == NETPOOL_NO_MEMORY ? NULL : reduction->reason;
        fail(reduction, step->place, &end, dialogue);
    } else if (reduction->status == NETPOOL_OK) {
        add(reduction, step->place, part, dialogue, outcome->now);
    } else {
        np_block_free(part.data);
    }
}

static void step_finished(struct np_task *task, const struct np_outcome *outcome)
{
    struct step *step = NP_CONTAINER(task, struct step, task);
    struct reduction *reduction = step->reduction;
    struct dialogue *dialogue = engine_dialogue(reduction->pool->engine);
    np_list_remove(&step->node);
    reduction->holds++;
    reduction->in_flight--;
    reduction->in_flight_bytes -= task->input_size;
    uint64_t items = step->place.level == 0 ? reduce_tree_inputs(&reduction->tree, step->place) : 0;
    pool_book(reduction->pool, reduction->profile, task, outcome, items);
    np_block_free(step->owned);
    step->owned = NULL;
    if (outcome->status != NETPOOL_OK) {
        fail(reduction, step->place, outcome, dialogue);
    } else {
        if (step->place.level == 0) {
            unsigned slots = engine_slots(reduction->pool->engine);
            reduction->finished += items;
            reduction->size.slots = slots > 0 ? slots : reduction->size.slots;
            chunk_size_learn(&reduction->size, (size_t)items, outcome->compute_ns);
        }
        take_result(reduction, step, outcome, dialogue);
    }
    np_list_push_back(&reduction->idle, &step->node);
    fill(reduction, dialogue, outcome->now);
    release(reduction);
}

static void run_start(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    struct reduction *reduction = NP_CONTAINER(request, struct reduction, start_request);
    reduction->holds++;
    fill(reduction, dialogue, now);
    if (reduction->next < reduction->tree.width[0]) {
        dialogue_request_status(dialogue); /* how many executors are there by now? */
    }
    release(reduction);
}

/* Inputs that have been through their leaves, running ones in part. */
static double look(struct map_watch *watch)
{
    struct reduction *reduction = NP_CONTAINER(watch, struct reduction, watch);
    double done = (double)reduction->finished;
    NP_LIST_EACH(node, &reduction->active) {
        struct step *step = NP_CONTAINER(node, struct step, node);
        if (step->place.level == 0) {
            done += map_watch_fraction(&step->task) * (double)reduce_tree_inputs(&reduction->tree, step->place);
        }
    }
    return done;
}

static void clean_up(struct reduction *reduction)
{
    for (struct np_list *node = np_list_pop_front(&reduction->idle); node != NULL;
         node = np_list_pop_front(&reduction->idle)) {
        free(NP_CONTAINER(node, struct step, node));
    }
    reduce_tree_fini(&reduction->tree);
    if (reduction->status != NETPOOL_OK) {
        np_block_free(reduction->result.data);
        reduction->result = (netpool_bytes){0};
    }
}

netpool_status reduce_run(struct reduction *reduction)
{
    struct engine *engine = reduction->pool->engine;
    np_list_init(&reduction->active);
    np_list_init(&reduction->idle);
    reduction->start_request.run = run_start;
    reduction->watch.engine = engine;
    reduction->watch.look = look;
    if (engine_post(engine, &reduction->start_request)) {
        map_watch_wait(&reduction->watch, &reduction->done);
    } else {
        const struct np_outcome outcome = {.status = NETPOOL_CLOSED, .worker = "", .host = ""};
        reduction->status = NETPOOL_CLOSED;
        failure_fill(&reduction->failure, &reduction->leaf_kind, 0, &outcome);
    }
    clean_up(reduction);
    return reduction->status;
}
