/*
 * The callbacks of one pool: a queue that the engine's leader fills and a thread that makes the calls, one after the
 * other, in the order of the queue. The thread starts with the first task that has a callback; it never leads the
 * engine, so what is called may take its time. It holds a reference to the pool until the last call has returned.
 */
#ifndef NP_CALLBACK_H
#define NP_CALLBACK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client/event.h"
#include "common/netpool_status.h"

struct netpool;

/* A call to be made; embedded in what it is about. */
struct callback {
    struct callback *next; /* private */
    /* May free what the callback is embedded in. */
    void (*run)(struct callback *callback);
};

struct callbacks {
    struct netpool *pool;
    _Atomic(struct callback *) posted; /* last one first */
    struct event changed;
    atomic_bool is_started;

    pthread_mutex_t mutex; /* of starting and ending */
    pthread_t thread;
    atomic_bool is_ending;

    struct callback *next; /* the thread's: taken from `posted`, in order */
};

void callbacks_init(struct callbacks *callbacks, struct netpool *pool);
void callbacks_fini(struct callbacks *callbacks);

/* There is a thread from now on. NETPOOL_CLOSED: callbacks_end was called; NETPOOL_SYSTEM. */
NETPOOL_MUST_CHECK netpool_status callbacks_start(struct callbacks *callbacks, netpool_error *error);

/* After callbacks_start, on the leader. */
void callbacks_post(struct callbacks *callbacks, struct callback *callback);

/* Nothing will be posted any more. Returns when all calls have been made; when called from inside of one, it makes
 * the others itself, and the thread ends once that one has returned. */
void callbacks_end(struct callbacks *callbacks);

#endif
