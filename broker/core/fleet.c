#include "broker/core/fleet.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void place(struct fleet *fleet, size_t index, struct worker *worker)
{
    fleet->heap[index] = worker;
    worker->heap_index = index;
}

static void sift_up(struct fleet *fleet, size_t index)
{
    struct worker *worker = fleet->heap[index];
    while (index > 0 && worker_is_less_loaded(worker, fleet->heap[(index - 1) / 2])) {
        place(fleet, index, fleet->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(fleet, index, worker);
}

static void sift_down(struct fleet *fleet, size_t index)
{
    struct worker *worker = fleet->heap[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= fleet->heap_count) {
            break;
        }
        if (child + 1 < fleet->heap_count && worker_is_less_loaded(fleet->heap[child + 1], fleet->heap[child])) {
            child++;
        }
        if (!worker_is_less_loaded(fleet->heap[child], worker)) {
            break;
        }
        place(fleet, index, fleet->heap[child]);
        index = child;
    }
    place(fleet, index, worker);
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
        struct worker **heap = realloc(fleet->heap, capacity * sizeof(struct worker *));
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

void fleet_heap_insert(struct fleet *fleet, struct worker *worker)
{
    assert(worker->heap_index == WORKER_NOT_IN_HEAP && fleet->heap_count < fleet->heap_capacity);
    place(fleet, fleet->heap_count++, worker);
    sift_up(fleet, worker->heap_index);
}

void fleet_heap_remove(struct fleet *fleet, struct worker *worker)
{
    size_t index = worker->heap_index;
    assert(index < fleet->heap_count && fleet->heap[index] == worker);
    worker->heap_index = WORKER_NOT_IN_HEAP;
    fleet->heap_count--;
    if (index < fleet->heap_count) {
        place(fleet, index, fleet->heap[fleet->heap_count]);
        fleet_heap_update(fleet, fleet->heap[index]);
    }
}

void fleet_heap_update(struct fleet *fleet, struct worker *worker)
{
    sift_up(fleet, worker->heap_index);
    sift_down(fleet, worker->heap_index);
}
