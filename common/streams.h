/* The standard streams of our programs. */
#ifndef NP_STREAMS_H
#define NP_STREAMS_H

#include <stdbool.h>

/* Gives /dev/null to those of descriptors 0 to 2 that are closed: what is opened later must not get their numbers, or
 * log lines go to a peer. First thing in main. False when that cannot be. */
bool np_streams_fill(void);

#endif
