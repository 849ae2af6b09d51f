#include "broker/core/function.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/demand.h"

uint64_t function_hash_text(uint64_t hash, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* The mixer of splitmix64. */
uint64_t function_hash_end(uint64_t hash)
{
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return hash ^ (hash >> 27);
}

static uint64_t hash_name(uint64_t seed, const char *name)
{
    return function_hash_end(function_hash_text(seed ^ UINT64_C(0xcbf29ce484222325), name));
}

void functions_init(struct functions *functions, uint64_t seed)
{
    memset(functions, 0, sizeof *functions);
    functions->seed = seed;
    functions->random.state = seed;
    np_list_init(&functions->wanted);
    np_list_init(&functions->reserved);
}

void functions_fini(struct functions *functions)
{
    assert(functions->by_hash.count == 0 && functions->demands.count == 0);
    np_table_fini(&functions->by_hash);
    np_table_fini(&functions->demands);
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
    np_list_init(&function->demands);
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
    assert(function->fleets.count == 0 && np_list_is_empty(&function->demands) && function->queued == 0);
    forget(functions, function);
    free(function->fleets.items);
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

netpool_status fleet_set_reserve(struct fleet_set *set)
{
    if (set->count == set->capacity) {
        size_t capacity = set->capacity == 0 ? 2 : set->capacity * 2;
        struct fleet **items = realloc(set->items, capacity * sizeof(struct fleet *));
        if (items == NULL) {
            return NETPOOL_NO_MEMORY;
        }
        set->items = items;
        set->capacity = capacity;
    }
    return NETPOOL_OK;
}

void fleet_set_add(struct fleet_set *set, struct fleet *fleet)
{
    assert(set->count < set->capacity);
    set->items[set->count++] = fleet;
}

bool fleet_set_remove(struct fleet_set *set, const struct fleet *fleet)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i] == fleet) {
            set->items[i] = set->items[--set->count];
            return true;
        }
    }
    return false;
}

static struct demand *demand_of(struct np_list *node)
{
    return NP_CONTAINER(node, struct demand, function_node);
}

netpool_status function_add_fleet(struct functions *functions, struct function *function, struct fleet *fleet)
{
    netpool_status status = fleet_set_reserve(&function->fleets);
    NP_LIST_EACH(node, &function->demands) {
        if (status == NETPOOL_OK && demand_is_met_by(demand_of(node), fleet)) {
            status = fleet_set_reserve(&demand_of(node)->fleets);
        }
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    fleet_set_add(&function->fleets, fleet);
    NP_LIST_EACH(node, &function->demands) {
        if (demand_is_met_by(demand_of(node), fleet)) {
            demand_add_fleet(functions, demand_of(node), fleet);
        }
    }
    return NETPOOL_OK;
}

void function_remove_fleet(struct functions *functions, struct function *function, struct fleet *fleet)
{
    bool is_known = fleet_set_remove(&function->fleets, fleet);
    assert(is_known);
    (void)is_known;
    NP_LIST_EACH(node, &function->demands) {
        demand_remove_fleet(functions, demand_of(node), fleet);
    }
}
