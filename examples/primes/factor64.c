#include "factor64.h"

#include <stdlib.h>

__extension__ typedef unsigned __int128 wide;

#define DIFFERENCES_A_GCD 128 /* Brent: one gcd for the product of so many differences */

static uint64_t multiply_mod(uint64_t a, uint64_t b, uint64_t modulus)
{
    return (uint64_t)((wide)a * b % modulus);
}

static uint64_t power_mod(uint64_t base, uint64_t exponent, uint64_t modulus)
{
    uint64_t result = 1;
    for (base %= modulus; exponent > 0; exponent >>= 1) {
        if (exponent & 1) {
            result = multiply_mod(result, base, modulus);
        }
        base = multiply_mod(base, base, modulus);
    }
    return result;
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* One round of Miller and Rabin's test: number - 1 = odd * 2^twos. */
static bool passes_witness(uint64_t number, uint64_t odd, int twos, uint64_t witness)
{
    uint64_t power = power_mod(witness, odd, number);
    if (power == 1 || power == number - 1) {
        return true;
    }
    for (int i = 1; i < twos; i++) {
        power = multiply_mod(power, power, number);
        if (power == number - 1) {
            return true;
        }
    }
    return false;
}

bool is_prime64(uint64_t number)
{
    static const uint64_t witnesses[] = {2, 325, 9375, 28178, 450775, 9780504, 1795265022};

    if (number < 2 || number % 2 == 0) {
        return number == 2;
    }
    int twos = __builtin_ctzll(number - 1);
    for (size_t i = 0; i < sizeof witnesses / sizeof *witnesses; i++) {
        if (witnesses[i] % number != 0 && !passes_witness(number, (number - 1) >> twos, twos, witnesses[i])) {
            return false;
        }
    }
    return true;
}

struct walk {
    uint64_t number;
    uint64_t constant; /* of the walk x -> x^2 + constant modulo number */
};

static uint64_t step(const struct walk *walk, uint64_t x)
{
    return (uint64_t)(((wide)x * x + walk->constant) % walk->number);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* The product of all differences lost the divisor: look at them one by one from where the product began. */
static uint64_t search_one_by_one(const struct walk *walk, uint64_t fixed, uint64_t from)
{
    for (;;) {
        from = step(walk, from);
        uint64_t divisor = greatest_common_divisor(distance(fixed, from), walk->number);
        if (divisor > 1) {
            return divisor;
        }
    }
}

/* A divisor > 1 of the composite number, which is the number itself when this walk found nothing. */
static uint64_t walk_for_divisor(const struct walk *walk)
{
    uint64_t moving = 2;
    for (uint64_t length = 1;; length *= 2) {
        uint64_t fixed = moving;
        for (uint64_t i = 0; i < length; i++) {
            moving = step(walk, moving);
        }
        for (uint64_t done = 0; done < length; done += DIFFERENCES_A_GCD) {
            uint64_t start = moving;
            uint64_t product = 1;
            for (uint64_t i = 0; i < DIFFERENCES_A_GCD && i < length - done; i++) {
                moving = step(walk, moving);
                product = multiply_mod(product, distance(fixed, moving), walk->number);
            }
            uint64_t divisor = greatest_common_divisor(product, walk->number);
            if (divisor == walk->number) {
                return search_one_by_one(walk, fixed, start);
            }
            if (divisor > 1) {
                return divisor;
            }
        }
    }
}

static uint64_t find_divisor(uint64_t composite)
{
    struct walk walk = {.number = composite, .constant = 1};
    for (;; walk.constant++) {
        uint64_t divisor = walk_for_divisor(&walk);
        if (divisor != composite) {
            return divisor;
        }
    }
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

size_t factor64(uint64_t number, uint64_t factors[FACTOR64_MAX])
{
    uint64_t unfinished[FACTOR64_MAX];
    size_t unfinished_count = 0;
    size_t count = 0;

    if (number < 2) {
        return 0;
    }
    for (uint64_t small = 2; small < 256; small += 1 + small % 2) {
        while (number % small == 0) {
            factors[count++] = small;
            number /= small;
        }
    }
    if (number > 1) {
        unfinished[unfinished_count++] = number;
    }
    while (unfinished_count > 0) {
        uint64_t part = unfinished[--unfinished_count];
        if (is_prime64(part)) {
            factors[count++] = part;
        } else {
            uint64_t divisor = find_divisor(part);
            unfinished[unfinished_count++] = divisor;
            unfinished[unfinished_count++] = part / divisor;
        }
    }
    qsort(factors, count, sizeof *factors, compare);
    return count;
}
