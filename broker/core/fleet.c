#include "broker/core/fleet.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void place(struct fleet *fleet, size_t index, struct fleet_place entry)
{
    fleet->heap[index] = entry;
    entry.worker->heap_index = index;
}

static void sift_up(struct fleet *fleet, size_t index, struct fleet_place entry)
{
    while (index > 0 && entry.units < fleet->heap[(index - 1) / 2].units) {
        place(fleet, index, fleet->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(fleet, index, entry);
}

/* The less loaded one of the two below; heap_count when there are none. */
static size_t lesser_child(const struct fleet *fleet, size_t index)
{
    size_t child = 2 * index + 1;
    if (child >= fleet->heap_count) {
        return fleet->heap_count;
    }
    bool is_right = child + 1 < fleet->heap_count && fleet->heap[child + 1].units < fleet->heap[child].units;
    return child + is_right;
}

static void sift_down(struct fleet *fleet, size_t index, struct fleet_place entry)
{
    for (size_t child;
         (child = lesser_child(fleet, index)) < fleet->heap_count && fleet->heap[child].units < entry.units;
         index = child) {
        place(fleet, index, fleet->heap[child]);
    }
    place(fleet, index, entry);
}

static int compare_addresses(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t) * (struct function *const *)a;
    uintptr_t right = (uintptr_t) * (struct function *const *)b;
    return left < right ? -1 : left > right;
}

static void release_all(struct functions *functions, struct function **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        functions_release(functions, list[i]);
    }
    free(list);
}

/* The names as references, sorted, each once. NULL when out of memory. */
static struct function **take_all(struct functions *functions, char *const *names, size_t *count)
{
    struct function **list = malloc((*count + 1) * sizeof(struct function *));
    if (list == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < *count; i++) {
        list[i] = functions_take(functions, names[i]);
        if (list[i] == NULL) {
            release_all(functions, list, i);
            return NULL;
        }
    }
    qsort(list, *count, sizeof(struct function *), compare_addresses);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (kept > 0 && list[kept - 1] == list[i]) {
            functions_release(functions, list[i]);
        } else {
            list[kept++] = list[i];
        }
    }
    *count = kept;
    return list;
}

static netpool_status reserve_member(struct fleet *fleet)
{
    if (fleet->members == fleet->heap_capacity) {
        size_t capacity = fleet->heap_capacity == 0 ? 4 : fleet->heap_capacity * 2;
        struct fleet_place *heap = realloc(fleet->heap, capacity * sizeof *heap);
        if (heap == NULL) {
            return NETPOOL_NO_MEMORY;
        }
        fleet->heap = heap;
        fleet->heap_capacity = capacity;
    }
    fleet->members++;
    return NETPOOL_OK;
}

/* Takes the list over, also when this fails. */
static struct fleet *make(struct np_list *fleets, struct functions *functions, struct function **list, size_t count,
                          const Np__Hello *hello, unsigned slots)
{
    struct fleet *fleet = calloc(1, sizeof *fleet);
    size_t known = 0;
    if (fleet == NULL || reserve_member(fleet) != NETPOOL_OK ||
        !labels_init(&fleet->labels, hello->labels, hello->n_labels)) {
        goto failed;
    }
    fleet->slots = slots;
    for (; known < count; known++) {
        if (function_add_fleet(functions, list[known], fleet) != NETPOOL_OK) {
            goto failed;
        }
    }
    fleet->functions = list;
    fleet->function_count = count;
    np_list_push_back(fleets, &fleet->node);
    return fleet;

failed:
    for (size_t i = 0; i < known; i++) {
        function_remove_fleet(functions, list[i], fleet);
    }
    if (fleet != NULL) {
        labels_fini(&fleet->labels);
        free(fleet->heap);
        free(fleet);
    }
    release_all(functions, list, count);
    return NULL;
}

struct fleet *fleet_join(struct np_list *fleets, struct functions *functions, const Np__Hello *hello, unsigned slots)
{
    size_t count = hello->n_functions;
    struct function **list = take_all(functions, hello->functions, &count);
    if (list == NULL) {
        return NULL;
    }
    labels_sort(hello->labels, hello->n_labels);
    NP_LIST_EACH(node, fleets) {
        struct fleet *fleet = NP_CONTAINER(node, struct fleet, node);
        if (fleet->slots == slots && fleet->function_count == count &&
            (count == 0 || memcmp(fleet->functions, list, count * sizeof(struct function *)) == 0) &&
            labels_equal(&fleet->labels, hello->labels, hello->n_labels)) {
            release_all(functions, list, count);
            return reserve_member(fleet) == NETPOOL_OK ? fleet : NULL;
        }
    }
    return make(fleets, functions, list, count, hello, slots);
}

void fleet_leave(struct fleet *fleet, struct functions *functions)
{
    assert(fleet->members > 0);
    if (--fleet->members > 0) {
        return;
    }
    assert(fleet->heap_count == 0);
    np_list_remove(&fleet->node);
    for (size_t i = 0; i < fleet->function_count; i++) {
        function_remove_fleet(functions, fleet->functions[i], fleet);
    }
    release_all(functions, fleet->functions, fleet->function_count);
    labels_fini(&fleet->labels);
    free(fleet->heap);
    free(fleet);
}

bool fleet_has(const struct fleet *fleet, const struct function *function)
{
    return bsearch(&function, fleet->functions, fleet->function_count, sizeof(struct function *),
                   compare_addresses) != NULL;
}

struct worker *fleet_second(const struct fleet *fleet)
{
    size_t child = fleet->heap_count > 0 ? lesser_child(fleet, 0) : 0;
    return child < fleet->heap_count ? fleet->heap[child].worker : NULL;
}

static void put_right(struct fleet *fleet, size_t index, struct fleet_place entry)
{
    if (entry.units < fleet->heap[index].units) {
        sift_up(fleet, index, entry);
    } else {
        sift_down(fleet, index, entry);
    }
}

void fleet_heap_insert(struct fleet *fleet, struct worker *worker)
{
    assert(worker->heap_index == WORKER_NOT_IN_HEAP && fleet->heap_count < fleet->heap_capacity);
    sift_up(fleet, fleet->heap_count++, (struct fleet_place){.units = worker->held_units, .worker = worker});
}

void fleet_heap_remove(struct fleet *fleet, struct worker *worker)
{
    size_t index = worker->heap_index;
    assert(index < fleet->heap_count && fleet->heap[index].worker == worker);
    worker->heap_index = WORKER_NOT_IN_HEAP;
    fleet->heap_count--;
    if (index < fleet->heap_count) {
        put_right(fleet, index, fleet->heap[fleet->heap_count]);
    }
}

void fleet_heap_update(struct fleet *fleet, struct worker *worker)
{
    struct fleet_place entry = {.units = worker->held_units, .worker = worker};
    put_right(fleet, worker->heap_index, entry);
}
