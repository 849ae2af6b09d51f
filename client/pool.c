#include "client/pool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/last_error.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/random.h"

netpool_status pool_check(const struct netpool *pool, netpool_error *error)
{
    if (pool == NULL) {
        return np_error_set(error, NETPOOL_INVALID, "pool is NULL");
    }
    if (np_fork_guard_is_child(&pool->guard)) {
        return np_error_set(error, NETPOOL_FORKED, "the pool was opened by the parent of this process: open another");
    }
    if (atomic_load(&pool->is_closing)) {
        return np_error_set(error, NETPOOL_CLOSED, "the pool is being closed");
    }
    return NETPOOL_OK;
}

netpool_status pool_check_submit(const struct netpool *pool, netpool_error *error)
{
    netpool_status status = pool_check(pool, error);
    if (status == NETPOOL_OK && pool->is_admin) {
        status = np_error_set(error, NETPOOL_REFUSED, "a certificate of role admin cannot submit tasks");
    }
    return status;
}

netpool_status pool_describe(struct netpool *pool, const char *function, const netpool_task_options *options,
                             struct np_task_kind *kind, uint64_t *lane, netpool_error *error)
{
    struct np_task_kind described = {0};
    uint64_t number = 0;
    netpool_status status = task_check_function(function, error);
    if (status == NETPOOL_OK) {
        status = task_read_options(&described, options, error);
    }
    if (status == NETPOOL_OK && options != NULL && options->lane != NULL) {
        status = task_hash_lane(&number, options->lane, error);
    }
    if (status == NETPOOL_OK && options != NULL && options->labels != NULL && options->labels[0] != '\0') {
        const struct label_set *set;
        status = label_sets_keep(&pool->label_sets, options->labels, &set, error);
        if (status == NETPOOL_OK) {
            described.labels = set->labels;
            described.label_count = set->count;
        }
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    described.function = names_keep(&pool->names, function);
    if (described.function == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    *kind = described;
    *lane = number;
    return NETPOOL_OK;
}

/* The kept one that is like `kind`; NULL: out of memory. */
static const struct np_task_kind *keep_plain_kind(struct netpool *pool, const struct np_task_kind *kind)
{
    uint64_t key = (uintptr_t)kind->function;
    pthread_mutex_lock(&pool->plain_mutex);
    struct np_task_kind *kept = np_table_find(&pool->plain_kinds, key);
    if (kept == NULL) {
        kept = malloc(sizeof *kept);
        if (kept != NULL) {
            *kept = *kind;
            if (np_table_put(&pool->plain_kinds, key, kept) != NETPOOL_OK) {
                free(kept);
                kept = NULL;
            }
        }
    }
    pthread_mutex_unlock(&pool->plain_mutex);
    return kept;
}

netpool_status pool_plain_kind(struct netpool *pool, const char *function, const struct np_task_kind **out,
                               netpool_error *error)
{
    const struct np_task_kind *kind = atomic_load_explicit(&pool->last_plain, memory_order_acquire);
    if (kind == NULL || function == NULL || strcmp(kind->function, function) != 0) {
        struct np_task_kind described;
        uint64_t lane;
        netpool_status status = pool_describe(pool, function, NULL, &described, &lane, error);
        if (status != NETPOOL_OK) {
            return status;
        }
        kind = keep_plain_kind(pool, &described);
        if (kind == NULL) {
            return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
        }
        atomic_store_explicit(&pool->last_plain, kind, memory_order_release);
    }
    *out = kind;
    return NETPOOL_OK;
}

void pool_retain(struct netpool *pool)
{
    atomic_fetch_add(&pool->references, 1);
}

static void forget_plain_kinds(struct netpool *pool)
{
    size_t cursor = 0;
    for (void *kind = np_table_next(&pool->plain_kinds, &cursor); kind != NULL;
         kind = np_table_next(&pool->plain_kinds, &cursor)) {
        free(kind);
    }
    np_table_fini(&pool->plain_kinds);
    pthread_mutex_destroy(&pool->plain_mutex);
}

void pool_release(struct netpool *pool)
{
    if (atomic_fetch_sub(&pool->references, 1) > 1) {
        return;
    }
    /* In a forked child the engine is left alone: its thread does not exist here, what it was doing is half done, and
     * its descriptors are shared with the parent. */
    if (!np_fork_guard_is_child(&pool->guard)) {
        info_drop(pool);
        engine_destroy(&pool->engine);
    }
    callbacks_fini(&pool->callbacks);
    forget_plain_kinds(pool);
    spares_free(spares_take_all(&pool->futures));
    pthread_mutex_destroy(&pool->watch_mutex);
    pthread_mutex_destroy(&pool->streams_mutex);
    label_sets_fini(&pool->label_sets);
    names_fini(&pool->names);
    profile_fini(&pool->profile);
    settings_fini(&pool->settings);
    np_fork_guard_fini(&pool->guard);
    free(pool);
}

const char *pool_keep_name(void *context, const char *name)
{
    struct netpool *pool = context;
    for (size_t i = 0; i < sizeof pool->last_names / sizeof pool->last_names[0]; i++) {
        if (pool->last_names[i] != NULL && strcmp(pool->last_names[i], name) == 0) {
            return pool->last_names[i];
        }
    }
    const char *kept = names_keep(&pool->names, name);
    if (kept == NULL) {
        return "";
    }
    pool->last_names[pool->last_name++ % (sizeof pool->last_names / sizeof pool->last_names[0])] = kept;
    return kept;
}

void pool_book(struct netpool *pool, struct np_profile *part, const struct np_task *task,
               const struct np_outcome *outcome, uint64_t items)
{
    profile_book(&pool->profile, task, outcome, items);
    if (part != NULL) {
        profile_book(part, task, outcome, items);
    }
}

int64_t pool_deadline(int timeout_ms)
{
    if (timeout_ms < 0) {
        return NP_NEVER;
    }
    return timeout_ms == 0 ? 0 : np_clock_now() + timeout_ms * NP_NS_PER_MS;
}

static void status_received(void *context, const Np__Status *status)
{
    info_answer(context, status);
}

static netpool_status new_backend(struct backend **out, const struct settings *settings, netpool_error *error)
{
    switch (settings->url.kind) {
    case NP_URL_LOCAL:
        return backend_local_new(out, settings, error);
    case NP_URL_THREADS:
        return backend_threads_new(out, settings, error);
    case NP_URL_IPC:
    case NP_URL_TLS:
        break;
    }
    return backend_remote_new(out, settings, error);
}

static netpool_status start(struct netpool *pool, netpool_error *error)
{
    struct backend *backend;
    netpool_status status = new_backend(&backend, &pool->settings, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    enum np_url_kind kind = pool->settings.url.kind;
    bool is_remote = kind == NP_URL_IPC || kind == NP_URL_TLS;
    struct dialogue_config config = {.name = pool->settings.name,
                                     .host = pool->settings.host,
                                     .pid = (uint32_t)getpid(),
                                     .role = is_remote ? backend_remote_role(backend) : NP__ROLE__CLIENT,
                                     .max_payload = pool->settings.max_payload,
                                     .preparation = {.initializer = pool->settings.initializer,
                                                     .input = pool->settings.initializer_input,
                                                     .input_size = pool->settings.initializer_input_size,
                                                     .max_tasks_per_executor = pool->settings.max_tasks_per_executor},
                                     .status_received = status_received,
                                     .keep_name = pool_keep_name,
                                     .context = pool};
    config.heap = backend->heap;
    np_random_system(config.id, sizeof config.id);
    pool->is_admin = config.role == NP__ROLE__ADMIN;
    status = engine_new(&pool->engine, &config, backend, &pool->profile, error);
    return status == NETPOOL_OK ? engine_start(pool->engine, error) : status;
}

struct netpool *pool_new(void)
{
    struct netpool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    atomic_store(&pool->references, 1);
    np_fork_guard_init(&pool->guard);
    names_init(&pool->names);
    profile_init(&pool->profile, NULL);
    label_sets_init(&pool->label_sets, &pool->names);
    callbacks_init(&pool->callbacks, pool);
    pthread_mutex_init(&pool->plain_mutex, NULL);
    pthread_mutex_init(&pool->watch_mutex, NULL);
    pthread_mutex_init(&pool->streams_mutex, NULL);
    np_list_init(&pool->streams);
    np_list_init(&pool->info_requests);
    return pool;
}

static netpool_status open_pool(netpool **out, const char *url, const netpool_options *options, netpool_error *error)
{
    if (out == NULL) {
        return np_error_set(error, NETPOOL_INVALID, "out is NULL");
    }
    *out = NULL;
    struct netpool *pool = pool_new();
    if (pool == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    netpool_status status = settings_init(&pool->settings, url, options, error);
    if (status == NETPOOL_OK) {
        pool->profile.threads = pool->settings.url.kind == NP_URL_THREADS ? pool->settings.slots : 0;
        status = start(pool, error);
    }
    if (status != NETPOOL_OK) {
        pool_release(pool);
        return status;
    }
    *out = pool;
    return NETPOOL_OK;
}

netpool_status netpool_open(netpool **out, const char *url, const netpool_options *options, netpool_error *error)
{
    netpool_error own;
    error = error != NULL ? error : &own;
    *error = (netpool_error){0};
    return last_error_from(open_pool(out, url, options, error), __func__, error);
}

static void close_pool(netpool **pool_at, enum np_cancel cancel)
{
    /* Whoever finds the pool in the variable closes it; another thread, or a callback, may try the same. */
    struct netpool *pool = pool_at != NULL ? __atomic_exchange_n(pool_at, NULL, __ATOMIC_SEQ_CST) : NULL;
    if (pool == NULL) {
        return;
    }
    if (!np_fork_guard_is_child(&pool->guard)) {
        atomic_store(&pool->is_closing, true);
        event_signal(&pool->room); /* those who wait to submit are told */
        streams_wake(pool);
        engine_stop(pool->engine, cancel);
        callbacks_end(&pool->callbacks);
        info_drop(pool); /* who still waits for an answer is told that none comes */
    }
    pool_release(pool);
}

void netpool_close(netpool **pool)
{
    close_pool(pool, NP_CANCEL_NONE);
}

void netpool_terminate(netpool **pool)
{
    close_pool(pool, NP_CANCEL_ALWAYS);
}

void netpool_shutdown(netpool **pool, bool cancel_pending)
{
    close_pool(pool, cancel_pending ? NP_CANCEL_UNSTARTED : NP_CANCEL_NONE);
}

void netpool_get_profile(netpool *pool, netpool_profile *out)
{
    if (out == NULL) {
        (void)last_error_set(NETPOOL_INVALID, __func__, "out is NULL");
        return;
    }
    *out = (netpool_profile){0};
    if (pool == NULL) {
        (void)last_error_set(NETPOOL_INVALID, __func__, "pool is NULL");
    } else if (np_fork_guard_is_child(&pool->guard)) {
        (void)last_error_status(NETPOOL_FORKED, __func__);
    } else {
        profile_read(&pool->profile, engine_slots(pool->engine), out);
    }
}
