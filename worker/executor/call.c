#include "worker/executor/call.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "proto/limits.h"

/* One call. In a block it is used for item after item, so that an item costs little more than the function itself. */
struct netpool_call {
    alignas(64) size_t item_out_size; /* block; of a single call no size that a result can have */
    uint8_t *item_out;                /* block: where this item's result goes */
    const uint8_t *returned_at;       /* block: item_out once this item has its result */
    netpool_status status;            /* what the function was told last, if that was a failure */
    const struct call_request *request;
    struct call_state *state; /* its `item` is the index in the block */
    struct np_buffer *result;
    char *message; /* NP_MESSAGE_MAX + 1 bytes */
};

#define NO_ITEM SIZE_MAX

static bool is_block(const netpool_call *call)
{
    return call->request->item_in_size > 0;
}

static uint64_t current_item(const netpool_call *call)
{
    return atomic_load_explicit(&call->state->item, memory_order_relaxed);
}

static netpool_status refuse_size(netpool_call *call, size_t size)
{
    if (!is_block(call)) {
        (void)snprintf(call->message, NP_MESSAGE_MAX + 1, "a result of %zu bytes; the pool's limit is %llu", size,
                       (unsigned long long)call->request->max_result);
        return call->status = NETPOOL_TOO_LARGE;
    }
    (void)snprintf(call->message, NP_MESSAGE_MAX + 1, "a result of %zu bytes; items of this map have %lu", size,
                   (unsigned long)call->request->item_out_size);
    return call->status = NETPOOL_FAILED;
}

static uint8_t *reserve(netpool_call *call, size_t size)
{
    const struct call_request *request = call->request;
    if (size > CALL_LARGE && request->make_room != NULL) {
        request->make_room(request->context, call->result, size);
    }
    return np_buffer_reserve(call->result, size);
}

static netpool_status run_out_of_memory(netpool_call *call, size_t size)
{
    (void)snprintf(call->message, NP_MESSAGE_MAX + 1, "no memory for a result of %zu bytes", size);
    return call->status = NETPOOL_NO_MEMORY;
}

__attribute__((noinline)) static netpool_status return_any(netpool_call *call, const void *data, size_t size)
{
    if (is_block(call)) {
        if (size != call->item_out_size) {
            return refuse_size(call, size);
        }
        call->returned_at = call->item_out;
        if (size > 0) {
            memmove(call->item_out, data, size);
        }
        return NETPOOL_OK;
    }
    if (size > call->request->max_result) {
        return refuse_size(call, size);
    }
    bool is_in_place = size > 0 && np_buffer_size(call->result) >= size && data == np_buffer_data(call->result);
    np_buffer_clear(call->result);
    if (size > 0 && !is_in_place) {
        uint8_t *place = reserve(call, size);
        if (place == NULL) {
            return run_out_of_memory(call, size);
        }
        memmove(place, data, size);
    }
    np_buffer_commit(call->result, size);
    return NETPOOL_OK;
}

/* Items of the usual sizes: a copy of constant size is one instruction. */
static inline bool copy_item(uint8_t *out, const void *data, size_t size)
{
    if (size == 8) {
        memcpy(out, data, 8);
    } else if (size == 4) {
        memcpy(out, data, 4);
    } else if (size == 16) {
        memcpy(out, data, 16);
    } else {
        return false;
    }
    return true;
}

netpool_status netpool_return(netpool_call *call, const void *data, size_t size)
{
    uint8_t *out = call->item_out;
    if (size == call->item_out_size && copy_item(out, data, size)) {
        call->returned_at = out;
        return NETPOOL_OK;
    }
    return return_any(call, data, size);
}

void *netpool_return_buffer(netpool_call *call, size_t size)
{
    if (call->request->is_shown != NULL) {
        *call->request->is_shown = true;
    }
    if (is_block(call)) {
        if (size != call->request->item_out_size) {
            (void)refuse_size(call, size);
            return NULL;
        }
        call->returned_at = call->item_out;
        return call->item_out;
    }
    if (size > call->request->max_result) {
        (void)refuse_size(call, size);
        return NULL;
    }
    np_buffer_clear(call->result);
    void *place = reserve(call, size > 0 ? size : 1);
    if (place == NULL) {
        (void)run_out_of_memory(call, size);
        return NULL;
    }
    np_buffer_commit(call->result, size);
    return place;
}

netpool_status netpool_fail(netpool_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    np_text_format_list(call->message, NP_MESSAGE_MAX + 1, format, arguments);
    va_end(arguments);
    /* After a refused netpool_return_buffer the function says netpool_fail: too large stays too large. */
    return call->status = call->status == NETPOOL_TOO_LARGE ? NETPOOL_TOO_LARGE : NETPOOL_FAILED;
}

bool netpool_is_cancelled(const netpool_call *call)
{
    return atomic_load_explicit(&call->state->cancelled, memory_order_relaxed) != 0;
}

void netpool_progress(netpool_call *call, uint64_t done, uint64_t total)
{
    if (is_block(call)) { /* the task is the block: with the items before this one, of all of them */
        const uint64_t items = call->request->input.size / call->request->item_in_size;
        done = current_item(call) * total + (done < total ? done : total);
        if (__builtin_mul_overflow(total, items, &total)) {
            return;
        }
    }
    atomic_store_explicit(&call->state->total, total, memory_order_relaxed);
    atomic_store_explicit(&call->state->done, done, memory_order_relaxed);
}

unsigned netpool_attempt(const netpool_call *call)
{
    return call->request->attempt;
}

uint64_t netpool_item(const netpool_call *call)
{
    return call->request->first_item + current_item(call);
}

/* What becomes of a function's return value: its own failures end as FAILED whatever number it chose, so that no
 * function can pass itself off as crashed or lost and be run again. */
static netpool_status settle_failure(netpool_call *call, netpool_status returned)
{
    if (call->message[0] == '\0') {
        (void)snprintf(call->message, NP_MESSAGE_MAX + 1, "%s", netpool_status_text(returned));
    }
    np_buffer_clear(call->result);
    return returned == NETPOOL_TOO_LARGE || returned == NETPOOL_CANCELLED ? returned : NETPOOL_FAILED;
}

/* What calls functions has a section of its own, so that call_is_caller knows it in a stripped program, too. */
#define CALLS_FUNCTIONS __attribute__((noinline, section("netpool_calls")))
/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */
extern const char __start_netpool_calls[] __attribute__((visibility("hidden")));
extern const char __stop_netpool_calls[] __attribute__((visibility("hidden")));
/* NOLINTEND(bugprone-reserved-identifier) */

bool call_is_caller(uint64_t pc)
{
    return pc >= (uintptr_t)__start_netpool_calls && pc <= (uintptr_t)__stop_netpool_calls;
}

CALLS_FUNCTIONS static netpool_status run_single(netpool_call *call)
{
    netpool_status status = call->request->function(call, call->request->input);
    return status == NETPOOL_OK ? NETPOOL_OK : settle_failure(call, status);
}

/* Why an item of a block is the last one. */
static netpool_status settle_item(netpool_call *call, netpool_status returned)
{
    if (returned != NETPOOL_OK) {
        return settle_failure(call, returned);
    }
    if (call->returned_at == call->item_out) {
        return settle_failure(call, NETPOOL_CANCELLED);
    }
    if (call->message[0] == '\0') {
        (void)refuse_size(call, 0);
    }
    return settle_failure(call, NETPOOL_FAILED);
}

CALLS_FUNCTIONS static netpool_status run_items(netpool_call *call, uint64_t count)
{
    const struct call_request *request = call->request;
    netpool_function *const function = request->function;
    struct call_state *const state = call->state;
    const size_t in_size = request->item_in_size;
    const size_t out_size = request->item_out_size;
    const uint8_t *in = request->input.data;
    uint8_t *out = call->item_out;
    call->returned_at = out_size > 0 ? NULL : out; /* the place of every item */
    for (uint64_t i = 0; i < count; i++) {
        atomic_store_explicit(&state->item, i, memory_order_relaxed);
        call->item_out = out;
        netpool_status status = function(call, (netpool_bytes){.data = in, .size = in_size});
        if (__builtin_expect(status != NETPOOL_OK || call->returned_at != out ||
                                 atomic_load_explicit(&state->cancelled, memory_order_relaxed) != 0,
                             0)) {
            return settle_item(call, status);
        }
        in += in_size;
        out += out_size;
    }
    return NETPOOL_OK;
}

static netpool_status run_block(netpool_call *call)
{
    const struct call_request *request = call->request;
    const size_t in_size = request->item_in_size;
    const size_t out_size = request->item_out_size;
    const uint64_t count = request->input.size / in_size;
    if (request->input.size % in_size != 0) {
        (void)snprintf(call->message, NP_MESSAGE_MAX + 1, "a block of %zu bytes is no whole number of items of %zu",
                       request->input.size, in_size);
        return NETPOOL_FAILED;
    }
    if (out_size > 0 && count > request->max_result / out_size) {
        return settle_failure(call, NETPOOL_TOO_LARGE);
    }
    call->item_out_size = out_size;
    call->item_out = reserve(call, count * out_size + 1);
    if (call->item_out == NULL) {
        return settle_failure(call, NETPOOL_NO_MEMORY);
    }
    netpool_status status = run_items(call, count);
    if (status == NETPOOL_OK) {
        np_buffer_commit(call->result, count * out_size);
    }
    return status;
}

netpool_status call_run(const struct call_request *request, struct call_state *state, struct np_buffer *result,
                        char *message, uint64_t *failed_item)
{
    netpool_call call = {
        .item_out_size = NO_ITEM, .request = request, .state = state, .result = result, .message = message};
    message[0] = '\0';
    np_buffer_clear(result);
    atomic_store_explicit(&state->item, 0, memory_order_relaxed);
    atomic_store_explicit(&state->done, 0, memory_order_relaxed);
    atomic_store_explicit(&state->total, 0, memory_order_relaxed);
    netpool_status status = request->item_in_size > 0 ? run_block(&call) : run_single(&call);
    atomic_store_explicit(&state->done, 0, memory_order_relaxed); /* or they might be taken for the next call's */
    atomic_store_explicit(&state->total, 0, memory_order_relaxed);
    if (status != NETPOOL_OK) {
        *failed_item = current_item(&call);
    }
    return status;
}
