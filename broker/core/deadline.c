#include "broker/core/deadline.h"

#include <assert.h>
#include <stdlib.h>

#include "common/clock.h"

int64_t deadline_of(const struct task *task)
{
    return np_earlier(task->extra->expiry_ns, task->extra->retry_ns);
}

static void place(struct deadlines *deadlines, size_t index, struct task *task)
{
    deadlines->heap[index] = task;
    task->extra->deadline_index = index;
}

static bool is_earlier(const struct task *a, const struct task *b)
{
    return deadline_of(a) < deadline_of(b);
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

/* A task that is in the heap keeps its place there, which is put right afterwards. */
static netpool_status enter(struct deadlines *deadlines, struct task *task)
{
    if (task->extra->deadline_index != TASK_NO_DEADLINE) {
        return NETPOOL_OK;
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
    place(deadlines, deadlines->count++, task);
    return NETPOOL_OK;
}

static void move(struct deadlines *deadlines, const struct task *task)
{
    sift_up(deadlines, task->extra->deadline_index);
    sift_down(deadlines, task->extra->deadline_index);
}

netpool_status deadline_add(struct deadlines *deadlines, struct task *task, int64_t expiry_ns)
{
    struct task_extra *extra = task_need_extra(task);
    if (extra == NULL || enter(deadlines, task) != NETPOOL_OK) {
        return NETPOOL_NO_MEMORY;
    }
    assert(extra->expiry_ns == NP_NEVER);
    extra->expiry_ns = expiry_ns;
    move(deadlines, task);
    return NETPOOL_OK;
}

netpool_status deadline_delay(struct deadlines *deadlines, struct task *task, int64_t retry_ns)
{
    struct task_extra *extra = task_need_extra(task);
    if (extra == NULL || enter(deadlines, task) != NETPOOL_OK) {
        return NETPOOL_NO_MEMORY;
    }
    assert(extra->retry_ns == NP_NEVER);
    extra->retry_ns = retry_ns;
    move(deadlines, task);
    return NETPOOL_OK;
}

void deadline_undelay(struct deadlines *deadlines, struct task *task)
{
    if (task->extra == NULL || task->extra->retry_ns == NP_NEVER) {
        return;
    }
    task->extra->retry_ns = NP_NEVER;
    if (task->extra->expiry_ns == NP_NEVER) {
        deadline_remove(deadlines, task);
    } else {
        move(deadlines, task);
    }
}

void deadline_remove(struct deadlines *deadlines, struct task *task)
{
    if (task->extra == NULL || task->extra->deadline_index == TASK_NO_DEADLINE) {
        return;
    }
    size_t index = task->extra->deadline_index;
    assert(deadlines->heap[index] == task);
    task->extra->deadline_index = TASK_NO_DEADLINE;
    task->extra->expiry_ns = task->extra->retry_ns = NP_NEVER;
    deadlines->count--;
    if (index < deadlines->count) {
        place(deadlines, index, deadlines->heap[deadlines->count]);
        move(deadlines, deadlines->heap[index]);
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
