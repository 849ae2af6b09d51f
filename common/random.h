/* Random numbers: a seeded generator for simulation and jitter, and the system's for identifiers. */
#ifndef NP_RANDOM_H
#define NP_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014). */
struct np_random {
    uint64_t state; /* any seed */
};

uint64_t np_random_next(struct np_random *random);

/* Uniform in [0, bound), bound > 0. */
uint64_t np_random_below(struct np_random *random, uint64_t bound);

/* Fills from the kernel's generator; aborts if there is none (never on Linux). */
void np_random_system(void *out, size_t size);

#endif
