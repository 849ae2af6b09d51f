/* What a client says: tasks and how to prepare for them, cancellations, acknowledgements. */
#ifndef CORE_CLIENT_H
#define CORE_CLIENT_H

#include "broker/core/core.h"

struct core;
struct peer;
struct session;

void client_submit(struct core *core, struct peer *peer, struct np_message *message, int64_t now);
void client_cancel(struct core *core, struct peer *peer, struct np_message *message, int64_t now);
void client_prepare(struct core *core, struct peer *peer, struct np_message *message, int64_t now);
void client_acknowledge(struct core *core, struct peer *peer, struct np_message *message, int64_t now);

#endif
