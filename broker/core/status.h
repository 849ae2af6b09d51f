/* The answer to a StatusRequest. */
#ifndef CORE_STATUS_H
#define CORE_STATUS_H

#include <stdint.h>

struct core;
struct peer;

#define STATUS_SOFTWARE "netpool 0.1.0"

/* Rows about clients only for admins. Out of memory closes the peer. */
void status_send(struct core *core, struct peer *peer, int64_t now);

#endif
