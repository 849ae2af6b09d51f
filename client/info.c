/* Asking a pool how it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/last_error.h"
#include "client/pool.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/text.h"

/* One caller's question; two references: the caller's and the engine's. */
struct info_request {
    struct engine_request request;
    struct np_list node; /* in pool->info_requests; the leader's */
    struct netpool *pool;
    atomic_uint references;
    struct event done;
    netpool_info *info; /* NULL after `done`: out of memory, or */
    bool is_dropped;    /* the pool was closed before the answer came */
};

static void release(struct info_request *request)
{
    if (atomic_fetch_sub(&request->references, 1) == 1) {
        netpool_info_free(&request->info);
        free(request);
    }
}

static void copy_line(char *out, size_t size, const char *text)
{
    (void)np_text_copy(out, size, text);
    np_text_clean(out);
}

static void join_labels(char *out, size_t size, const Np__WorkerStatus *worker)
{
    size_t used = 0;
    for (size_t i = 0; i < worker->n_labels && used < size; i++) {
        int added = snprintf(out + used, size - used, "%s%s", i > 0 ? "," : "", worker->labels[i]);
        used += added > 0 ? (size_t)added : 0;
    }
    np_text_clean(out);
}

static bool copy_workers(netpool_info *info, const Np__Status *status)
{
    info->workers = calloc(status->n_workers + 1, sizeof *info->workers);
    if (info->workers == NULL) {
        return false;
    }
    for (; info->worker_count < status->n_workers; info->worker_count++) {
        const Np__WorkerStatus *from = status->workers[info->worker_count];
        netpool_worker_info *to = &info->workers[info->worker_count];
        copy_line(to->name, sizeof to->name, from->name);
        copy_line(to->host, sizeof to->host, from->host);
        copy_line(to->address, sizeof to->address, from->address);
        copy_line(to->state, sizeof to->state, from->state);
        to->slots = from->slots;
        to->held = from->held;
        to->done = from->done;
        to->failed = from->failed;
        join_labels(to->labels, sizeof to->labels, from);
    }
    return true;
}

static bool copy_clients(netpool_info *info, const Np__Status *status)
{
    info->client_count = status->client_count;
    info->clients = calloc(status->n_clients + 1, sizeof *info->clients);
    if (info->clients == NULL) {
        return false;
    }
    for (; info->client_rows < status->n_clients; info->client_rows++) {
        const Np__ClientStatus *from = status->clients[info->client_rows];
        netpool_client_info *to = &info->clients[info->client_rows];
        copy_line(to->name, sizeof to->name, from->name);
        copy_line(to->host, sizeof to->host, from->host);
        copy_line(to->address, sizeof to->address, from->address);
        to->connected = from->connected;
        to->queued = from->queued;
        to->running = from->running;
        to->done = from->done;
        to->memory_bytes = from->memory_bytes;
    }
    return true;
}

static bool copy_waiting(netpool_info *info, const Np__Status *status)
{
    info->waiting = calloc(status->n_waiting + 1, sizeof *info->waiting);
    if (info->waiting == NULL) {
        return false;
    }
    for (; info->waiting_count < status->n_waiting; info->waiting_count++) {
        char *line = strdup(status->waiting[info->waiting_count]);
        if (line == NULL) {
            return false;
        }
        np_text_clean(line);
        info->waiting[info->waiting_count] = line;
    }
    return true;
}

static netpool_info *new_info(const Np__Status *status)
{
    netpool_info *info = calloc(1, sizeof *info);
    if (info == NULL) {
        return NULL;
    }
    copy_line(info->broker, sizeof info->broker, status->broker);
    copy_line(info->software, sizeof info->software, status->software);
    info->uptime_ms = status->uptime_ms;
    info->queued = status->queued;
    info->running = status->running;
    info->done = status->done;
    info->failed = status->failed;
    info->cancelled = status->cancelled;
    info->retried = status->retried;
    info->late = status->late;
    info->refused = status->refused;
    info->memory_bytes = status->memory_bytes;
    if (!copy_workers(info, status) || !copy_clients(info, status) || !copy_waiting(info, status)) {
        netpool_info_free(&info);
    }
    return info;
}

void info_answer(struct netpool *pool, const Np__Status *status)
{
    unsigned slots = 0;
    for (size_t i = 0; i < status->n_workers; i++) {
        slots += status->workers[i]->slots;
    }
    engine_set_slots(pool->engine, slots);
    for (struct np_list *node = np_list_pop_front(&pool->info_requests); node != NULL;
         node = np_list_pop_front(&pool->info_requests)) {
        struct info_request *request = NP_CONTAINER(node, struct info_request, node);
        request->info = new_info(status);
        event_signal(&request->done);
        release(request);
    }
}

void info_drop(struct netpool *pool)
{
    for (struct np_list *node = np_list_pop_front(&pool->info_requests); node != NULL;
         node = np_list_pop_front(&pool->info_requests)) {
        struct info_request *request = NP_CONTAINER(node, struct info_request, node);
        request->is_dropped = true;
        event_signal(&request->done);
        release(request);
    }
}

static void run_request(struct engine_request *engine_request, struct dialogue *dialogue, int64_t now)
{
    (void)now;
    struct info_request *request = NP_CONTAINER(engine_request, struct info_request, request);
    np_list_push_back(&request->pool->info_requests, &request->node);
    dialogue_request_status(dialogue);
}

/* Without a time limit of its own a question lives as long as a task would without a broker. */
static int64_t deadline_of(const struct netpool *pool, int timeout_ms)
{
    if (timeout_ms < 0 && pool->settings.reconnect_timeout_ns != NP_NEVER) {
        return np_clock_now() + pool->settings.reconnect_timeout_ns;
    }
    return pool_deadline(timeout_ms);
}

static netpool_status wait_for_answer(struct info_request *request, int timeout_ms, netpool_info **out,
                                      netpool_error *error)
{
    struct netpool *pool = request->pool;
    if (!engine_wait(pool->engine, &request->done, 0, deadline_of(pool, timeout_ms), true)) {
        return np_error_set(error, timeout_ms < 0 ? NETPOOL_UNREACHABLE : NETPOOL_TIMEOUT,
                            "%s did not answer in time", pool->settings.url_text);
    }
    if (request->is_dropped) {
        return np_error_set(error, NETPOOL_CLOSED, "the pool was closed before %s had answered",
                            pool->settings.url_text);
    }
    if (request->info == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    *out = request->info;
    request->info = NULL;
    return NETPOOL_OK;
}

static netpool_status get_info(netpool *pool, netpool_info **out, int timeout_ms, netpool_error *error)
{
    if (out == NULL) {
        return np_error_set(error, NETPOOL_INVALID, "out is NULL");
    }
    *out = NULL;
    netpool_status status = pool_check(pool, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    struct info_request *request = calloc(1, sizeof *request);
    if (request == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    request->request.run = run_request;
    request->pool = pool;
    atomic_store(&request->references, 2);
    pool_retain(pool);
    if (engine_post(pool->engine, &request->request)) {
        status = wait_for_answer(request, timeout_ms, out, error);
    } else {
        status = np_error_set(error, NETPOOL_CLOSED, "the pool is closed");
        release(request);
    }
    release(request);
    pool_release(pool);
    return status;
}

netpool_status netpool_get_info(netpool *pool, netpool_info **out, int timeout_ms, netpool_error *error)
{
    netpool_error own;
    error = error != NULL ? error : &own;
    *error = (netpool_error){0};
    return last_error_from(get_info(pool, out, timeout_ms, error), __func__, error);
}

void netpool_info_free(netpool_info **info_at)
{
    netpool_info *info = info_at != NULL ? *info_at : NULL;
    if (info == NULL) {
        return;
    }
    for (size_t i = 0; i < info->waiting_count; i++) {
        free(info->waiting[i]);
    }
    free(info->waiting);
    free(info->workers);
    free(info->clients);
    free(info);
    *info_at = NULL;
}
