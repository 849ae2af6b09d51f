#include "broker/core/function.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/fleet.h"
#include "broker/core/queue.h"
#include "broker/core/session.h"

/* FNV-1a with a secret start, finished by the mixer of splitmix64. */
static uint64_t hash_name(uint64_t seed, const char *name)
{
    uint64_t hash = seed ^ UINT64_C(0xcbf29ce484222325);
    for (const char *c = name; *c != '\0'; c++) {
        hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    }
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return hash ^ (hash >> 27);
}

static void place(struct function *function, size_t index, struct queue *queue)
{
    function->demand[index] = queue;
    queue->demand_index = index;
}

static void sift_up(struct function *function, size_t index)
{
    struct queue *queue = function->demand[index];
    while (index > 0 && queue->service < function->demand[(index - 1) / 2]->service) {
        place(function, index, function->demand[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(function, index, queue);
}

static void sift_down(struct function *function, size_t index)
{
    struct queue *queue = function->demand[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= function->demand_count) {
            break;
        }
        if (child + 1 < function->demand_count &&
            function->demand[child + 1]->service < function->demand[child]->service) {
            child++;
        }
        if (queue->service <= function->demand[child]->service) {
            break;
        }
        place(function, index, function->demand[child]);
        index = child;
    }
    place(function, index, queue);
}

void functions_init(struct functions *functions, uint64_t seed)
{
    memset(functions, 0, sizeof *functions);
    functions->seed = seed;
    functions->random.state = seed;
    np_list_init(&functions->wanted);
}

void functions_fini(struct functions *functions)
{
    assert(functions->by_hash.count == 0);
    np_table_fini(&functions->by_hash);
}

struct function *functions_find(const struct functions *functions, const char *name)
{
    struct function *function = np_table_find(&functions->by_hash, hash_name(functions->seed, name));
    while (function != NULL && strcmp(function->name, name) != 0) {
        function = function->next;
    }
    return function;
}

struct function *functions_take(struct functions *functions, const char *name)
{
    struct function *function = functions_find(functions, name);
    if (function != NULL) {
        function->references++;
        return function;
    }
    size_t size = strlen(name) + 1;
    function = calloc(1, sizeof *function + size);
    if (function == NULL) {
        return NULL;
    }
    memcpy(function->name, name, size);
    function->hash = hash_name(functions->seed, name);
    function->next = np_table_find(&functions->by_hash, function->hash);
    if (np_table_put(&functions->by_hash, function->hash, function) != NETPOOL_OK) {
        free(function);
        return NULL;
    }
    function->references = 1;
    function->id = functions->next_id++;
    function->units = FUNCTION_SLOT_UNITS / 2; /* not measured: two tasks a slot */
    function->estimate_ns = FUNCTION_AHEAD_NS / 2;
    np_list_init(&function->node);
    return function;
}

static void forget(struct functions *functions, struct function *function)
{
    struct function *first = np_table_find(&functions->by_hash, function->hash);
    if (first != function) {
        while (first->next != function) {
            first = first->next;
        }
        first->next = function->next;
    } else if (function->next != NULL) {
        /* Replacing the value of a key that is there takes no memory. */
        netpool_status status = np_table_put(&functions->by_hash, function->hash, function->next);
        assert(status == NETPOOL_OK);
        (void)status;
    } else {
        np_table_take(&functions->by_hash, function->hash);
    }
}

void functions_release(struct functions *functions, struct function *function)
{
    assert(function->references > 0);
    if (--function->references > 0) {
        return;
    }
    assert(function->fleet_count == 0 && function->queue_count == 0 && function->queued == 0);
    forget(functions, function);
    np_list_remove(&function->node);
    free(function->fleets);
    free(function->demand);
    free(function);
}

void function_measure(struct function *function, uint64_t compute_ns)
{
    const uint64_t longest_ns = UINT64_C(1) << 50;
    if (compute_ns > longest_ns) {
        compute_ns = longest_ns;
    }
    if (!function->measured) {
        function->measured = true;
        function->estimate_ns = compute_ns;
    } else if (compute_ns >= function->estimate_ns) {
        function->estimate_ns += (compute_ns - function->estimate_ns + 7) / 8;
    } else {
        function->estimate_ns -= (function->estimate_ns - compute_ns) / 8;
    }
    uint64_t units = function->estimate_ns / (FUNCTION_AHEAD_NS / FUNCTION_SLOT_UNITS);
    function->units = (uint16_t)(units < 1 ? 1 : units > FUNCTION_SLOT_UNITS ? FUNCTION_SLOT_UNITS : units);
}

netpool_status function_add_fleet(struct function *function, struct fleet *fleet)
{
    if (function->fleet_count == function->fleet_capacity) {
        size_t capacity = function->fleet_capacity == 0 ? 2 : function->fleet_capacity * 2;
        struct fleet **fleets = realloc(function->fleets, capacity * sizeof(struct fleet *));
        if (fleets == NULL) {
            return NETPOOL_NO_MEMORY;
        }
        function->fleets = fleets;
        function->fleet_capacity = capacity;
    }
    function->fleets[function->fleet_count++] = fleet;
    return NETPOOL_OK;
}

void function_remove_fleet(struct function *function, struct fleet *fleet)
{
    for (size_t i = 0; i < function->fleet_count; i++) {
        if (function->fleets[i] == fleet) {
            function->fleets[i] = function->fleets[--function->fleet_count];
            return;
        }
    }
    assert(false && "the function knows its fleets");
}

struct worker *function_worker(const struct function *function)
{
    struct worker *best = NULL;
    for (size_t i = 0; i < function->fleet_count; i++) {
        struct worker *worker = fleet_least_loaded(function->fleets[i]);
        if (worker != NULL && (best == NULL || worker_is_less_loaded(worker, best))) {
            best = worker;
        }
    }
    return best;
}

struct queue *function_first_queue(struct function *function)
{
    /* Service only grows, and a queue deep in the heap may carry an old figure: the first one is brought up to date
     * until it stays the first. */
    while (function->demand_count > 0) {
        struct queue *queue = function->demand[0];
        if (queue->service == queue->session->service) {
            return queue;
        }
        queue->service = queue->session->service;
        sift_down(function, 0);
    }
    return NULL;
}

netpool_status function_add_queue(struct function *function)
{
    if (function->queue_count == function->demand_capacity) {
        size_t capacity = function->demand_capacity == 0 ? 4 : function->demand_capacity * 2;
        struct queue **demand = realloc(function->demand, capacity * sizeof(struct queue *));
        if (demand == NULL) {
            return NETPOOL_NO_MEMORY;
        }
        function->demand = demand;
        function->demand_capacity = capacity;
    }
    function->queue_count++;
    return NETPOOL_OK;
}

void function_demand_insert(struct functions *functions, struct function *function, struct queue *queue)
{
    assert(queue->demand_index == QUEUE_NOT_WANTED && function->demand_count < function->demand_capacity);
    queue->service = queue->session->service;
    if (function->demand_count == 0) {
        np_list_push_back(&functions->wanted, &function->node);
    }
    place(function, function->demand_count++, queue);
    sift_up(function, queue->demand_index);
}

void function_demand_remove(struct function *function, struct queue *queue)
{
    size_t index = queue->demand_index;
    assert(index < function->demand_count && function->demand[index] == queue);
    queue->demand_index = QUEUE_NOT_WANTED;
    function->demand_count--;
    if (function->demand_count == 0) {
        np_list_remove(&function->node);
    }
    if (index < function->demand_count) {
        place(function, index, function->demand[function->demand_count]);
        sift_up(function, index);
        sift_down(function, function->demand[index]->demand_index);
    }
}
