#include "client/last_error.h"

#include <stdarg.h>
#include <stdio.h>

#include "client/netpool.h"
#include "common/text.h"

/* A line: the longest message of a netpool_error behind the name of a call. */
enum { LINE_SIZE = sizeof((netpool_error *)0)->message + 64 };

static _Thread_local struct {
    const char *call; /* NULL: nothing has failed yet, or `line` is complete */
    netpool_status status;
    char line[LINE_SIZE];
} last;

static void note(const char *call, netpool_status status)
{
    last.call = call;
    last.status = status;
}

netpool_status last_error_status(netpool_status status, const char *call)
{
    if (status != NETPOOL_OK) {
        note(call, status);
    }
    return status;
}

netpool_status last_error_from(netpool_status status, const char *call, const netpool_error *error)
{
    if (status == NETPOOL_OK || error->message[0] == '\0') {
        return last_error_status(status, call);
    }
    return last_error_set(status, call, "%s", error->message);
}

netpool_status last_error_set(netpool_status status, const char *call, const char *format, ...)
{
    if (status == NETPOOL_OK) {
        return status;
    }
    va_list arguments;
    va_start(arguments, format);
    int length = snprintf(last.line, sizeof last.line, "%s: ", call);
    (void)vsnprintf(last.line + length, sizeof last.line - (size_t)length, format, arguments);
    va_end(arguments);
    np_text_clean(last.line);
    note(NULL, status);
    return status;
}

const char *netpool_last_error(void)
{
    if (last.call != NULL) {
        (void)snprintf(last.line, sizeof last.line, "%s: %s", last.call, netpool_status_text(last.status));
        last.call = NULL;
    }
    return last.line;
}
