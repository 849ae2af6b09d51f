#include "worker/crash/maps.h"

#include <string.h>

static const char *read_hex(const char *at, const char *end, uint64_t *value)
{
    *value = 0;
    for (; at < end; at++) {
        unsigned digit = *at >= '0' && *at <= '9'   ? (unsigned)(*at - '0')
                         : *at >= 'a' && *at <= 'f' ? (unsigned)(*at - 'a' + 10)
                                                    : 16U;
        if (digit == 16) {
            break;
        }
        *value = *value << 4 | digit;
    }
    return at;
}

/* "start-end rwxp offset device inode      path" */
static bool read_line(const char *at, const char *end, struct maps_line *line)
{
    at = read_hex(at, end, &line->start);
    if (at == end || *at != '-') {
        return false;
    }
    at = read_hex(at + 1, end, &line->end);
    if (end - at < 5 || *at != ' ' || line->end <= line->start) {
        return false;
    }
    line->is_executable = at[3] == 'x';
    for (int fields = 0; fields < 4; fields++) {
        while (at < end && *at == ' ') {
            at++;
        }
        while (at < end && *at != ' ') {
            at++;
        }
    }
    while (at < end && *at == ' ') {
        at++;
    }
    line->path = at;
    line->path_size = (size_t)(end - at);
    return true;
}

bool maps_next(const char **at, const char *end, struct maps_line *line)
{
    while (*at < end) {
        const char *start = *at;
        const char *stop = memchr(start, '\n', (size_t)(end - start));
        if (stop == NULL) {
            return false; /* cut */
        }
        *at = stop + 1;
        if (read_line(start, stop, line)) {
            return true;
        }
    }
    return false;
}

bool maps_find_code(const char *text, size_t size, uint64_t address, struct maps_line *line, uint64_t *base)
{
    struct maps_line first = {0}; /* of the file that the current line belongs to */
    const char *at = text;
    while (maps_next(&at, text + size, line)) {
        if (line->path_size == 0 || first.path_size != line->path_size ||
            memcmp(first.path, line->path, line->path_size) != 0) {
            first = *line;
        }
        if (line->is_executable && address >= line->start && address < line->end) {
            *base = first.start;
            return true;
        }
    }
    return false;
}
