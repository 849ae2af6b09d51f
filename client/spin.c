#include "client/spin.h"

#include <sched.h>

enum { WEIGHT = 4 };                  /* a new wait counts a fourth */
#define COUNTED_MAX (4 * SPIN_MAX_NS) /* what is longer is taken for this */

void spin_init(struct spin *spin)
{
    cpu_set_t set;
    *spin = (struct spin){.is_possible = sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1};
}

void spin_note(struct spin *spin, int64_t waited_ns, bool was_given_up)
{
    int64_t counted = waited_ns < COUNTED_MAX ? waited_ns : COUNTED_MAX;
    if (was_given_up && counted < spin->typical_ns) {
        return; /* says nothing */
    }
    spin->typical_ns += (counted - spin->typical_ns) / WEIGHT;
}
