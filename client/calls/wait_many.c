/* netpool_wait_many: one wait for a set of futures. */
#include "client/calls/future.h"
#include "client/last_error.h"

static size_t count_finished(netpool_future *const *futures, size_t count, bool *has_failure)
{
    size_t finished = 0;
    *has_failure = false;
    for (size_t i = 0; i < count; i++) {
        if (future_is_done(futures[i])) {
            finished++;
            *has_failure |= futures[i]->reply.result.status != NETPOOL_OK;
        }
    }
    return finished;
}

static bool is_reached(struct watch_set *set, size_t *finished)
{
    *finished = set->count - atomic_load(&set->unfinished);
    return watch_is_reached(set->condition, set->count, *finished, atomic_load(&set->has_failure));
}

static netpool_status wait_for(struct watch_set *set, int timeout_ms, size_t *finished)
{
    int64_t deadline = pool_deadline(timeout_ms);
    for (;;) {
        uint32_t ticket = event_ticket(&set->changed);
        if (is_reached(set, finished)) {
            return NETPOOL_OK;
        }
        if (!watch_set_wait(set, ticket, deadline)) {
            return is_reached(set, finished) ? NETPOOL_OK : NETPOOL_TIMEOUT;
        }
    }
}

netpool_status netpool_wait_many(netpool_future *const *futures, size_t count, netpool_wait_for condition,
                                 int timeout_ms, size_t *finished)
{
    netpool_status status = watch_check(futures, count, __func__);
    if (status != NETPOOL_OK) {
        return status;
    }
    if (condition != NETPOOL_ALL_COMPLETED && condition != NETPOOL_FIRST_COMPLETED &&
        condition != NETPOOL_FIRST_FAILED) {
        return last_error_set(NETPOOL_INVALID, __func__, "there is no condition %d", (int)condition);
    }
    bool has_failure;
    size_t done = count_finished(futures, count, &has_failure);
    if (!watch_is_reached(condition, count, done, has_failure)) {
        struct watch_set *set = watch_set_new(futures, count, condition, false);
        if (set == NULL) {
            return last_error_status(NETPOOL_NO_MEMORY, __func__);
        }
        status = wait_for(set, timeout_ms, &done);
        watch_set_free(set);
    }
    if (finished != NULL) {
        *finished = done;
    }
    return last_error_status(status, __func__);
}
