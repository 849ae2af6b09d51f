/*
 * Deadlines of many objects: a binary heap of timers that their owners embed. Setting and removing take O(log n), the
 * earliest is known at once. It reads no clock.
 */
#ifndef BROKER_TIMERS_H
#define BROKER_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/netpool_status.h"

/* Zero-initialized: not set. */
struct timer {
    int64_t at;   /* deadline, np_clock_now time */
    size_t place; /* position in the heap + 1, 0 = not set */
};

/* Zero-initialized is empty and valid. */
struct timers {
    struct timer **heap;
    size_t count;
    size_t capacity;
};

/* Makes room for `count` timers in all, so that timers_set cannot fail for that many. */
NETPOOL_MUST_CHECK netpool_status timers_reserve(struct timers *timers, size_t count);

/* Sets or moves the timer. There must be room (timers_reserve). */
void timers_set(struct timers *timers, struct timer *timer, int64_t at);

/* Harmless when it is not set. */
void timers_remove(struct timers *timers, struct timer *timer);

/* The earliest timer, NULL when none is set. */
struct timer *timers_first(const struct timers *timers);

/* Its deadline, NP_NEVER when none is set. */
int64_t timers_deadline(const struct timers *timers);

/* Frees the heap; the timers are their owners'. */
void timers_fini(struct timers *timers);

#endif
