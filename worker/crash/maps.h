/* Reading the text of /proc/PID/maps, which may come from a process that is not to be trusted. */
#ifndef NP_MAPS_H
#define NP_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct maps_line {
    uint64_t start;
    uint64_t end;
    bool is_executable;
    const char *path; /* within the text, not terminated; may be empty */
    size_t path_size;
};

/* Takes one line off the text and moves *at behind it. False at its end. Lines that make no sense are skipped. */
bool maps_next(const char **at, const char *end, struct maps_line *line);

/* The executable mapping that holds the address; *base becomes the start of its file's first mapping. */
bool maps_find_code(const char *text, size_t size, uint64_t address, struct maps_line *line, uint64_t *base);

#endif
