/* netpool_as_completed: the futures of a set, one by one as they finish. */
#include <stdlib.h>

#include "client/calls/future.h"
#include "client/last_error.h"

struct netpool_completion {
    struct watch_set *set;
    pthread_mutex_t mutex; /* of those who take */
    struct watch *next;    /* finished, in order */
    size_t taken;
};

netpool_status netpool_as_completed(netpool_future *const *futures, size_t count, netpool_completion **out)
{
    if (out == NULL) {
        return last_error_set(NETPOOL_INVALID, __func__, "out is NULL");
    }
    *out = NULL;
    netpool_status status = watch_check(futures, count, __func__);
    if (status != NETPOOL_OK) {
        return status;
    }
    struct netpool_completion *completion = calloc(1, sizeof *completion);
    if (completion == NULL) {
        return last_error_status(NETPOOL_NO_MEMORY, __func__);
    }
    completion->set = watch_set_new(futures, count, NETPOOL_ALL_COMPLETED, true);
    if (completion->set == NULL) {
        free(completion);
        return last_error_status(NETPOOL_NO_MEMORY, __func__);
    }
    pthread_mutex_init(&completion->mutex, NULL);
    *out = completion;
    return NETPOOL_OK;
}

/* Moves what has finished to the list of the taker. */
static void collect(struct netpool_completion *completion)
{
    struct watch *newest = atomic_exchange(&completion->set->finished, NULL);
    while (newest != NULL) {
        struct watch *older = newest->next_finished;
        newest->next_finished = completion->next;
        completion->next = newest;
        newest = older;
    }
}

/* NETPOOL_TIMEOUT: nothing has finished that was not taken. */
static netpool_status take(struct netpool_completion *completion, size_t *index)
{
    struct watch_set *set = completion->set;
    netpool_status status = NETPOOL_TIMEOUT;
    pthread_mutex_lock(&completion->mutex);
    if (completion->next == NULL) {
        collect(completion);
    }
    if (completion->taken == set->count) {
        status = NETPOOL_CLOSED;
    } else if (completion->next != NULL) {
        *index = (size_t)(completion->next - set->watches);
        completion->next = completion->next->next_finished;
        if (++completion->taken == set->count) {
            event_signal(&set->changed); /* another thread may be waiting for what does not come any more */
        }
        status = NETPOOL_OK;
    }
    pthread_mutex_unlock(&completion->mutex);
    return status;
}

netpool_status netpool_completion_next(netpool_completion *completion, int timeout_ms, size_t *index)
{
    if (completion == NULL || index == NULL) {
        return last_error_set(NETPOOL_INVALID, __func__, completion == NULL ? "completion is NULL" : "index is NULL");
    }
    struct watch_set *set = completion->set;
    if (set->count > 0 && np_fork_guard_is_child(&set->watches[0].pool->guard)) {
        return last_error_status(NETPOOL_FORKED, __func__);
    }
    int64_t deadline = pool_deadline(timeout_ms);
    for (;;) {
        uint32_t ticket = event_ticket(&set->changed);
        netpool_status status = take(completion, index);
        if (status != NETPOOL_TIMEOUT) {
            return last_error_status(status, __func__);
        }
        if (!watch_set_wait(set, ticket, deadline)) {
            return last_error_status(NETPOOL_TIMEOUT, __func__);
        }
    }
}

void netpool_completion_close(netpool_completion **completion_at)
{
    struct netpool_completion *completion = completion_at != NULL ? *completion_at : NULL;
    if (completion == NULL) {
        return;
    }
    *completion_at = NULL;
    struct watch_set *set = completion->set;
    if (set->count > 0 && np_fork_guard_is_child(&set->watches[0].pool->guard)) {
        free(set); /* the locks of its pools may be held for ever here */
    } else {
        watch_set_free(set);
    }
    pthread_mutex_destroy(&completion->mutex);
    free(completion);
}
