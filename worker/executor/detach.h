/* Making a fork of somebody's program a process of its own: none of the program's signal handlers, descriptors or
 * terminal signals. */
#ifndef NP_DETACH_H
#define NP_DETACH_H

#include <signal.h>
#include <stddef.h>

/* Every signal has its default disposition again, and just `blocked` is blocked (NULL: nothing). */
void detach_reset_signals(const sigset_t *blocked);

/* Closes every descriptor but 0 to 2 and those of `keep` (any order, at most 16). */
void detach_close_descriptors(const int *keep, size_t count);

#endif
