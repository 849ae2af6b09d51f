/* The last bytes of what an executor printed, read from its pipe without ever waiting. */
#ifndef NP_TAIL_H
#define NP_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

struct tail {
    uint64_t total; /* bytes ever read; the last NP_ERROR_OUTPUT_MAX of them are kept */
    uint64_t start; /* those before it belong to tasks that are over */
    uint64_t seen;  /* total when results were last taken: a task that ends after it may have printed what follows */
    uint8_t bytes[NP_ERROR_OUTPUT_MAX];
};

static inline void tail_clear(struct tail *tail)
{
    tail->start = tail->total;
}

static inline bool tail_is_empty(const struct tail *tail)
{
    return tail->start == tail->total;
}

/* Forgets what was there when results were last taken. */
static inline void tail_forget_seen(struct tail *tail)
{
    tail->start = tail->seen > tail->start ? tail->seen : tail->start;
}

void tail_append(struct tail *tail, const uint8_t *data, size_t size);

/* Reads what there is, up to `limit` bytes, and passes it on to `forward_fd` (-1: nowhere) as far as that goes
 * without waiting. False at the end of the pipe. */
bool tail_read(struct tail *tail, int fd, size_t limit, int forward_fd);

/* Copies the kept bytes in order; out has NP_ERROR_OUTPUT_MAX. Returns their number. */
size_t tail_copy(const struct tail *tail, uint8_t *out, bool *truncated);

#endif
