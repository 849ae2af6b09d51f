/* HELLO: who may come in, and as what. */
#ifndef CORE_HELLO_H
#define CORE_HELLO_H

#include <stdint.h>

#include "broker/core/core.h"

struct core;
struct peer;

/* Makes the peer a worker, a client or an admin and has it welcomed, or closes it with the reason. */
void hello_receive(struct core *core, struct peer *peer, struct np_message *message, int64_t now);

#endif
