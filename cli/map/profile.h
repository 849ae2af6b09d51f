/* Where the time of a map went, as a table on standard error. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include <stddef.h>

#include "client/netpool.h"

void profile_show(const netpool_profile *profile);

/* The sentence at its end: what to do. */
void profile_advise(char *text, size_t size, const netpool_profile *profile);

#endif
