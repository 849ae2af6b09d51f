/* netpool_reduce and netpool_reduce_bytes: their arguments, and what leaves and combinations are given. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/calls/reduce.h"
#include "client/calls/task_options.h"
#include "client/last_error.h"
#include "common/block.h"
#include "common/error.h"
#include "worker/executor/parts.h"

#define LEAF_BYTES ((size_t)64 << 10) /* of inputs, unless the caller says how many */
enum {
    FAN_IN = 16,
    SLOTS_UNKNOWN = 8 /* executors assumed where the pool has not told */
};

static netpool_status array_leaf(struct reduction *reduction, size_t first, size_t count, netpool_bytes *input,
                                 void **owned)
{
    (void)owned;
    const size_t size = reduction->in_size;
    *input = (netpool_bytes){.data = (const char *)reduction->in + first * size, .size = count * size};
    return NETPOOL_OK;
}

static netpool_status array_join(struct reduction *reduction, const struct reduce_group *group, netpool_bytes *input)
{
    const size_t size = reduction->out_size;
    char *bytes = np_block_new(group->wanted * size);
    if (bytes == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    for (size_t i = 0; i < group->wanted; i++) {
        memcpy(bytes + i * size, group->parts[i].data, size);
    }
    *input = (netpool_bytes){.data = bytes, .size = group->wanted * size};
    return NETPOOL_OK;
}

static netpool_status array_check(struct reduction *reduction, const struct np_outcome *outcome)
{
    if (outcome->size == reduction->out_size) {
        return NETPOOL_OK;
    }
    (void)snprintf(reduction->reason, sizeof reduction->reason,
                   "a result of %zu bytes; values of this reduction have %zu", outcome->size, reduction->out_size);
    return NETPOOL_FAILED;
}

static const struct reduce_operations array_operations = {
    .leaf = array_leaf, .join = array_join, .check = array_check};

static netpool_status pack(struct reduction *reduction, const netpool_bytes *parts, size_t count,
                           netpool_bytes *input)
{
    const uint64_t limit = reduction->pool->settings.max_payload;
    size_t size = parts_size(parts, count);
    if (size == 0 || size > limit) {
        (void)snprintf(reduction->reason, sizeof reduction->reason,
                       "%zu values together are larger than the pool's limit of %" PRIu64 " bytes a task", count,
                       limit);
        return NETPOOL_TOO_LARGE;
    }
    void *bytes = np_block_new(size);
    if (bytes == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    parts_pack(bytes, parts, count);
    *input = (netpool_bytes){.data = bytes, .size = size};
    return NETPOOL_OK;
}

/* A leaf of one input gets it as it is; several are packed. */
static netpool_status bytes_leaf(struct reduction *reduction, size_t first, size_t count, netpool_bytes *input,
                                 void **owned)
{
    const netpool_bytes *in = (const netpool_bytes *)reduction->in + first;
    if (reduction->tree.chunk == 1 || (count == 1 && !reduction->has_leaf_function)) {
        *input = *in;
        return NETPOOL_OK;
    }
    netpool_status status = pack(reduction, in, count, input);
    if (status == NETPOOL_OK) {
        *owned = (void *)(uintptr_t)input->data;
    }
    return status;
}

static netpool_status bytes_join(struct reduction *reduction, const struct reduce_group *group, netpool_bytes *input)
{
    return pack(reduction, group->parts, group->wanted, input);
}

static netpool_status bytes_check(struct reduction *reduction, const struct np_outcome *outcome)
{
    (void)reduction;
    (void)outcome;
    return NETPOOL_OK;
}

static const struct reduce_operations bytes_operations = {
    .leaf = bytes_leaf, .join = bytes_join, .check = bytes_check};

static netpool_status check_options(const netpool_reduce_options *options, netpool_error *error)
{
    if (options->fan_in == 1) {
        return np_error_set(error, NETPOOL_INVALID, "options.fan_in 1 would never end: at least 2");
    }
    if (options->task.on_done != NULL) {
        return np_error_set(error, NETPOOL_INVALID, "options.task.on_done is for netpool_submit");
    }
    return TASK_CHECK_RESERVED(options, error);
}

/* What both forms share; `size` is of one element of the array. */
static netpool_status check(struct reduction *reduction, netpool *pool, const char *combine, size_t count,
                            size_t size, const netpool_reduce_options *options, netpool_error *error)
{
    netpool_status status = pool_check_submit(pool, error);
    if (status == NETPOOL_OK) {
        status = check_options(options, error);
    }
    if (status == NETPOOL_OK && (reduction->in == NULL || count == 0)) {
        status = np_error_set(error, NETPOOL_INVALID, "%s",
                              count == 0 ? "count is 0: there is nothing to reduce" : "the input array is NULL");
    }
    if (status == NETPOOL_OK && (count > REDUCE_INPUTS_MAX || count > SIZE_MAX / size)) {
        status = np_error_set(error, NETPOOL_INVALID, "%zu inputs do not fit in memory", count);
    }
    const char *leaf = options->leaf != NULL ? options->leaf : combine;
    if (status == NETPOOL_OK) {
        reduction->pool = pool;
        reduction->has_leaf_function = options->leaf != NULL;
        status = pool_describe(pool, combine, &options->task, &reduction->combine_kind, &reduction->lane, error);
    }
    if (status == NETPOOL_OK) {
        status = pool_describe(pool, leaf, &options->task, &reduction->leaf_kind, &reduction->lane, error);
    }
    return status;
}

static void set_shape(struct reduction *reduction, size_t count, size_t chunk, unsigned fan_in)
{
    if (chunk == 1 && !reduction->has_leaf_function) {
        chunk = fan_in; /* leaves that are their inputs: the first combinations are the leaves, in the same tree */
    }
    unsigned slots = engine_slots(reduction->pool->engine);
    reduce_tree_init(&reduction->tree, count, chunk, fan_in);
    chunk_size_init(&reduction->size, chunk, slots > 0 ? slots : SLOTS_UNKNOWN, 1, SIZE_MAX);
}

static netpool_status run(struct reduction *reduction, const netpool_reduce_options *options, netpool_error *error)
{
    reduction->watch = (struct map_watch){
        .report = options->progress, .context = options->progress_context, .count = reduction->tree.count};
    struct np_profile profile;
    profile_init(&profile, &reduction->pool->profile);
    reduction->profile = options->profile != NULL ? &profile : NULL;
    pool_retain(reduction->pool);
    netpool_status status = reduce_run(reduction);
    if (options->profile != NULL) {
        profile_read(&profile, engine_slots(reduction->pool->engine), options->profile);
    }
    profile_fini(&profile);
    pool_release(reduction->pool);
    if (status != NETPOOL_OK) {
        const netpool_failure *failure = &reduction->failure;
        uint64_t inputs = reduce_tree_inputs(&reduction->tree, reduction->failed);
        (void)np_error_set(error, status, "inputs %" PRIu64 " to %" PRIu64 ": %s: %s%s%s%s", failure->item,
                           failure->item + inputs - 1, failure->function, failure->message,
                           failure->worker[0] != '\0' ? " (worker " : "", failure->worker,
                           failure->worker[0] != '\0' ? ")" : "");
        if (options->failure != NULL) {
            *options->failure = *failure;
        }
    }
    return status;
}

static netpool_status check_sizes(const struct reduction *reduction, size_t count, size_t chunk, unsigned fan_in,
                                  netpool_error *error)
{
    const uint64_t limit = reduction->pool->settings.max_payload;
    const size_t leaf = chunk < count ? chunk : count;
    const size_t leaves = (count - 1) / chunk + 1;
    const size_t together = fan_in < leaves ? fan_in : leaves;
    if (!reduction->has_leaf_function && reduction->in_size != reduction->out_size) {
        return np_error_set(error, NETPOOL_INVALID,
                            "in_size %zu is not out_size %zu, which takes a function options.leaf",
                            reduction->in_size, reduction->out_size);
    }
    if (leaf > limit / reduction->in_size || together > limit / reduction->out_size) {
        return np_error_set(error, NETPOOL_TOO_LARGE,
                            "%zu inputs of %zu bytes, %zu values of %zu: the pool's limit is %" PRIu64
                            " bytes a task",
                            leaf, reduction->in_size, together, reduction->out_size, limit);
    }
    return NETPOOL_OK;
}

static netpool_status reduce_array(netpool *pool, const char *combine, size_t count,
                                   const netpool_reduce_options *options, struct reduction *reduction,
                                   netpool_error *error)
{
    if (reduction->in_size == 0 || reduction->out_size == 0) {
        return np_error_set(error, NETPOOL_INVALID, "%s is 0", reduction->in_size == 0 ? "in_size" : "out_size");
    }
    netpool_status status = check(reduction, pool, combine, count, reduction->in_size, options, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    size_t fitting = LEAF_BYTES / reduction->in_size;
    size_t chunk = options->chunk > 0 ? options->chunk : fitting > 0 ? fitting : 1;
    unsigned fan_in = options->fan_in > 0 ? options->fan_in : FAN_IN;
    status = check_sizes(reduction, count, chunk, fan_in, error);
    if (status == NETPOOL_OK) {
        set_shape(reduction, count, chunk, fan_in);
        status = run(reduction, options, error);
    }
    return status;
}

netpool_status netpool_reduce(netpool *pool, const char *combine, const void *in, size_t count, size_t in_size,
                              void *out, size_t out_size, const netpool_reduce_options *options, netpool_error *error)
{
    static const netpool_reduce_options none;
    netpool_error own = {0};
    error = error != NULL ? error : &own;
    *error = own;
    if (out == NULL) {
        return last_error_from(np_error_set(error, NETPOOL_INVALID, "out is NULL"), __func__, error);
    }
    struct reduction reduction = {
        .operations = &array_operations, .in = in, .in_size = in_size, .out_size = out_size};
    netpool_status status = reduce_array(pool, combine, count, options != NULL ? options : &none, &reduction, error);
    if (status == NETPOOL_OK && reduction.result.data != NULL) {
        memcpy(out, reduction.result.data, out_size);
        np_block_free(reduction.result.data);
    }
    return last_error_from(status, __func__, error);
}

static netpool_status check_inputs(const netpool_bytes *in, size_t count, uint64_t limit, netpool_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (in[i].data == NULL && in[i].size > 0) {
            return np_error_set(error, NETPOOL_INVALID, "input %zu: data is NULL and size is %zu", i, in[i].size);
        }
        if (in[i].size > limit) {
            return np_error_set(error, NETPOOL_TOO_LARGE, "input %zu: %zu bytes, the pool's limit is %" PRIu64, i,
                                in[i].size, limit);
        }
    }
    return NETPOOL_OK;
}

static netpool_status reduce_bytes(netpool *pool, const char *combine, size_t count,
                                   const netpool_reduce_options *options, struct reduction *reduction,
                                   netpool_error *error)
{
    netpool_status status = check(reduction, pool, combine, count, sizeof(netpool_bytes), options, error);
    if (status == NETPOOL_OK) {
        status = check_inputs(reduction->in, count, pool->settings.max_payload, error);
    }
    if (status == NETPOOL_OK) {
        set_shape(reduction, count, options->chunk > 0 ? options->chunk : 1,
                  options->fan_in > 0 ? options->fan_in : FAN_IN);
        status = run(reduction, options, error);
    }
    return status;
}

netpool_status netpool_reduce_bytes(netpool *pool, const char *combine, const netpool_bytes *in, size_t count,
                                    netpool_bytes *out, const netpool_reduce_options *options, netpool_error *error)
{
    static const netpool_reduce_options none;
    netpool_error own = {0};
    error = error != NULL ? error : &own;
    *error = own;
    if (out == NULL) {
        return last_error_from(np_error_set(error, NETPOOL_INVALID, "out is NULL"), __func__, error);
    }
    *out = (netpool_bytes){0};
    struct reduction reduction = {.operations = &bytes_operations, .in = in};
    netpool_status status = reduce_bytes(pool, combine, count, options != NULL ? options : &none, &reduction, error);
    if (status == NETPOOL_OK) {
        *out = reduction.result;
    }
    return last_error_from(status, __func__, error);
}
