/*
 * Prime factors of 64-bit numbers.
 *
 * Sources: the witnesses of the primality test are Jim Sinclair's seven bases, which are proved to be right for every
 * number below 2^64 (miller-rabin.appspot.com); the factors are found by Pollard's rho method with Brent's cycle
 * finding and products of 128 differences (R. P. Brent, "An improved Monte Carlo factorization algorithm", BIT 20,
 * 1980).
 */
#ifndef FACTOR64_H
#define FACTOR64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FACTOR64_MAX 63 /* prime factors of a 64-bit number, at most: 2^63 */

bool is_prime64(uint64_t number);

/* Fills factors in ascending order, each as often as it divides, and returns how many: none for 0 and 1. */
size_t factor64(uint64_t number, uint64_t factors[FACTOR64_MAX]);

#endif
