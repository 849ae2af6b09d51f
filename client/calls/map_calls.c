/* netpool_map and netpool_map_bytes: their arguments, and where items come from and results go. */
#include <stdlib.h>
#include <string.h>

#include "client/calls/map.h"
#include "client/calls/reply.h"
#include "client/calls/task_options.h"
#include "client/last_error.h"
#include "common/block.h"
#include "common/error.h"

/* Bytes of a chunk, in or out: large enough to make its way cheap, small enough to be spread over executors. */
#define CHUNK_BYTES_MAX ((size_t)1 << 20)
/* Executors assumed where the pool has not told. */
enum { SLOTS_UNKNOWN = 8 };

static netpool_bytes array_input(const struct map *map, size_t first, size_t count)
{
    return (netpool_bytes){.data = (const char *)map->in + first * map->in_size, .size = count * map->in_size};
}

static netpool_status array_keep(struct map *map, size_t first, size_t count, const struct np_outcome *outcome,
                                 const char **reason)
{
    if (outcome->size != count * map->out_size) {
        *reason = "the result of a block has not the size of its items";
        return NETPOOL_PROTOCOL;
    }
    if (outcome->size > 0) {
        memcpy((char *)map->out + first * map->out_size, outcome->data, outcome->size);
    }
    return NETPOOL_OK;
}

static const struct map_operations array_operations = {.input = array_input, .keep = array_keep};

static netpool_bytes bytes_input(const struct map *map, size_t first, size_t count)
{
    (void)count; /* always 1 */
    return ((const netpool_bytes *)map->in)[first];
}

static netpool_status bytes_keep(struct map *map, size_t first, size_t count, const struct np_outcome *outcome,
                                 const char **reason)
{
    (void)count;
    netpool_bytes *out = (netpool_bytes *)map->out + first;
    if (outcome->size == 0) {
        return NETPOOL_OK;
    }
    out->data = reply_take_bytes(outcome);
    if (out->data == NULL) {
        *reason = "no memory for a result";
        return NETPOOL_NO_MEMORY;
    }
    out->size = outcome->size;
    return NETPOOL_OK;
}

static const struct map_operations bytes_operations = {.input = bytes_input, .keep = bytes_keep};

static unsigned slots_of(const struct netpool *pool)
{
    unsigned slots = engine_slots(pool->engine);
    return slots > 0 ? slots : SLOTS_UNKNOWN;
}

static netpool_status check_map(struct map *map, netpool *pool, const char *function,
                                const netpool_map_options *options, netpool_error *error)
{
    netpool_status status = pool_check_submit(pool, error);
    if (status == NETPOOL_OK) {
        status = TASK_CHECK_RESERVED(options, error);
    }
    if (status == NETPOOL_OK && options->task.on_done != NULL) {
        status = np_error_set(error, NETPOOL_INVALID, "options.task.on_done is for netpool_submit");
    }
    if (status == NETPOOL_OK && map->count > 0 && (map->in == NULL || (map->out == NULL && map->out_size > 0))) {
        status =
            np_error_set(error, NETPOOL_INVALID, "%s array is NULL", map->in == NULL ? "the input" : "the output");
    }
    if (status == NETPOOL_OK) {
        map->pool = pool;
        status = pool_describe(pool, function, &options->task, &map->kind, &map->lane, error);
    }
    return status;
}

static netpool_status run(struct map *map, const netpool_map_options *options, netpool_error *error)
{
    map->watch =
        (struct map_watch){.report = options->progress, .context = options->progress_context, .count = map->count};
    struct np_profile profile;
    profile_init(&profile, &map->pool->profile);
    map->profile = options->profile != NULL ? &profile : NULL;
    pool_retain(map->pool);
    netpool_status status = map_run(map);
    if (options->profile != NULL) {
        profile_read(&profile, engine_slots(map->pool->engine), options->profile);
    }
    profile_fini(&profile);
    pool_release(map->pool);
    if (status != NETPOOL_OK) {
        const netpool_failure *failure = &map->failure;
        (void)np_error_set(error, status, "item %llu: %s: %s%s%s%s", (unsigned long long)failure->item,
                           failure->function, failure->message, failure->worker[0] != '\0' ? " (worker " : "",
                           failure->worker, failure->worker[0] != '\0' ? ")" : "");
        if (options->failure != NULL) {
            *options->failure = *failure;
        }
    }
    return status;
}

static netpool_status check_item_sizes(const struct map *map, size_t chunk, netpool_error *error)
{
    uint64_t limit = map->pool->settings.max_payload;
    size_t items = chunk > 0 && chunk < map->count ? chunk : chunk > 0 ? map->count : 1;
    if (map->in_size == 0) {
        return np_error_set(error, NETPOOL_INVALID, "in_size is 0");
    }
    if (map->count > SIZE_MAX / map->in_size || (map->out_size > 0 && map->count > SIZE_MAX / map->out_size)) {
        return np_error_set(error, NETPOOL_INVALID, "%zu items do not fit in memory", map->count);
    }
    if (map->in_size > UINT32_MAX || map->out_size > UINT32_MAX || items * map->in_size > limit ||
        items * map->out_size > limit) {
        return np_error_set(error, NETPOOL_TOO_LARGE,
                            "%zu item%s of %zu bytes in, %zu out: the pool's limit is %llu bytes a task", items,
                            items == 1 ? "" : "s", map->in_size, map->out_size, (unsigned long long)limit);
    }
    return NETPOOL_OK;
}

static netpool_status map_array(netpool *pool, const char *function, const netpool_map_options *options,
                                struct map *map, netpool_error *error)
{
    netpool_status status = check_map(map, pool, function, options, error);
    if (status == NETPOOL_OK) {
        status = check_item_sizes(map, options->chunk, error);
    }
    if (status != NETPOOL_OK || map->count == 0) {
        return status;
    }
    const uint64_t limit = pool->settings.max_payload;
    map->kind.item_in_size = (uint32_t)map->in_size;
    map->kind.item_out_size = (uint32_t)map->out_size;
    chunk_size_init(&map->size, options->chunk, slots_of(pool),
                    map->in_size > map->out_size ? map->in_size : map->out_size,
                    limit < CHUNK_BYTES_MAX ? (size_t)limit : CHUNK_BYTES_MAX);
    return run(map, options, error);
}

netpool_status netpool_map(netpool *pool, const char *function, const void *in, size_t count, size_t in_size,
                           void *out, size_t out_size, const netpool_map_options *options, netpool_error *error)
{
    static const netpool_map_options none;
    netpool_error own = {0};
    error = error != NULL ? error : &own;
    *error = own;
    struct map map = {.operations = &array_operations,
                      .count = count,
                      .in = in,
                      .out = out,
                      .in_size = in_size,
                      .out_size = out_size};
    netpool_status status = map_array(pool, function, options != NULL ? options : &none, &map, error);
    return last_error_from(status, __func__, error);
}

static netpool_status map_bytes(netpool *pool, const char *function, const netpool_map_options *options,
                                struct map *map, netpool_error *error)
{
    const netpool_bytes *in = map->in;
    if (map->count > SIZE_MAX / sizeof *in) {
        return np_error_set(error, NETPOOL_INVALID, "%zu items do not fit in memory", map->count);
    }
    netpool_status status = check_map(map, pool, function, options, error);
    for (size_t i = 0; status == NETPOOL_OK && i < map->count; i++) {
        if (in[i].data == NULL && in[i].size > 0) {
            status = np_error_set(error, NETPOOL_INVALID, "item %zu: data is NULL and size is %zu", i, in[i].size);
        } else if (in[i].size > pool->settings.max_payload) {
            status = np_error_set(error, NETPOOL_TOO_LARGE, "item %zu: %zu bytes, the pool's limit is %llu", i,
                                  in[i].size, (unsigned long long)pool->settings.max_payload);
        }
    }
    if (map->out != NULL) {
        memset(map->out, 0, map->count * sizeof(netpool_bytes));
    }
    if (status != NETPOOL_OK || map->count == 0) {
        return status;
    }
    chunk_size_init(&map->size, 1, slots_of(pool), 1, CHUNK_BYTES_MAX);
    return run(map, options, error);
}

netpool_status netpool_map_bytes(netpool *pool, const char *function, const netpool_bytes *in, size_t count,
                                 netpool_bytes *out, const netpool_map_options *options, netpool_error *error)
{
    static const netpool_map_options none;
    netpool_error own = {0};
    error = error != NULL ? error : &own;
    *error = own;
    struct map map = {.operations = &bytes_operations, .count = count, .in = in, .out = out, .out_size = sizeof *out};
    netpool_status status = map_bytes(pool, function, options != NULL ? options : &none, &map, error);
    return last_error_from(status, __func__, error);
}

void netpool_free_results(netpool_bytes *results, size_t count)
{
    for (size_t i = 0; results != NULL && i < count; i++) {
        np_block_free(results[i].data);
        results[i] = (netpool_bytes){0};
    }
}
