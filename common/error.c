#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

NETPOOL_PRINTF(3, 0)
static void format_message(netpool_error *error, netpool_status status, const char *format, va_list arguments)
{
    error->status = status;
    np_text_format_list(error->message, sizeof error->message, format, arguments);
    np_text_clean(error->message);
}

netpool_status np_error_set(netpool_error *error, netpool_status status, const char *format, ...)
{
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        format_message(error, status, format, arguments);
        va_end(arguments);
    }
    return status;
}

netpool_status np_error_system(netpool_error *error, const char *format, ...)
{
    int saved = errno;
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        format_message(error, NETPOOL_SYSTEM, format, arguments);
        va_end(arguments);
        size_t length = strlen(error->message);
        char text[128];
        (void)snprintf(error->message + length, sizeof error->message - length, ": %s",
                       strerror_r(saved, text, sizeof text));
    }
    errno = saved;
    return NETPOOL_SYSTEM;
}
