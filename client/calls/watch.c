#include "client/calls/watch.h"

#include <stdlib.h>

#include "client/calls/future.h"
#include "client/last_error.h"
#include "common/clock.h"

bool watch_is_reached(enum netpool_wait_for condition, size_t count, size_t finished, bool has_failure)
{
    switch (condition) {
    case NETPOOL_FIRST_COMPLETED:
        return finished > 0 || count == 0;
    case NETPOOL_FIRST_FAILED:
        return has_failure || finished == count;
    case NETPOOL_ALL_COMPLETED:
        break;
    }
    return finished == count;
}

netpool_status watch_check(netpool_future *const *futures, size_t count, const char *call)
{
    if (futures == NULL && count > 0) {
        return last_error_set(NETPOOL_INVALID, call, "futures is NULL");
    }
    for (size_t i = 0; i < count; i++) {
        if (futures[i] == NULL) {
            return last_error_set(NETPOOL_INVALID, call, "futures[%zu] is NULL", i);
        }
        if (np_fork_guard_is_child(&futures[i]->pool->guard)) {
            return last_error_status(NETPOOL_FORKED, call);
        }
    }
    return NETPOOL_OK;
}

/* May make the owner free the set; but not before it has taken the lock that the caller holds. */
static void note(struct watch *watch)
{
    struct watch_set *set = watch->set;
    bool is_failure = watch->future->reply.result.status != NETPOOL_OK;
    if (is_failure) {
        atomic_store(&set->has_failure, true);
    }
    watch->next_finished = atomic_load(&set->finished);
    while (!atomic_compare_exchange_weak(&set->finished, &watch->next_finished, watch)) {
    }
    size_t unfinished = atomic_fetch_sub(&set->unfinished, 1) - 1;
    if (set->wants_each ||
        watch_is_reached(set->condition, set->count, set->count - unfinished, atomic_load(&set->has_failure))) {
        event_signal(&set->changed);
    }
}

static void unlist(struct watch *watch)
{
    if (watch->next != NULL) {
        watch->next->previous = watch->previous;
    }
    if (watch->previous != NULL) {
        watch->previous->next = watch->next;
    } else {
        atomic_store(&watch->future->watchers.first, watch->next);
    }
    watch->is_listed = false;
}

static void list(struct watch *watch)
{
    struct watch_list *watchers = &watch->future->watchers;
    watch->next = atomic_load(&watchers->first);
    if (watch->next != NULL) {
        watch->next->previous = watch;
    }
    watch->is_listed = true;
    atomic_store(&watchers->first, watch);
}

/* Listed first, then the look whether the future is done; it becomes done first, then its list is looked at: one of
 * the two sees the other. */
static void begin(struct watch *watch)
{
    pthread_mutex_t *mutex = &watch->pool->watch_mutex;
    pthread_mutex_lock(mutex);
    list(watch);
    if (future_is_done(watch->future)) {
        unlist(watch);
        note(watch);
    }
    pthread_mutex_unlock(mutex);
}

void watch_future_finished(netpool_future *future)
{
    if (atomic_load(&future->watchers.first) == NULL) {
        return;
    }
    pthread_mutex_lock(&future->pool->watch_mutex);
    for (struct watch *watch = atomic_load(&future->watchers.first); watch != NULL;
         watch = atomic_load(&future->watchers.first)) {
        unlist(watch);
        note(watch);
    }
    pthread_mutex_unlock(&future->pool->watch_mutex);
}

static struct netpool *only_pool(netpool_future *const *futures, size_t count)
{
    struct netpool *pool = count > 0 ? futures[0]->pool : NULL;
    for (size_t i = 1; i < count; i++) {
        if (futures[i]->pool != pool) {
            return NULL;
        }
    }
    return pool;
}

struct watch_set *watch_set_new(netpool_future *const *futures, size_t count, enum netpool_wait_for condition,
                                bool wants_each)
{
    if (count > (SIZE_MAX - sizeof(struct watch_set)) / sizeof(struct watch)) {
        return NULL;
    }
    struct watch_set *set = calloc(1, sizeof *set + count * sizeof(struct watch));
    if (set == NULL) {
        return NULL;
    }
    set->pool = only_pool(futures, count);
    set->condition = condition;
    set->wants_each = wants_each;
    set->count = count;
    atomic_store(&set->unfinished, count);
    for (size_t i = 0; i < count; i++) {
        set->watches[i].future = futures[i];
        set->watches[i].set = set;
        set->watches[i].pool = futures[i]->pool;
        pool_retain(futures[i]->pool);
        begin(&set->watches[i]);
    }
    return set;
}

void watch_set_free(struct watch_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct watch *watch = &set->watches[i];
        /* Also for one that is not listed any more: whoever took it out of its list has let go of the set then. */
        pthread_mutex_lock(&watch->pool->watch_mutex);
        if (watch->is_listed) {
            unlist(watch);
        }
        pthread_mutex_unlock(&watch->pool->watch_mutex);
        pool_release(watch->pool);
    }
    free(set);
}

bool watch_set_wait(struct watch_set *set, uint32_t ticket, int64_t deadline)
{
    if (set->pool != NULL) {
        return engine_wait(set->pool->engine, &set->changed, ticket, deadline, true);
    }
    while (!event_is_past(&set->changed, ticket) && np_clock_now() < deadline) {
        if (event_prepare(&set->changed, ticket)) {
            event_sleep(&set->changed, ticket, deadline);
        }
    }
    return event_is_past(&set->changed, ticket);
}
