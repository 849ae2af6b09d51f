/*
 * Whether a thread that waits should look again and again for a while before it sleeps. To wake a processor that
 * sleeps takes longer than most of what a short wait is for, and each process on a task's way would have to be woken;
 * while one processor stays busy with looking, the others of the way tend to share the rest without ever sleeping. It
 * pays for waits that are short, with a second processor there for what is waited for.
 */
#ifndef NP_SPIN_H
#define NP_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/* Looking ends after this time, and begins only where waits have lately been shorter than this. */
#define SPIN_MAX_NS INT64_C(200000)

struct spin {
    bool is_possible;
    int64_t typical_ns; /* of the waits noted lately */
};

void spin_init(struct spin *spin);

static inline bool spin_pays(const struct spin *spin)
{
    return spin->is_possible && spin->typical_ns < SPIN_MAX_NS;
}

/* So long a wait was, looking and sleeping; one that was given up would have been longer. One long wait ends the
 * looking, some ten short ones bring it back. */
void spin_note(struct spin *spin, int64_t waited_ns, bool was_given_up);

#endif
