/*
 * A crew as the embedded core sees it: a worker that speaks the worker's half of the protocol, by structs and without
 * a link. All functions run on the engine's leader.
 */
#ifndef NP_CREW_WORKER_H
#define NP_CREW_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/engine.h"
#include "client/options.h"
#include "client/places/embedded.h"

struct crew_worker;

/* Starts the threads and says HELLO. Everything passed is borrowed as long as it lives. */
NETPOOL_MUST_CHECK netpool_status crew_worker_new(struct crew_worker **out, const struct settings *settings,
                                                  struct engine *engine, struct embedded *embedded,
                                                  netpool_error *error);
void crew_worker_destroy(struct crew_worker **worker);

/* Ends the threads; those that do not end within the grace are left behind. */
void crew_worker_end(struct crew_worker *worker, int64_t grace_ns);

/* What the core sends to it. */
void crew_worker_receive(struct crew_worker *worker, const Np__Envelope *envelope, const void *body,
                         size_t body_size);

/* Says all that is to be said to the core; false: there was nothing. */
bool crew_worker_speak(struct crew_worker *worker);

void crew_worker_tick(struct crew_worker *worker, int64_t now);
int64_t crew_worker_deadline(const struct crew_worker *worker);

#endif
