/*
 * Writing functions that netpool runs.
 *
 * A function takes bytes and returns bytes. It runs in an executor process (or thread, in a `threads:N` pool), one
 * call at a time per executor, and may keep state in static variables between calls of the same executor.
 *
 *     static netpool_status square(netpool_call *call, netpool_bytes input)
 *     {
 *         double x;
 *         if (input.size != sizeof x) {
 *             return netpool_fail(call, "square: expected %zu bytes, got %zu", sizeof x, input.size);
 *         }
 *         memcpy(&x, input.data, sizeof x);
 *         x *= x;
 *         return netpool_return(call, &x, sizeof x);
 *     }
 *     NETPOOL_MODULE(squares, NETPOOL_FUNCTION(square, "the square of a double"))
 *
 * The same text is a module when built as a shared object (`cc -shared -fPIC`), for `netpool-worker --module`, and
 * part of a program when linked into it, for its own local pools.
 */
#ifndef NETPOOL_FUNCTION_H
#define NETPOOL_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netpool_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed bytes; data may be NULL when size is 0. */
typedef struct netpool_bytes {
    const void *data; /* may be NULL when size is 0 */
    size_t size;      /* bytes */
} netpool_bytes;

/* One running call. Valid until the function returns; not to be used from another thread. */
typedef struct netpool_call netpool_call;

/* Returns the value of netpool_return, netpool_fail or (an empty result) NETPOOL_OK. Any other status fails the task
 * with that status' text as message. input.data is aligned to 16 bytes and may be read only until the function
 * returns.
 *
 * In a map over fixed-size items it is called once an item: input is one item, and the result must have exactly the
 * size of an output item. */
typedef netpool_status netpool_function(netpool_call *call, netpool_bytes input);

/* Sets the result to a copy of the bytes; a later call replaces it. The beginning of what netpool_return_buffer gave
 * is not copied: that is how a result turns out smaller than its room. Returns NETPOOL_OK, or NETPOOL_TOO_LARGE /
 * NETPOOL_NO_MEMORY, which the function should return. In a map over fixed-size items any size but the output item's
 * fails the task. */
NETPOOL_API netpool_status netpool_return(netpool_call *call, const void *data, size_t size);

/* Room for a result of `size` bytes, filled in place by the function; 16-byte aligned (in a map over fixed-size
 * items: aligned as the output array is). NULL when too large or out of memory: return netpool_fail then. */
NETPOOL_API void *netpool_return_buffer(netpool_call *call, size_t size);

/* Fails the task with a message of up to 1024 bytes; the rest is cut, and control characters become `?`. Returns
 * NETPOOL_FAILED, or NETPOOL_TOO_LARGE when a result was refused as too large before. A failed task is not tried
 * again: it would fail again. Crashes and lost workers are retried. */
NETPOOL_API netpool_status netpool_fail(netpool_call *call, const char *format, ...) NETPOOL_PRINTF(2, 3);

/* True when nobody wants the result any more; a long function looks now and then and returns. Some nanoseconds. */
NETPOOL_API bool netpool_is_cancelled(const netpool_call *call);

/* How far it is: done of total, in units of the function's choice. Some nanoseconds; the client sees the latest
 * values some tenths of a second later. */
NETPOOL_API void netpool_progress(netpool_call *call, uint64_t done, uint64_t total);

/* 1 for the first try. */
NETPOOL_API unsigned netpool_attempt(const netpool_call *call);

/* Index of this item in its map, in a reduction of the first input that this is made of; 0 outside of them. */
NETPOOL_API uint64_t netpool_item(const netpool_call *call);

/* The parts of the input of a function of netpool_reduce_bytes: consecutive partial results, or inputs, in order. 0
 * when the input is not made of parts. It looks at all of them: call it once. */
NETPOOL_API size_t netpool_part_count(netpool_bytes input);
/* Borrowed from the input, aligned to 16 bytes as that is. Of an index that is no part: NULL and 0. */
NETPOOL_API netpool_bytes netpool_part(netpool_bytes input, size_t index);

/* A function of a module. */
typedef struct netpool_function_entry {
    const char *name;           /* 1 to 128 bytes of printable ASCII without spaces */
    netpool_function *function; /* what is called */
    const char *summary;        /* one line */
} netpool_function_entry;

/* Version of netpool_module, checked when a module is loaded. */
#define NETPOOL_MODULE_ABI 1

/* What NETPOOL_MODULE makes. */
typedef struct netpool_module {
    uint32_t abi;                            /* NETPOOL_MODULE_ABI */
    uint32_t count;                          /* of functions */
    const char *name;                        /* of the module */
    const netpool_function_entry *functions; /* `count` of them */
    struct netpool_module *next;             /* private */
} netpool_module;

/* Makes a module's functions known to this process. NETPOOL_MODULE calls it when the program or shared object is
 * loaded. */
NETPOOL_API void netpool_register(netpool_module *module);

/* An entry of NETPOOL_MODULE: the function under its own name. */
#define NETPOOL_FUNCTION(function, summary) \
    {                                       \
#function, function, summary        \
    }

/* At file scope, once a source file: NETPOOL_MODULE(name, NETPOOL_FUNCTION(f, "..."), NETPOOL_FUNCTION(g, "...")) */
#define NETPOOL_MODULE(module_name, ...)                                                                           \
    static const netpool_function_entry netpool_functions_##module_name[] = {__VA_ARGS__};                         \
    static netpool_module netpool_module_##module_name = {                                                         \
        NETPOOL_MODULE_ABI, sizeof netpool_functions_##module_name / sizeof(netpool_function_entry), #module_name, \
        netpool_functions_##module_name, NULL};                                                                    \
    __attribute__((constructor)) static void netpool_load_##module_name(void)                                      \
    {                                                                                                              \
        netpool_register(&netpool_module_##module_name);                                                           \
    }

#ifdef __cplusplus
}
#endif
#endif
