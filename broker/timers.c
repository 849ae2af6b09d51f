#include "broker/timers.h"

#include <assert.h>
#include <stdlib.h>

#include "common/clock.h"

static void place(struct timers *timers, size_t index, struct timer *timer)
{
    timers->heap[index] = timer;
    timer->place = index + 1;
}

static size_t sift_up(struct timers *timers, size_t index, struct timer *timer)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (timers->heap[parent]->at <= timer->at) {
            break;
        }
        place(timers, index, timers->heap[parent]);
        index = parent;
    }
    place(timers, index, timer);
    return index;
}

static void sift_down(struct timers *timers, size_t index, struct timer *timer)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= timers->count) {
            break;
        }
        if (child + 1 < timers->count && timers->heap[child + 1]->at < timers->heap[child]->at) {
            child++;
        }
        if (timers->heap[child]->at >= timer->at) {
            break;
        }
        place(timers, index, timers->heap[child]);
        index = child;
    }
    place(timers, index, timer);
}

netpool_status timers_reserve(struct timers *timers, size_t count)
{
    if (count <= timers->capacity) {
        return NETPOOL_OK;
    }
    size_t capacity = timers->capacity == 0 ? 16 : timers->capacity;
    while (capacity < count) {
        capacity *= 2;
    }
    struct timer **heap = reallocarray(timers->heap, capacity, sizeof(*heap));
    if (heap == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    timers->heap = heap;
    timers->capacity = capacity;
    return NETPOOL_OK;
}

void timers_set(struct timers *timers, struct timer *timer, int64_t at)
{
    size_t index;
    if (timer->place == 0) {
        assert(timers->count < timers->capacity);
        index = timers->count++;
    } else {
        if (timer->at == at) {
            return;
        }
        index = timer->place - 1;
        assert(timers->heap[index] == timer);
    }
    timer->at = at;
    index = sift_up(timers, index, timer);
    sift_down(timers, index, timer);
}

void timers_remove(struct timers *timers, struct timer *timer)
{
    if (timer->place == 0) {
        return;
    }
    size_t index = timer->place - 1;
    assert(timers->heap[index] == timer);
    timer->place = 0;
    struct timer *last = timers->heap[--timers->count];
    if (last != timer) {
        index = sift_up(timers, index, last);
        sift_down(timers, index, last);
    }
}

struct timer *timers_first(const struct timers *timers)
{
    return timers->count == 0 ? NULL : timers->heap[0];
}

int64_t timers_deadline(const struct timers *timers)
{
    return timers->count == 0 ? NP_NEVER : timers->heap[0]->at;
}

void timers_fini(struct timers *timers)
{
    free(timers->heap);
    *timers = (struct timers){0};
}
