#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

/* The one global of the project beside signal flags: where the programs log. */
static atomic_int sink_fd = -1;
static atomic_int sink_level = NP_LOG_OFF;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

enum { BURST_PER_SECOND = 10 };

void np_log_open(int fd, enum np_log_level level)
{
    atomic_store(&sink_fd, fd);
    atomic_store(&sink_level, (int)level);
}

int np_log_level_parse(const char *name, enum np_log_level *level)
{
    if (strcmp(name, "off") == 0) {
        *level = NP_LOG_OFF;
        return 1;
    }
    for (int i = NP_LOG_ERROR; i <= NP_LOG_DEBUG; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum np_log_level)i;
            return 1;
        }
    }
    return 0;
}

NETPOOL_PRINTF(3, 0)
static void write_line(enum np_log_level level, const char *component, const char *format, va_list arguments)
{
    char line[2048];
    int length = snprintf(line, sizeof line, "%s %s: ", level_names[level], component);
    if (length < 0 || (size_t)length >= sizeof line) {
        return;
    }
    size_t start = (size_t)length;
    length = vsnprintf(line + start, sizeof line - start - 1, format, arguments);
    if (length < 0) {
        return;
    }
    np_text_clean(line + start);
    size_t size = start + strlen(line + start);
    line[size++] = '\n';
    int saved = errno;
    while (write(atomic_load(&sink_fd), line, size) < 0 && errno == EINTR) {
    }
    errno = saved;
}

static int is_wanted(enum np_log_level level)
{
    return level >= NP_LOG_ERROR && (int)level <= atomic_load_explicit(&sink_level, memory_order_relaxed);
}

void np_log(enum np_log_level level, const char *component, const char *format, ...)
{
    if (is_wanted(level)) {
        va_list arguments;
        va_start(arguments, format);
        write_line(level, component, format, arguments);
        va_end(arguments);
    }
}

void np_log_limited(struct np_log_limit *limit, long long now_ns, enum np_log_level level, const char *component,
                    const char *format, ...)
{
    if (!is_wanted(level)) {
        return;
    }
    if (limit->window_start_ns == 0 || now_ns - limit->window_start_ns >= NP_NS_PER_S) {
        if (limit->suppressed > 0) {
            np_log(level, component, "%u more lines like this were left out", limit->suppressed);
        }
        *limit = (struct np_log_limit){.window_start_ns = now_ns};
    }
    if (limit->in_window >= BURST_PER_SECOND) {
        limit->suppressed++;
        return;
    }
    limit->in_window++;
    va_list arguments;
    va_start(arguments, format);
    write_line(level, component, format, arguments);
    va_end(arguments);
}
