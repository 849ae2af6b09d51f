/*
 * Messages of protobuf-c as arguments and results, checked by the compiler; for C11 and C++11, for functions and for
 * programs. The library does not need it: whoever includes it links protobuf-c (libprotobuf-c) and the code that
 * protoc-c makes of the .proto file.
 *
 *     NETPOOL_PROTOBUF_TYPE(Demo__Order, demo__order) // of `message Order` in `package demo`
 *     NETPOOL_PROTOBUF_TYPE(Demo__Quote, demo__quote)
 *     NETPOOL_PROTOBUF_FUNCTION(price, Demo__Order, demo__order, Demo__Quote, demo__quote)
 *
 * The function:
 *
 *     static netpool_status price(netpool_call *call, netpool_bytes input)
 *     {
 *         Demo__Order *order = demo__order__argument(call, input);
 *         if (order == NULL) {
 *             return NETPOOL_FAILED; // the message is set: "17 bytes are no message demo.Order"
 *         }
 *         Demo__Quote quote = DEMO__QUOTE__INIT;
 *         quote.price = order->pieces * order->each;
 *         netpool_status status = demo__quote__return(call, &quote);
 *         demo__order__free_unpacked(order, NULL);
 *         return status;
 *     }
 *
 * The program:
 *
 *     price_submit(pool, &order, NULL, &future);
 *     netpool_wait(future, -1, &result);
 *     demo__quote__result(&result, &quote, &error); // freed with demo__quote__free_unpacked(quote, NULL)
 *
 *     price_map(pool, orders, count, quotes, NULL, &error); // arrays of pointers
 *
 * Messages may grow new fields without everybody being built anew; for the same reason a message of another type is
 * noticed only where its bytes do not fit.
 */
#ifndef NETPOOL_PROTOBUF_H
#define NETPOOL_PROTOBUF_H

#include <protobuf-c/protobuf-c.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netpool.h"

/* What the macros below share. */
__attribute__((unused, format(printf, 3, 4))) static inline netpool_status
netpool_protobuf_error(netpool_error *error, netpool_status status, const char *format, ...)
{
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        (void)vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

/* A message that lacks a required field, or has NULL where a text belongs, cannot be packed. */
__attribute__((unused)) static inline bool netpool_protobuf_is_complete(const ProtobufCMessage *message)
{
    return message != NULL && message->descriptor != NULL && protobuf_c_message_check(message) != 0;
}

__attribute__((unused)) static inline ProtobufCMessage *
netpool_protobuf_argument(netpool_call *call, const ProtobufCMessageDescriptor *type, netpool_bytes input)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, input.size, (const uint8_t *)input.data);
    if (message == NULL) {
        (void)netpool_fail(call, "%zu bytes are no message %s", input.size, type->name);
    }
    return message;
}

__attribute__((unused)) static inline netpool_status netpool_protobuf_return(netpool_call *call,
                                                                             const ProtobufCMessage *message)
{
    if (!netpool_protobuf_is_complete(message)) {
        return netpool_fail(call, "the result is no complete message%s%s", message != NULL ? " " : "",
                            message != NULL && message->descriptor != NULL ? message->descriptor->name : "");
    }
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *out = (uint8_t *)netpool_return_buffer(call, size);
    if (out == NULL) {
        return netpool_fail(call, "no room for a message %s of %zu bytes", message->descriptor->name, size);
    }
    (void)protobuf_c_message_pack(message, out);
    return NETPOOL_OK;
}

/* Packs into new memory. NETPOOL_INVALID, NETPOOL_NO_MEMORY. */
__attribute__((unused)) static inline netpool_status netpool_protobuf_pack(const ProtobufCMessage *message,
                                                                           netpool_bytes *out)
{
    if (!netpool_protobuf_is_complete(message)) {
        return NETPOOL_INVALID;
    }
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = (uint8_t *)malloc(size > 0 ? size : 1);
    if (bytes == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    (void)protobuf_c_message_pack(message, bytes);
    out->data = bytes;
    out->size = size;
    return NETPOOL_OK;
}

__attribute__((unused)) static inline netpool_status netpool_protobuf_submit(netpool *pool, const char *function,
                                                                             const ProtobufCMessage *argument,
                                                                             const netpool_task_options *options,
                                                                             netpool_future **out)
{
    netpool_bytes input = {NULL, 0};
    netpool_status status = netpool_protobuf_pack(argument, &input);
    if (out != NULL) {
        *out = NULL;
    }
    if (status == NETPOOL_OK) {
        status = netpool_submit(pool, function, input, options, out);
        free((void *)(uintptr_t)input.data);
    }
    return status;
}

__attribute__((unused)) static inline netpool_status
netpool_protobuf_put(netpool_stream *stream, const ProtobufCMessage *argument, int timeout_ms)
{
    netpool_bytes input = {NULL, 0};
    netpool_status status = netpool_protobuf_pack(argument, &input);
    if (status == NETPOOL_OK) {
        status = netpool_stream_put(stream, input, timeout_ms);
        free((void *)(uintptr_t)input.data);
    }
    return status;
}

__attribute__((unused)) static inline netpool_status netpool_protobuf_unpack(const ProtobufCMessageDescriptor *type,
                                                                             netpool_bytes bytes,
                                                                             ProtobufCMessage **out,
                                                                             netpool_error *error)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, bytes.size, (const uint8_t *)bytes.data);
    if (message == NULL) {
        return netpool_protobuf_error(error, NETPOOL_INVALID, "a result of %zu bytes is no message %s", bytes.size,
                                      type->name);
    }
    *out = message;
    return NETPOOL_OK;
}

__attribute__((unused)) static inline netpool_status netpool_protobuf_result(const ProtobufCMessageDescriptor *type,
                                                                             const netpool_result *result,
                                                                             ProtobufCMessage **out,
                                                                             netpool_error *error)
{
    if (result->status != NETPOOL_OK) {
        return netpool_protobuf_error(error, result->status, "%s",
                                      result->failure != NULL ? result->failure->message
                                                              : netpool_status_text(result->status));
    }
    const netpool_bytes bytes = {result->data, result->size};
    return netpool_protobuf_unpack(type, bytes, out, error);
}

/* Arrays of pointers to messages of any one type are read and written here by their bytes. */
__attribute__((unused)) static inline ProtobufCMessage *netpool_protobuf_at(const void *array, size_t index)
{
    ProtobufCMessage *message;
    memcpy(&message, (const char *)array + index * sizeof message, sizeof message);
    return message;
}

__attribute__((unused)) static inline void netpool_protobuf_set(void *array, size_t index, ProtobufCMessage *message)
{
    memcpy((char *)array + index * sizeof message, &message, sizeof message);
}

/* Packs all; *packed says how many are to be freed, also on failure. */
__attribute__((unused)) static inline netpool_status
netpool_protobuf_pack_all(const void *in, size_t count, netpool_bytes *inputs, size_t *packed, netpool_error *error)
{
    for (*packed = 0; *packed < count; ++*packed) {
        netpool_status status = netpool_protobuf_pack(netpool_protobuf_at(in, *packed), &inputs[*packed]);
        if (status != NETPOOL_OK) {
            const char *reason = status == NETPOOL_INVALID ? "no complete message" : netpool_status_text(status);
            return netpool_protobuf_error(error, status, "item %zu: %s", *packed, reason);
        }
    }
    return NETPOOL_OK;
}

/* Unpacks all or none. */
__attribute__((unused)) static inline netpool_status
netpool_protobuf_unpack_all(const netpool_bytes *results, size_t count, const ProtobufCMessageDescriptor *type,
                            void *out, netpool_error *error)
{
    for (size_t i = 0; i < count; i++) {
        ProtobufCMessage *message = NULL;
        netpool_status status = netpool_protobuf_unpack(type, results[i], &message, error);
        if (status != NETPOOL_OK) {
            while (i-- > 0) {
                protobuf_c_message_free_unpacked(netpool_protobuf_at(out, i), NULL);
                netpool_protobuf_set(out, i, NULL);
            }
            return status;
        }
        netpool_protobuf_set(out, i, message);
    }
    return NETPOOL_OK;
}

__attribute__((unused)) static inline netpool_status
netpool_protobuf_map(netpool *pool, const char *function, const void *in, size_t count,
                     const ProtobufCMessageDescriptor *out_type, void *out, const netpool_map_options *options,
                     netpool_error *error)
{
    if (count > 0 && (in == NULL || out == NULL)) {
        return netpool_protobuf_error(error, NETPOOL_INVALID, "%s array is NULL",
                                      in == NULL ? "the input" : "the output");
    }
    netpool_bytes *inputs = (netpool_bytes *)calloc(count + 1, sizeof *inputs);
    netpool_bytes *results = (netpool_bytes *)calloc(count + 1, sizeof *results);
    netpool_status status = NETPOOL_OK;
    size_t packed = 0;
    for (size_t i = 0; i < count; i++) {
        netpool_protobuf_set(out, i, NULL);
    }
    if (inputs == NULL || results == NULL) {
        (void)netpool_protobuf_error(error, NETPOOL_NO_MEMORY, "no memory for %zu messages", count);
        status = NETPOOL_NO_MEMORY;
    } else {
        status = netpool_protobuf_pack_all(in, count, inputs, &packed, error);
    }
    if (status == NETPOOL_OK) {
        status = netpool_map_bytes(pool, function, inputs, count, results, options, error);
        if (status == NETPOOL_OK) {
            status = netpool_protobuf_unpack_all(results, count, out_type, out, error);
        }
        netpool_free_results(results, count);
    }
    while (packed > 0) {
        free((void *)(uintptr_t)inputs[--packed].data);
    }
    free(inputs);
    free(results);
    return status;
}

/*
 * At file scope, once a type of message: its C type, and the prefix of its functions; defines
 *
 *     Type *prefix__argument(netpool_call *call, netpool_bytes input)
 *         A function's argument; to be given to prefix__free_unpacked. NULL: it is no such message; the function
 *         returns NETPOOL_FAILED.
 *     netpool_status prefix__return(netpool_call *call, const Type *message)
 *         The function's result, packed in its place. The function returns what this returns.
 *     netpool_status prefix__submit(netpool *pool, const char *function, const Type *argument,
 *                                   const netpool_task_options *options, netpool_future **out)
 *     netpool_status prefix__put(netpool_stream *stream, const Type *argument, int timeout_ms)
 *         As netpool_submit and netpool_stream_put. NETPOOL_INVALID also when a required field is missing.
 *     netpool_status prefix__result(const netpool_result *result, Type **out, netpool_error *error)
 *         Unpacks the result of netpool_wait or netpool_stream_next; *out is given to prefix__free_unpacked. The
 * task's own status and message when it failed; NETPOOL_INVALID: the result is no such message. *out is untouched
 *         then. error may be NULL.
 */
#define NETPOOL_PROTOBUF_TYPE(Type, prefix)                                                                        \
    __attribute__((unused)) static inline Type *prefix##__argument(netpool_call *call, netpool_bytes input)        \
    {                                                                                                              \
        return (Type *)(void *)netpool_protobuf_argument(call, &prefix##__descriptor, input);                      \
    }                                                                                                              \
    __attribute__((unused)) static inline netpool_status prefix##__return(netpool_call *call, const Type *message) \
    {                                                                                                              \
        return netpool_protobuf_return(call, message != NULL ? &message->base : NULL);                             \
    }                                                                                                              \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status prefix##__submit(                      \
        netpool *pool, const char *function, const Type *argument, const netpool_task_options *options,            \
        netpool_future **out)                                                                                      \
    {                                                                                                              \
        return netpool_protobuf_submit(pool, function, argument != NULL ? &argument->base : NULL, options, out);   \
    }                                                                                                              \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status prefix##__put(                         \
        netpool_stream *stream, const Type *argument, int timeout_ms)                                              \
    {                                                                                                              \
        return netpool_protobuf_put(stream, argument != NULL ? &argument->base : NULL, timeout_ms);                \
    }                                                                                                              \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status prefix##__result(                      \
        const netpool_result *result, Type **out, netpool_error *error)                                            \
    {                                                                                                              \
        ProtobufCMessage *message = NULL;                                                                          \
        netpool_status status = netpool_protobuf_result(&prefix##__descriptor, result, &message, error);           \
        if (status == NETPOOL_OK) {                                                                                \
            *out = (Type *)(void *)message;                                                                        \
        }                                                                                                          \
        return status;                                                                                             \
    }

/*
 * At file scope, for a function of that name whose argument and result are these messages; defines
 *
 *     netpool_status name_submit(netpool *pool, const In *argument, const netpool_task_options *options,
 *                                netpool_future **out)
 *         As in_prefix__submit.
 *     netpool_status name_map(netpool *pool, const In *const *in, size_t count, Out **out,
 *                             const netpool_map_options *options, netpool_error *error)
 *         As netpool_map_bytes; in and out are arrays of `count` pointers. Each out[i] is given to
 *         out_prefix__free_unpacked; all are NULL after a failure.
 */
#define NETPOOL_PROTOBUF_FUNCTION(name, In, in_prefix, Out, out_prefix)                                      \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status name##_submit(                   \
        netpool *pool, const In *argument, const netpool_task_options *options, netpool_future **out)        \
    {                                                                                                        \
        return in_prefix##__submit(pool, #name, argument, options, out);                                     \
    }                                                                                                        \
    __attribute__((unused)) NETPOOL_MUST_CHECK static inline netpool_status name##_map(                      \
        netpool *pool, const In *const *in, size_t count, Out **out, const netpool_map_options *options,     \
        netpool_error *error)                                                                                \
    {                                                                                                        \
        return netpool_protobuf_map(pool, #name, in, count, &out_prefix##__descriptor, out, options, error); \
    }

#endif
