#include "broker/core/deadline.h"

#include <assert.h>
#include <stdlib.h>

static void place(struct deadlines *deadlines, size_t index, struct task *task)
{
    deadlines->heap[index] = task;
    task->extra->deadline_index = index;
}

static bool is_earlier(const struct task *a, const struct task *b)
{
    return a->extra->deadline_ns < b->extra->deadline_ns;
}

static void sift_up(struct deadlines *deadlines, size_t index)
{
    struct task *task = deadlines->heap[index];
    while (index > 0 && is_earlier(task, deadlines->heap[(index - 1) / 2])) {
        place(deadlines, index, deadlines->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(deadlines, index, task);
}

static void sift_down(struct deadlines *deadlines, size_t index)
{
    struct task *task = deadlines->heap[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= deadlines->count) {
            break;
        }
        if (child + 1 < deadlines->count && is_earlier(deadlines->heap[child + 1], deadlines->heap[child])) {
            child++;
        }
        if (!is_earlier(deadlines->heap[child], task)) {
            break;
        }
        place(deadlines, index, deadlines->heap[child]);
        index = child;
    }
    place(deadlines, index, task);
}

netpool_status deadline_add(struct deadlines *deadlines, struct task *task, int64_t deadline_ns)
{
    struct task_extra *extra = task_need_extra(task);
    if (extra == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    if (deadlines->count == deadlines->capacity) {
        size_t capacity = deadlines->capacity == 0 ? 16 : deadlines->capacity * 2;
        struct task **heap = realloc(deadlines->heap, capacity * sizeof(struct task *));
        if (heap == NULL) {
            return NETPOOL_NO_MEMORY;
        }
        deadlines->heap = heap;
        deadlines->capacity = capacity;
    }
    assert(extra->deadline_index == TASK_NO_DEADLINE);
    extra->deadline_ns = deadline_ns;
    place(deadlines, deadlines->count, task);
    sift_up(deadlines, deadlines->count++);
    return NETPOOL_OK;
}

void deadline_remove(struct deadlines *deadlines, struct task *task)
{
    if (task->extra == NULL || task->extra->deadline_index == TASK_NO_DEADLINE) {
        return;
    }
    size_t index = task->extra->deadline_index;
    assert(deadlines->heap[index] == task);
    task->extra->deadline_index = TASK_NO_DEADLINE;
    deadlines->count--;
    if (index < deadlines->count) {
        struct task *last = deadlines->heap[deadlines->count];
        place(deadlines, index, last);
        sift_up(deadlines, index);
        sift_down(deadlines, last->extra->deadline_index);
    }
}

struct task *deadline_first(const struct deadlines *deadlines)
{
    return deadlines->count > 0 ? deadlines->heap[0] : NULL;
}

void deadlines_fini(struct deadlines *deadlines)
{
    assert(deadlines->count == 0);
    free(deadlines->heap);
}
