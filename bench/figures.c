#include "bench/figures.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t figures_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void figures_times_init(struct figures_times *times, size_t capacity)
{
    times->ns = calloc(capacity, sizeof *times->ns);
    if (times->ns == NULL) {
        figures_die("out of memory for %zu times", capacity);
    }
    times->count = 0;
    times->capacity = capacity;
}

void figures_times_fini(struct figures_times *times)
{
    free(times->ns);
    times->ns = NULL;
}

void figures_times_add(struct figures_times *times, uint64_t ns)
{
    if (times->count < times->capacity) {
        times->ns[times->count++] = ns;
    }
}

void figures_print(const char *case_name, const char *measure, const char *unit, double value)
{
    printf("{\"case\":\"%s\",\"measure\":\"%s\",\"unit\":\"%s\",\"value\":%.15g}\n", case_name, measure, unit, value);
    fflush(stdout);
}

static int compare_ns(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

struct figures_quantiles figures_times_quantiles(struct figures_times *times)
{
    qsort(times->ns, times->count, sizeof *times->ns, compare_ns);
    uint64_t p50_ns = times->ns[times->count / 2];
    uint64_t p99_ns = times->ns[times->count * 99 / 100];
    return (struct figures_quantiles){.p50_us = (double)p50_ns / 1e3, .p99_us = (double)p99_ns / 1e3};
}

void figures_print_times(const char *case_name, const char *measure, struct figures_times *times)
{
    if (times->count == 0) {
        figures_die("%s: %s: not one was finished", case_name, measure);
    }
    struct figures_quantiles us = figures_times_quantiles(times);
    printf("{\"case\":\"%s\",\"measure\":\"%s\",\"unit\":\"us\",\"value\":%.3f,\"p50\":%.3f,\"p99\":%.3f}\n",
           case_name, measure, us.p50_us, us.p50_us, us.p99_us);
    fflush(stdout);
}

void figures_tell(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
    for (int c = getchar(); c != '\n' && c != EOF;) {
        c = getchar();
    }
}

double figures_positive(const char *text, const char *what)
{
    char *end = NULL;
    double value = text != NULL ? strtod(text, &end) : 0;
    if (text == NULL || end == text || *end != '\0' || !(value > 0)) {
        fprintf(stderr, "%s: expected a number above 0, got '%s'\n", what, text != NULL ? text : "");
        exit(2);
    }
    return value;
}

void figures_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}
