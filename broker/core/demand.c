#include "broker/core/demand.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/state.h"

static uint64_t hash_of(const struct functions *functions, const struct function *function, char *const *labels,
                        size_t label_count, uint32_t slots)
{
    uint64_t hash = functions->seed ^ ((uint64_t)function->id << 32 | slots);
    for (size_t i = 0; i < label_count; i++) {
        hash = function_hash_text(function_hash_end(hash), labels[i]);
    }
    return function_hash_end(hash);
}

static struct demand *find(const struct functions *functions, uint64_t hash, const struct function *function,
                           char *const *labels, size_t label_count, uint32_t slots)
{
    struct demand *demand = np_table_find(&functions->demands, hash);
    while (demand != NULL && (demand->function != function || demand->slots != slots ||
                              !labels_equal(&demand->labels, labels, label_count))) {
        demand = demand->next;
    }
    return demand;
}

/* It is in no list or table yet. */
static void destroy(struct demand *demand)
{
    labels_fini(&demand->labels);
    free(demand->fleets.items);
    free(demand->heap);
    free(demand);
}

static netpool_status find_fleets(struct demand *demand)
{
    const struct fleet_set *offering = &demand->function->fleets;
    for (size_t i = 0; i < offering->count; i++) {
        if (demand_is_met_by(demand, offering->items[i])) {
            if (fleet_set_reserve(&demand->fleets) != NETPOOL_OK) {
                return NETPOOL_NO_MEMORY;
            }
            fleet_set_add(&demand->fleets, offering->items[i]);
        }
    }
    return NETPOOL_OK;
}

struct demand *demand_take(struct functions *functions, const char *name, char *const *labels, size_t label_count,
                           uint32_t slots)
{
    struct function *function = functions_take(functions, name);
    if (function == NULL) {
        return NULL;
    }
    uint64_t hash = hash_of(functions, function, labels, label_count, slots);
    struct demand *demand = find(functions, hash, function, labels, label_count, slots);
    if (demand != NULL) {
        functions_release(functions, function);
        demand->references++;
        return demand;
    }
    demand = calloc(1, sizeof *demand);
    if (demand == NULL) {
        goto failed;
    }
    demand->hash = hash;
    demand->function = function;
    demand->slots = slots;
    demand->references = 1;
    demand->next = np_table_find(&functions->demands, hash);
    if (!labels_init(&demand->labels, labels, label_count) || find_fleets(demand) != NETPOOL_OK ||
        np_table_put(&functions->demands, hash, demand) != NETPOOL_OK) {
        goto failed;
    }
    demand->id = functions->next_id++;
    np_list_init(&demand->wanted_node);
    np_list_init(&demand->reserved_node);
    np_list_push_back(&function->demands, &demand->function_node);
    return demand;

failed:
    if (demand != NULL) {
        destroy(demand);
    }
    functions_release(functions, function);
    return NULL;
}

static void forget(struct functions *functions, struct demand *demand)
{
    struct demand *first = np_table_find(&functions->demands, demand->hash);
    if (first != demand) {
        while (first->next != demand) {
            first = first->next;
        }
        first->next = demand->next;
    } else if (demand->next != NULL) {
        /* Replacing the value of a key that is there takes no memory. */
        netpool_status status = np_table_put(&functions->demands, demand->hash, demand->next);
        assert(status == NETPOOL_OK);
        (void)status;
    } else {
        np_table_take(&functions->demands, demand->hash);
    }
}

void demand_release(struct functions *functions, struct demand *demand)
{
    assert(demand->references > 0);
    if (--demand->references > 0) {
        return;
    }
    assert(demand->queue_count == 0 && demand->heap_count == 0 && demand->reserved == NULL);
    forget(functions, demand);
    np_list_remove(&demand->function_node);
    struct function *function = demand->function;
    destroy(demand);
    functions_release(functions, function);
}

size_t demand_bytes(const struct demand *demand)
{
    const struct function *function = demand->function;
    size_t bytes = sizeof *demand + sizeof *function + strlen(function->name) + 1 + labels_bytes(&demand->labels);
    return bytes + 4 * BLOCK_BYTES + 4 * sizeof(struct queue *) + 2 * ENTRY_BYTES;
}

bool demand_is_met_by(const struct demand *demand, const struct fleet *fleet)
{
    return fleet->slots >= demand->slots && labels_meet(&fleet->labels, &demand->labels);
}

/* Demands that no worker can meet are many when a client is careless: the scheduler does not come across them. */
static void update_wanted(struct functions *functions, struct demand *demand)
{
    bool is_wanted = demand->heap_count > 0 && demand->fleets.count > 0;
    if (is_wanted == np_list_is_empty(&demand->wanted_node)) {
        if (is_wanted) {
            np_list_push_back(&functions->wanted, &demand->wanted_node);
        } else {
            np_list_remove(&demand->wanted_node);
        }
    }
}

void demand_add_fleet(struct functions *functions, struct demand *demand, struct fleet *fleet)
{
    fleet_set_add(&demand->fleets, fleet);
    update_wanted(functions, demand);
}

void demand_remove_fleet(struct functions *functions, struct demand *demand, struct fleet *fleet)
{
    if (fleet_set_remove(&demand->fleets, fleet)) {
        update_wanted(functions, demand);
    }
}

static struct worker *least_loaded(const struct demand *demand)
{
    struct worker *best = NULL;
    for (size_t i = 0; i < demand->fleets.count; i++) {
        struct worker *worker = fleet_least_loaded(demand->fleets.items[i]);
        if (worker != NULL && (best == NULL || worker_is_less_loaded(worker, best))) {
            best = worker;
        }
    }
    return best;
}

struct worker *demand_other_worker(const struct demand *demand, const struct worker *worker)
{
    struct worker *best = fleet_second(worker->fleet);
    for (size_t i = 0; i < demand->fleets.count; i++) {
        const struct fleet *fleet = demand->fleets.items[i];
        struct worker *other = fleet != worker->fleet ? fleet_least_loaded(fleet) : NULL;
        if (other != NULL && (best == NULL || worker_is_less_loaded(other, best))) {
            best = other;
        }
    }
    return best;
}

/* Heaps are ordered by load, not by slots: this looks at every worker that has room. */
static struct worker *emptiest(const struct demand *demand)
{
    struct worker *best = NULL;
    for (size_t i = 0; i < demand->fleets.count; i++) {
        const struct fleet *fleet = demand->fleets.items[i];
        for (size_t k = 0; k < fleet->heap_count; k++) {
            struct worker *worker = fleet->heap[k].worker;
            if (best == NULL || worker_free_slots(worker) > worker_free_slots(best)) {
                best = worker;
            }
        }
    }
    return best;
}

struct worker *demand_worker(const struct demand *demand)
{
    if (demand->slots == 1) {
        return least_loaded(demand);
    }
    struct worker *reserved = demand->reserved;
    if (reserved != NULL && !reserved->is_blocked && worker_has_slots(reserved, demand->slots)) {
        return reserved;
    }
    struct worker *worker = emptiest(demand);
    return reserved == NULL || (worker != NULL && worker_has_slots(worker, demand->slots)) ? worker : NULL;
}

static void place(struct demand *demand, size_t index, struct queue *queue)
{
    demand->heap[index] = queue;
    queue->demand_index = index;
}

static void sift_up(struct demand *demand, size_t index)
{
    struct queue *queue = demand->heap[index];
    while (index > 0 && queue->service < demand->heap[(index - 1) / 2]->service) {
        place(demand, index, demand->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(demand, index, queue);
}

static void sift_down(struct demand *demand, size_t index)
{
    struct queue *queue = demand->heap[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= demand->heap_count) {
            break;
        }
        if (child + 1 < demand->heap_count && demand->heap[child + 1]->service < demand->heap[child]->service) {
            child++;
        }
        if (queue->service <= demand->heap[child]->service) {
            break;
        }
        place(demand, index, demand->heap[child]);
        index = child;
    }
    place(demand, index, queue);
}

struct queue *demand_first_queue(struct demand *demand)
{
    /* Service only grows, and a queue deep in the heap may carry an old figure: the first one is brought up to date
     * until it stays the first. */
    while (demand->heap_count > 0) {
        struct queue *queue = demand->heap[0];
        if (queue->service == queue->session->service) {
            return queue;
        }
        queue->service = queue->session->service;
        sift_down(demand, 0);
    }
    return NULL;
}

netpool_status demand_add_queue(struct demand *demand)
{
    if (demand->queue_count == demand->heap_capacity) {
        size_t capacity = demand->heap_capacity == 0 ? 4 : demand->heap_capacity * 2;
        struct queue **heap = realloc(demand->heap, capacity * sizeof(struct queue *));
        if (heap == NULL) {
            return NETPOOL_NO_MEMORY;
        }
        demand->heap = heap;
        demand->heap_capacity = capacity;
    }
    demand->queue_count++;
    return NETPOOL_OK;
}

void demand_insert(struct functions *functions, struct demand *demand, struct queue *queue)
{
    assert(queue->demand_index == QUEUE_NOT_WANTED && demand->heap_count < demand->heap_capacity);
    queue->service = queue->session->service;
    place(demand, demand->heap_count++, queue);
    sift_up(demand, queue->demand_index);
    update_wanted(functions, demand);
}

void demand_remove(struct functions *functions, struct demand *demand, struct queue *queue)
{
    size_t index = queue->demand_index;
    assert(index < demand->heap_count && demand->heap[index] == queue);
    queue->demand_index = QUEUE_NOT_WANTED;
    demand->heap_count--;
    if (index < demand->heap_count) {
        place(demand, index, demand->heap[demand->heap_count]);
        sift_up(demand, index);
        sift_down(demand, demand->heap[index]->demand_index);
    }
    update_wanted(functions, demand);
}

void demand_reserve(struct core *core, struct demand *demand, struct worker *worker)
{
    assert(demand->reserved == NULL && worker->reserved_for == NULL);
    demand->references++;
    demand->reserved = worker;
    np_list_push_back(&core->functions.reserved, &demand->reserved_node);
    worker_reserve(core, worker, demand);
}

void demand_unreserve(struct core *core, struct demand *demand)
{
    worker_reserve(core, demand->reserved, NULL);
    demand->reserved = NULL;
    np_list_remove(&demand->reserved_node);
    demand_release(&core->functions, demand);
}
