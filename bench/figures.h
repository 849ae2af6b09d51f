/*
 * What every program of the benchmark does alike: read the clock, collect times, and print one JSON line a measure.
 *
 * A line is {"case":"tls_relay","measure":"round_trip","unit":"us","value":71.0,"p50":71.0,"p99":98.2}; value is what
 * is compared (the median of times), p50 and p99 are there for times only. A program that meets an error says so on
 * stderr and ends with 1; the runner then has no figure instead of a wrong one.
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stddef.h>
#include <stdint.h>

#define FIGURES_NS_PER_S 1e9
#define FIGURES_MIB (1024.0 * 1024.0)

/* Durations of one repeated act. */
struct figures_times {
    uint64_t *ns;
    size_t count;
    size_t capacity;
};

uint64_t figures_now_ns(void); /* monotonic, the clock that Python's time.monotonic_ns reads too */

void figures_times_init(struct figures_times *times, size_t capacity);
void figures_times_fini(struct figures_times *times);
void figures_times_add(struct figures_times *times, uint64_t ns); /* beyond the capacity it is dropped */

struct figures_quantiles {
    double p50_us;
    double p99_us;
};

struct figures_quantiles figures_times_quantiles(struct figures_times *times); /* sorts them */

/* Prints a line and waits for one on stdin, or for its end: whoever runs the program may look at it in between. */
void figures_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

void figures_print(const char *case_name, const char *measure, const char *unit, double value);
void figures_print_times(const char *case_name, const char *measure, struct figures_times *times);

/* Parses `--seconds S`-like numbers; ends the program with 2 when it is not a positive number. */
double figures_positive(const char *text, const char *what);

/* One line on stderr, exit status 1. */
void figures_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
