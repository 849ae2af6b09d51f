#include "client/dialogue/outstanding.h"

#include <stdlib.h>

enum { SMALLEST = 64, KEPT = 1024 }; /* an empty ring larger than KEPT is freed */

static struct np_task **place_of(const struct outstanding *tasks, uint64_t number)
{
    return &tasks->ring[number & (tasks->capacity - 1)];
}

static netpool_status grow(struct outstanding *tasks)
{
    struct outstanding grown = *tasks;
    grown.capacity = tasks->capacity > 0 ? tasks->capacity * 2 : SMALLEST;
    grown.ring = calloc(grown.capacity, sizeof(struct np_task *));
    if (grown.ring == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    for (uint64_t number = tasks->first; number - tasks->first < tasks->capacity; number++) {
        *place_of(&grown, number) = *place_of(tasks, number);
    }
    free(tasks->ring);
    *tasks = grown;
    return NETPOOL_OK;
}

/* The ring begins one later: its first task, if there is one, is what stays behind. */
static netpool_status advance(struct outstanding *tasks)
{
    struct np_task **place = place_of(tasks, tasks->first);
    if (*place != NULL) {
        netpool_status status = np_table_put(&tasks->older, tasks->first, *place);
        if (status != NETPOOL_OK) {
            return status;
        }
        *place = NULL;
        tasks->count--;
    }
    tasks->first++;
    return NETPOOL_OK;
}

netpool_status outstanding_put(struct outstanding *tasks, uint64_t number, struct np_task *task)
{
    if (tasks->count == 0 && (number > tasks->first || tasks->older.count == 0)) {
        tasks->first = number;
    }
    if (number < tasks->first) {
        return np_table_put(&tasks->older, number, task);
    }
    while (number - tasks->first >= tasks->capacity) {
        bool is_half_full = tasks->count * 2 >= tasks->capacity;
        bool must_grow = is_half_full && (tasks->capacity == 0 || *place_of(tasks, tasks->first) != NULL);
        netpool_status status = must_grow ? grow(tasks) : advance(tasks);
        if (status != NETPOOL_OK) {
            return status;
        }
    }
    *place_of(tasks, number) = task;
    tasks->count++;
    return NETPOOL_OK;
}

struct np_task *outstanding_take(struct outstanding *tasks, uint64_t number)
{
    if (number - tasks->first >= tasks->capacity) {
        return np_table_take(&tasks->older, number);
    }
    struct np_task **place = place_of(tasks, number);
    struct np_task *task = *place;
    if (task == NULL) {
        return NULL;
    }
    *place = NULL;
    if (--tasks->count == 0 && tasks->capacity > KEPT) {
        free(tasks->ring);
        tasks->ring = NULL;
        tasks->capacity = 0;
    }
    return task;
}

void outstanding_fini(struct outstanding *tasks)
{
    free(tasks->ring);
    np_table_fini(&tasks->older);
    *tasks = (struct outstanding){0};
}
