/* One line on the terminal that is drawn over and over: how far a map is. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_INTERVAL_MS 200

struct progress {
    bool shown;           /* on at all */
    bool drawn;           /* a line is on the screen */
    uint64_t total_bytes; /* of the input, 0: unknown */
    int64_t start_ns;
    int64_t drawn_ns;
};

/* Decides by itself: only when standard error is a terminal and results go elsewhere. input_fd: its size is looked
 * up. */
void progress_start(struct progress *progress, int input_fd);

/* Is it shown at all, and the last time long enough ago? */
bool progress_is_due(const struct progress *progress);

/* Draws. `running`: the parts of running tasks that are done, in lines. */
void progress_update(struct progress *progress, uint64_t done, double running, uint64_t failed, uint64_t lines_read,
                     uint64_t bytes_read, bool at_end);

/* Takes the line off the screen, so that a message can be printed; the next update draws it again. */
void progress_clear(struct progress *progress);

/* The line's text without control characters, into line of `size` bytes. `elapsed_ns` > 0; total 0: unknown. */
void progress_format(char *line, size_t size, uint64_t done, double running, uint64_t total, bool total_is_exact,
                     uint64_t failed, int64_t elapsed_ns, unsigned columns);

#endif
