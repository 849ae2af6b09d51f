/*
 * The functions of this example: text in, text out, so that they serve `netpool map` line by line as well as a
 * program. Built alone this file is a module (primes.so); linked into a program it is part of it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <netpool.h>

#include "factor64.h"

#define DIGITS_MAX 20 /* of 2^64 - 1 */

/* True for a decimal number below 2^64; blanks around it are allowed. */
static bool parse_number(netpool_bytes text, uint64_t *out)
{
    const char *next = text.data;
    const char *end = next + text.size;
    uint64_t number = 0;

    while (next < end && (*next == ' ' || *next == '\t')) {
        next++;
    }
    while (next < end && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) {
        end--;
    }
    if (next == end) {
        return false;
    }
    for (; next < end; next++) {
        if (*next < '0' || *next > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*next - '0'), &number)) {
            return false;
        }
    }
    *out = number;
    return true;
}

static netpool_status fail_as_no_number(netpool_call *call, netpool_bytes input)
{
    int shown = input.size < 40 ? (int)input.size : 40;
    return netpool_fail(call, "'%.*s%s' is not a decimal number below 2^64", shown,
                        input.size > 0 ? (const char *)input.data : "", input.size > 40 ? "..." : "");
}

/* "12" -> "12: 2 2 3", a line as coreutils' factor prints it. */
static netpool_status factorize(netpool_call *call, netpool_bytes input)
{
    uint64_t factors[FACTOR64_MAX];
    char line[DIGITS_MAX + 2 + FACTOR64_MAX * (DIGITS_MAX + 1)];
    uint64_t number;

    if (!parse_number(input, &number)) {
        return fail_as_no_number(call, input);
    }
    size_t count = factor64(number, factors);
    int size = snprintf(line, sizeof line, "%" PRIu64 ":", number);
    for (size_t i = 0; i < count; i++) {
        size += snprintf(line + size, sizeof line - (size_t)size, " %" PRIu64, factors[i]);
    }
    return netpool_return(call, line, (size_t)size);
}

/* "12" -> "3" */
static netpool_status largest_prime_factor(netpool_call *call, netpool_bytes input)
{
    uint64_t factors[FACTOR64_MAX];
    char text[DIGITS_MAX + 1];
    uint64_t number;

    if (!parse_number(input, &number)) {
        return fail_as_no_number(call, input);
    }
    size_t count = factor64(number, factors);
    if (count == 0) {
        return netpool_fail(call, "%" PRIu64 " has no prime factor", number);
    }
    int size = snprintf(text, sizeof text, "%" PRIu64, factors[count - 1]);
    return netpool_return(call, text, (size_t)size);
}

NETPOOL_MODULE(primes, NETPOOL_FUNCTION(factorize, "all prime factors of a decimal number, as factor(1) prints them"),
               NETPOOL_FUNCTION(largest_prime_factor, "the largest prime factor of a decimal number"))
