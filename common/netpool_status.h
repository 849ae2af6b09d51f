/*
 * The status codes of netpool and their texts, from one list.
 *
 * Every fallible call returns a netpool_status; NETPOOL_OK is 0. The numbers are part of the wire protocol: append,
 * never renumber.
 */
#ifndef NETPOOL_STATUS_H
#define NETPOOL_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define NETPOOL_API __attribute__((visibility("default")))
#define NETPOOL_MUST_CHECK __attribute__((warn_unused_result))
#define NETPOOL_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
#else
#define NETPOOL_API
#define NETPOOL_MUST_CHECK
#define NETPOOL_PRINTF(format_index, first_argument)
#endif

/* X(name, number, text) */
#define NETPOOL_STATUS_LIST(X)                                         \
    X(OK, 0, "success")                                                \
    X(INVALID, 1, "invalid argument")                                  \
    X(NO_MEMORY, 2, "out of memory")                                   \
    X(SYSTEM, 3, "system call failed")                                 \
    X(TIMEOUT, 4, "not finished within the time given")                \
    X(CLOSED, 5, "closed")                                             \
    X(UNREACHABLE, 6, "pool unreachable")                              \
    X(REFUSED, 7, "refused by the peer")                               \
    X(PROTOCOL, 8, "protocol error")                                   \
    X(CREDENTIALS, 9, "unusable certificate or key")                   \
    X(TOO_LARGE, 10, "larger than the pool's limit")                   \
    X(NO_SUCH_FUNCTION, 11, "no worker has this function")             \
    X(BAD_MODULE, 12, "module cannot be loaded")                       \
    X(UNSUPPORTED, 13, "not supported by this kind of pool")           \
    X(FORKED, 14, "pool was opened by the parent of this process")     \
    X(FAILED, 15, "function reported a failure")                       \
    X(CRASHED, 16, "function crashed its executor")                    \
    X(DEADLINE, 17, "task ran past its deadline")                      \
    X(OUT_OF_MEMORY, 18, "executor was killed for memory")             \
    X(CANCELLED, 19, "cancelled")                                      \
    X(LOST, 20, "outcome unknown: the worker was lost")                \
    X(POISON, 21, "every attempt ended with the loss of its executor") \
    X(NOT_INITIALIZED, 22, "the pool's initializer failed")

/* How a call or a task ended. */
typedef enum netpool_status {
#define NETPOOL_STATUS_ENUM(name, number, text) NETPOOL_##name = (number),
    NETPOOL_STATUS_LIST(NETPOOL_STATUS_ENUM)
#undef NETPOOL_STATUS_ENUM
} netpool_status;

/* The name of a status without its prefix ("UNREACHABLE"), "UNKNOWN" for a number not in the list. */
NETPOOL_API const char *netpool_status_name(netpool_status status);

/* One short lower-case phrase, never NULL. */
NETPOOL_API const char *netpool_status_text(netpool_status status);

/* Where a person will read the error: the status and one line that says what, where and what to do. */
typedef struct netpool_error {
    netpool_status status; /* the same that the call returned */
    char message[512];     /* NUL-terminated, one line, no trailing newline; "" after success */
} netpool_error;

#ifdef __cplusplus
}
#endif
#endif
