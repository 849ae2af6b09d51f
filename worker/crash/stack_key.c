#include "worker/crash/stack_key.h"

#include <string.h>

#include "worker/crash/maps.h"

enum { RANGES_MAX = 256 }; /* executable mappings; more are not looked into */

struct range {
    uint64_t start;
    uint64_t end;
};

/* FNV-1a, by words. */
static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x100000001b3ULL;
    return hash ^ hash >> 32;
}

static bool is_code(const struct range *ranges, size_t count, uint64_t word)
{
    for (size_t i = 0; i < count; i++) {
        if (word >= ranges[i].start && word < ranges[i].end) {
            return true;
        }
    }
    return false;
}

static size_t find_ranges(const struct crash_dump *dump, const struct crash_head *head, struct range *ranges,
                          uint64_t *hash)
{
    const char *at = dump->maps;
    struct maps_line line;
    size_t count = 0;
    while (count < RANGES_MAX && maps_next(&at, dump->maps + head->maps_size, &line)) {
        if (!line.is_executable) {
            continue;
        }
        ranges[count++] = (struct range){.start = line.start, .end = line.end};
        *hash = mix(mix(*hash, line.start), line.end);
        for (size_t i = 0; i < line.path_size; i++) {
            *hash = mix(*hash, (unsigned char)line.path[i]);
        }
    }
    return count;
}

uint64_t stack_key(const struct crash_dump *dump, const struct crash_head *head)
{
    struct range ranges[RANGES_MAX];
    uint64_t hash = mix(mix(0xcbf29ce484222325ULL, head->signal), head->pc);
    size_t count = find_ranges(dump, head, ranges, &hash);
    uint64_t lowest = UINT64_MAX;
    uint64_t highest = 0;
    for (size_t i = 0; i < count; i++) {
        lowest = ranges[i].start < lowest ? ranges[i].start : lowest;
        highest = ranges[i].end > highest ? ranges[i].end : highest;
    }
    size_t from = 0;
    if (head->sp > head->stack_address && head->sp - head->stack_address < head->stack_size) {
        from = (size_t)(head->sp - head->stack_address); /* what lies below is left over */
    }
    for (size_t at = from; at + sizeof(uint64_t) <= head->stack_size; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, dump->stack + at, sizeof word);
        if (word >= lowest && word < highest && is_code(ranges, count, word)) {
            hash = mix(mix(hash, at - from), word);
        }
    }
    return hash != 0 ? hash : 1;
}
