#include "client/calls/callback.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "client/pool.h"
#include "common/clock.h"
#include "common/error.h"

static _Thread_local const struct callbacks *current;

void callbacks_init(struct callbacks *callbacks, struct netpool *pool)
{
    *callbacks = (struct callbacks){.pool = pool, .mutex = PTHREAD_MUTEX_INITIALIZER};
}

void callbacks_fini(struct callbacks *callbacks)
{
    pthread_mutex_destroy(&callbacks->mutex);
}

/* NULL: none is there. */
static struct callback *take(struct callbacks *callbacks)
{
    if (callbacks->next == NULL) {
        struct callback *newest = atomic_exchange(&callbacks->posted, NULL);
        while (newest != NULL) {
            struct callback *older = newest->next;
            newest->next = callbacks->next;
            callbacks->next = newest;
            newest = older;
        }
    }
    struct callback *callback = callbacks->next;
    if (callback != NULL) {
        callbacks->next = callback->next;
    }
    return callback;
}

/* A call that forks returns in the child, too, where no others are to be made. */
static bool is_child(const struct callbacks *callbacks)
{
    return np_fork_guard_is_child(&callbacks->pool->guard);
}

static void run_all(struct callbacks *callbacks)
{
    struct callback *callback;
    while (!is_child(callbacks) && (callback = take(callbacks)) != NULL) {
        callback->run(callback);
    }
}

static void *run_thread(void *context)
{
    struct callbacks *callbacks = context;
    current = callbacks;
    engine_never_lead();
    (void)prctl(PR_SET_NAME, "netpool-calls");
    bool is_ending;
    do {
        uint32_t ticket = event_ticket(&callbacks->changed);
        is_ending = atomic_load(&callbacks->is_ending); /* before the last look: nothing comes after it was set */
        run_all(callbacks);
        if (is_child(callbacks)) {
            return NULL; /* the child's only thread: this ends it */
        }
        if (!is_ending && event_prepare(&callbacks->changed, ticket)) {
            event_sleep(&callbacks->changed, ticket, NP_NEVER);
        }
    } while (!is_ending);
    pool_release(callbacks->pool);
    return NULL;
}

static netpool_status start_thread(struct callbacks *callbacks, netpool_error *error)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pool_retain(callbacks->pool);
    int failed = pthread_create(&callbacks->thread, NULL, run_thread, callbacks);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        pool_release(callbacks->pool);
        return np_error_set(error, NETPOOL_SYSTEM, "cannot start the thread of the callbacks: %s", strerror(failed));
    }
    atomic_store(&callbacks->is_started, true);
    return NETPOOL_OK;
}

netpool_status callbacks_start(struct callbacks *callbacks, netpool_error *error)
{
    if (atomic_load(&callbacks->is_started)) {
        return NETPOOL_OK;
    }
    netpool_status status = NETPOOL_OK;
    pthread_mutex_lock(&callbacks->mutex);
    if (atomic_load(&callbacks->is_ending)) {
        status = np_error_set(error, NETPOOL_CLOSED, "the pool is being closed");
    } else if (!atomic_load(&callbacks->is_started)) {
        status = start_thread(callbacks, error);
    }
    pthread_mutex_unlock(&callbacks->mutex);
    return status;
}

void callbacks_post(struct callbacks *callbacks, struct callback *callback)
{
    callback->next = atomic_load(&callbacks->posted);
    while (!atomic_compare_exchange_weak(&callbacks->posted, &callback->next, callback)) {
    }
    event_signal(&callbacks->changed);
}

void callbacks_end(struct callbacks *callbacks)
{
    pthread_mutex_lock(&callbacks->mutex);
    atomic_store(&callbacks->is_ending, true);
    bool is_started = atomic_load(&callbacks->is_started);
    pthread_mutex_unlock(&callbacks->mutex);
    if (!is_started) {
        return;
    }
    event_signal(&callbacks->changed); /* also for the caller's own thread: it is to look whether it ends */
    if (current == callbacks) {
        run_all(callbacks);
        pthread_detach(callbacks->thread);
        return;
    }
    pthread_join(callbacks->thread, NULL);
}
