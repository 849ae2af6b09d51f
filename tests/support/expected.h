/* What the ledger function answers for a task: known to the job that checks it, and unlikely to come about by
 * mistake. */
#ifndef EXPECTED_H
#define EXPECTED_H

#include <stdint.h>

/* Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: the finalizer of SplitMix64. */
static inline uint64_t expected_result(uint64_t id)
{
    uint64_t mixed = id + 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
    return mixed ^ (mixed >> 31);
}

#endif
