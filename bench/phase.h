/*
 * A phase: one act again and again, first to warm up, then measured for long enough and often enough.
 *
 * It begins with the line {"begin":NAME} and ends with {"end":NAME,"count":acts,"rate":a second} and, when each act
 * is timed, "p50" and "p99" in us (figures_tell). What was done before the first line counts for nothing.
 */
#ifndef BENCH_PHASE_H
#define BENCH_PHASE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bench/figures.h"

struct phase_length {
    uint64_t warm_up; /* acts, */
    double warm_up_seconds;
    uint64_t least; /* acts that are measured, unless they take much too long */
    double seconds;
};

struct phase {
    const char *name;
    const _Atomic uint64_t *done; /* acts so far, the caller's */
    struct phase_length length;
    uint64_t start_ns; /* of the part it is in */
    uint64_t last_ns;
    uint64_t done_before;
    struct figures_times times; /* capacity 0: not timed */
    bool is_measured;           /* warm */
};

/* `done` outlives the phase. When each act is timed, phase_goes_on is called after every one. */
void phase_init(struct phase *phase, const char *name, struct phase_length length, bool is_timed,
                const _Atomic uint64_t *done);

/* Writes the lines. False: it is over, and has released what it held. */
bool phase_goes_on(struct phase *phase);

/* How payloads are measured, by the pool and its floors alike: so many under way for the rate, one for the trips. */
enum { PHASE_UNDER_WAY = 4 };
struct phase_length phase_of_trips(size_t payload_size, double seconds);
struct phase_length phase_of_rate(size_t payload_size, double seconds);

#endif
