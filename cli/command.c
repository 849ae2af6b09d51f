#include "cli/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static void write_line(char *line, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[size] = '\n';
    if (isatty(STDERR_FILENO)) { /* a progress bar may be there */
        ssize_t erased = write(STDERR_FILENO, "\r\x1b[K", 4);
        (void)erased;
    }
    for (size_t done = 0; done <= size;) {
        ssize_t written = write(STDERR_FILENO, line + done, size + 1 - done);
        if (written < 0 && errno != EINTR) {
            return; /* there is nobody left to tell */
        }
        done += written > 0 ? (size_t)written : 0;
    }
}

static size_t clamp(size_t used, int added, size_t capacity)
{
    size_t size = used + (added > 0 ? (size_t)added : 0);
    return size < capacity ? size : capacity - 1;
}

void complain(const char *format, ...)
{
    char line[LINE_MAX_BYTES + 1];
    va_list arguments;
    size_t size = clamp(0, snprintf(line, LINE_MAX_BYTES, "netpool: "), LINE_MAX_BYTES);
    va_start(arguments, format);
    size = clamp(size, vsnprintf(line + size, LINE_MAX_BYTES - size, format, arguments), LINE_MAX_BYTES);
    va_end(arguments);
    write_line(line, size);
}

int complain_usage(const char *verb, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    complain("%s: %s (see netpool %s --help)", verb, text, verb);
    return CLI_USAGE;
}

int exit_code_of(netpool_status status)
{
    switch (status) {
    case NETPOOL_OK:
        return CLI_DONE;
    case NETPOOL_INVALID:
    case NETPOOL_BAD_MODULE:
    case NETPOOL_UNSUPPORTED:
        return CLI_USAGE;
    default:
        return CLI_POOL;
    }
}

int complain_pool(const netpool_error *error)
{
    complain("%s", error->message[0] != '\0' ? error->message : netpool_status_text(error->status));
    return exit_code_of(error->status);
}

int next_option(int argc, char **argv, const char *short_options, const struct option *options)
{
    char quiet[64];
    bool operands_end_it = short_options[0] == '+';
    snprintf(quiet, sizeof quiet, "%s:%s", operands_end_it ? "+" : "", short_options + operands_end_it);
    int at = optind == 0 ? 1 : optind;
    int option = getopt_long(argc, argv, quiet, options, NULL);
    if (option != '?' && option != ':') {
        return option;
    }
    /* For a long option optind is already past it; for a short one it may still be at the group. */
    const char *shown = optind > at && optind <= argc ? argv[optind - 1] : argv[at];
    if (option == ':') {
        complain_usage(argv[0], "option '%s' needs a value", shown);
    } else if (optopt > 0 && optopt < 128 && strncmp(shown, "--", 2) != 0) {
        complain_usage(argv[0], "unknown option '-%c'", optopt);
    } else {
        complain_usage(argv[0], "%s option '%s'", optopt > 0 ? "no value is taken by" : "unknown", shown);
    }
    return '?';
}

bool parse_count(const char *verb, const char *option, const char *text, uint64_t lowest, uint64_t highest,
                 uint64_t *out)
{
    uint64_t number = 0;
    bool valid = text[0] != '\0';
    for (const char *next = text; *next != '\0' && valid; next++) {
        valid = *next >= '0' && *next <= '9' && !__builtin_mul_overflow(number, 10, &number) &&
                !__builtin_add_overflow(number, (uint64_t)(*next - '0'), &number);
    }
    if (!valid || number < lowest || number > highest) {
        complain_usage(verb, "%s '%s' is not a number from %" PRIu64 " to %" PRIu64, option, text, lowest, highest);
        return false;
    }
    *out = number;
    return true;
}

int help_print(const char *const sections[])
{
    for (size_t i = 0; sections[i] != NULL; i++) {
        fputs(sections[i], stdout);
    }
    if (fflush(stdout) != 0) {
        complain("writing the help: %s", strerror(errno));
        return CLI_TASK_FAILED;
    }
    return CLI_DONE;
}
