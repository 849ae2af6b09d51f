/*
 * The engine of one open pool: an event loop over its session and backend, and who runs it. Whoever runs it *leads*:
 * the engine's own I/O thread, or a caller that waits for a result anyway and saves the hop between threads. Session,
 * backend and reactor belong to the leader; API calls reach them through requests.
 *
 * The I/O thread hands the lead to a caller when that caller is the only one that waits. When callers stop waiting it
 * takes the lead back, at once when somebody else sleeps, else within a millisecond.
 */
#ifndef NP_ENGINE_H
#define NP_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/dialogue/dialogue.h"
#include "client/event.h"
#include "client/places/backend.h"
#include "client/profile.h"
#include "transport/reactor.h"

struct engine;

/* Something to be done by the leader; embedded in what it is about. */
struct engine_request {
    struct engine_request *next; /* private */
    void (*run)(struct engine_request *request, struct dialogue *dialogue, int64_t now);
};

/* Something to be said to other threads when a turn has brought all its results, so that they wake once for all of
 * them; embedded like a request. The leader's. */
struct engine_notice {
    struct engine_notice *next;                /* private */
    void (*run)(struct engine_notice *notice); /* may free it */
};

/* Takes the backend over (destroyed with the engine, and also when this fails). The session's status callback, its
 * context and the profile, in which the time that packing and unpacking takes is booked, are the caller's. */
NETPOOL_MUST_CHECK netpool_status engine_new(struct engine **out, const struct dialogue_config *config,
                                             struct backend *backend, struct np_profile *profile,
                                             netpool_error *error);

/* Starts the backend, then the I/O thread with all signals blocked, and waits until the pool is usable. */
NETPOOL_MUST_CHECK netpool_status engine_start(struct engine *engine, netpool_error *error);

/* Ends the thread and the backend. Before that it waits for all tasks, of which it cancels as many as `cancel` says;
 * all at once: within seconds, however long they take to end. Requests posted later are refused. */
void engine_stop(struct engine *engine, enum np_cancel cancel);

/* Stopped, or never started. */
void engine_destroy(struct engine **engine);

/* Queues a request; they run in the order of the calls of one thread. False: stopped, it will not run. */
NETPOOL_MUST_CHECK bool engine_post(struct engine *engine, struct engine_request *request);

/* The leader is to look again soon. Any thread. */
void engine_wake(struct engine *engine);

/* Waits until the event is past the ticket (true) or the deadline has passed (false). `may_lead`: this thread may run
 * the loop meanwhile. */
bool engine_wait(struct engine *engine, struct event *event, uint32_t ticket, int64_t deadline, bool may_lead);

/* The calling thread never leads from now on: it has other things to do between its waits, and the I/O thread would
 * take the lead back late. */
void engine_never_lead(void);

/* ---- for the backend, on the leader */

struct reactor *engine_reactor(struct engine *engine);
struct dialogue *engine_dialogue(struct engine *engine);

/* dialogue_receive, now, and dialogue_flush, with a look at how long they take. */
NETPOOL_MUST_CHECK netpool_status engine_receive(struct engine *engine, struct np_message *message,
                                                 netpool_error *error);
NETPOOL_MUST_CHECK netpool_status engine_flush(struct engine *engine, const struct dialogue_output *output,
                                               size_t room, int64_t now);

/* Runs the notice once, at the end of this half of a turn. It must not be waiting to be run already. */
void engine_notify_later(struct engine *engine, struct engine_notice *notice);

/* The pool is usable. Repeats are harmless. */
void engine_opened(struct engine *engine);

/* The pool is not usable any more: what is outstanding and whatever comes ends with this. */
void engine_fail(struct engine *engine, netpool_status status, const char *reason);

/* What is outstanding ends with this; what comes later may do better. */
void engine_give_up(struct engine *engine, netpool_status status, const char *reason, int64_t now);

/* From now on only the I/O thread may lead (it has to do something that may block), until told otherwise. */
void engine_reserve_lead(struct engine *engine, bool reserved);

/* Executors of the pool, as far as known; 0: unknown. */
unsigned engine_slots(const struct engine *engine);

/* Where large inputs are best put (np_block_new_in); NULL: anywhere. */
struct np_heap *engine_heap(const struct engine *engine);
void engine_set_slots(struct engine *engine, unsigned slots);

#endif
