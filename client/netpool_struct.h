/*
 * Structs as arguments and results, checked by the compiler; for C11 and C++11, for functions and for programs.
 *
 *     struct order { int64_t pieces; double each; };
 *     struct quote { double price; };
 *     NETPOOL_STRUCT_TYPE(struct order, order)
 *     NETPOOL_STRUCT_TYPE(struct quote, quote)
 *     NETPOOL_STRUCT_FUNCTION(price, struct order, struct quote)
 *
 * The function:
 *
 *     static netpool_status price(netpool_call *call, netpool_bytes input)
 *     {
 *         const struct order *order = order_argument(call, input);
 *         if (order == NULL) {
 *             return NETPOOL_FAILED; // the message is set: "expected struct order (16 bytes), got 7 bytes"
 *         }
 *         struct quote quote = {(double)order->pieces * order->each};
 *         return quote_return(call, &quote);
 *     }
 *
 * The program:
 *
 *     price_submit(pool, &order, NULL, &future);
 *     netpool_wait(future, -1, &result);
 *     quote_result(&result, &quote, &error);
 *
 *     price_map(pool, orders, count, quotes, NULL, &error); // arrays of both
 *
 * A struct travels as its bytes lie in memory: programs and workers must agree on its layout (compiler, processor,
 * version), and a pointer in it means nothing elsewhere. A struct of another size is refused by name. Where that does
 * not do, netpool_protobuf.h has messages.
 */
#ifndef NETPOOL_STRUCT_H
#define NETPOOL_STRUCT_H

#include <stdio.h>
#include <string.h>

#include "netpool.h"

#ifdef __cplusplus
#define NETPOOL_STRUCT_ASSERT_ALIGNED(type) \
    static_assert(alignof(type) <= 16, #type " is aligned to more than the 16 bytes of an input")
#else
#define NETPOOL_STRUCT_ASSERT_ALIGNED(type) \
    _Static_assert(_Alignof(type) <= 16, #type " is aligned to more than the 16 bytes of an input")
#endif

/* What the macros below share; `type` is the text of it. */
__attribute__((unused)) static inline const void *netpool_struct_argument(netpool_call *call, netpool_bytes input,
                                                                          size_t size, const char *type)
{
    if (input.size == size) {
        return input.data;
    }
    (void)netpool_fail(call, "expected %s (%zu bytes), got %zu bytes", type, size, input.size);
    return NULL;
}

__attribute__((unused)) static inline netpool_status
netpool_struct_result(const netpool_result *result, void *out, size_t size, const char *type, netpool_error *error)
{
    netpool_error own;
    error = error != NULL ? error : &own;
    error->message[0] = '\0';
    error->status = result->status;
    if (result->status != NETPOOL_OK) {
        (void)snprintf(error->message, sizeof error->message, "%.*s", (int)sizeof error->message - 1,
                       result->failure != NULL ? result->failure->message : netpool_status_text(result->status));
    } else if (result->size != size) {
        error->status = NETPOOL_INVALID;
        (void)snprintf(error->message, sizeof error->message, "expected %s (%zu bytes), got a result of %zu bytes",
                       type, size, result->size);
    } else {
        memcpy(out, result->data, size);
    }
    return error->status;
}

/*
 * At file scope, once a type; defines
 *
 *     const type *prefix_argument(netpool_call *call, netpool_bytes input)
 *         A function's argument, borrowed. NULL: it is of another size; the function returns NETPOOL_FAILED.
 *     netpool_status prefix_return(netpool_call *call, const type *value)
 *         As netpool_return.
 *     netpool_status prefix_submit(netpool *pool, const char *function, const type *argument,
 *                                  const netpool_task_options *options, netpool_future **out)
 *     netpool_status prefix_put(netpool_stream *stream, const type *argument, int timeout_ms)
 *         As netpool_submit and netpool_stream_put; a NULL argument is NETPOOL_INVALID.
 *     netpool_status prefix_result(const netpool_result *result, type *out, netpool_error *error)
 *         Copies the result of netpool_wait or netpool_stream_next. The task's own status and message when it failed;
 *         NETPOOL_INVALID: the result has another size. *out is untouched then. error may be NULL.
 */
#define NETPOOL_STRUCT_TYPE(type, prefix)                                                                        \
    NETPOOL_STRUCT_ASSERT_ALIGNED(type);                                                                         \
    __attribute__((unused)) static inline const type *prefix##_argument(netpool_call *call, netpool_bytes input) \
    {                                                                                                            \
        return (const type *)netpool_struct_argument(call, input, sizeof(type), #type);                          \
    }                                                                                                            \
    __attribute__((unused)) static inline netpool_status prefix##_return(netpool_call *call, const type *value)  \
    {                                                                                                            \
        return netpool_return(call, value, sizeof(type));                                                        \
    }                                                                                                            \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status prefix##_submit(                     \
        netpool *pool, const char *function, const type *argument, const netpool_task_options *options,          \
        netpool_future **out)                                                                                    \
    {                                                                                                            \
        const netpool_bytes input = {argument, sizeof(type)};                                                    \
        return netpool_submit(pool, function, input, options, out);                                              \
    }                                                                                                            \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status prefix##_put(                        \
        netpool_stream *stream, const type *argument, int timeout_ms)                                            \
    {                                                                                                            \
        const netpool_bytes input = {argument, sizeof(type)};                                                    \
        return netpool_stream_put(stream, input, timeout_ms);                                                    \
    }                                                                                                            \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status prefix##_result(                     \
        const netpool_result *result, type *out, netpool_error *error)                                           \
    {                                                                                                            \
        return netpool_struct_result(result, out, sizeof(type), #type, error);                                   \
    }

/*
 * At file scope, for a function of that name whose argument and result are these types; defines
 *
 *     netpool_status name_submit(netpool *pool, const in_type *argument, const netpool_task_options *options,
 *                                netpool_future **out)
 *     netpool_status name_map(netpool *pool, const in_type *in, size_t count, out_type *out,
 *                             const netpool_map_options *options, netpool_error *error)
 *         As netpool_submit and netpool_map.
 */
#define NETPOOL_STRUCT_FUNCTION(name, in_type, out_type)                                                    \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status name##_submit(                  \
        netpool *pool, const in_type *argument, const netpool_task_options *options, netpool_future **out)  \
    {                                                                                                       \
        const netpool_bytes input = {argument, sizeof(in_type)};                                            \
        return netpool_submit(pool, #name, input, options, out);                                            \
    }                                                                                                       \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status name##_map(                     \
        netpool *pool, const in_type *in, size_t count, out_type *out, const netpool_map_options *options,  \
        netpool_error *error)                                                                               \
    {                                                                                                       \
        return netpool_map(pool, #name, in, count, sizeof(in_type), out, sizeof(out_type), options, error); \
    }

#endif
