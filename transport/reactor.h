/*
 * One thread's event loop over epoll: sources become ready, their callbacks run. It has no fixed tick: the owner
 * gives the deadline of each wait. Used by gateways, the broker's core thread, the worker's supervisor and the
 * client's I/O thread. Not thread-safe but for reactor_wake.
 */
#ifndef NP_REACTOR_H
#define NP_REACTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "common/arena.h"
#include "common/list.h"
#include "common/netpool_status.h"

struct reactor;

/* Embedded in its owner, which must remove it before it frees it. */
struct reactor_source {
    int fd;
    uint32_t interest;                                             /* EPOLLIN, EPOLLOUT */
    void (*ready)(struct reactor_source *source, uint32_t events); /* events 0: deferred (reactor_defer) */
    struct np_list deferred;                                       /* private */
};

NETPOOL_MUST_CHECK netpool_status reactor_new(struct reactor **out, netpool_error *error);
void reactor_destroy(struct reactor **reactor);

/* Starts watching source->fd (level-triggered) for `interest`. source->fd may be -1 for a source that is only ever
 * deferred. */
NETPOOL_MUST_CHECK netpool_status reactor_add(struct reactor *reactor, struct reactor_source *source, int fd,
                                              uint32_t interest, void (*ready)(struct reactor_source *, uint32_t));

/* Changes the interest; cheap when it is the same. */
void reactor_set_interest(struct reactor *reactor, struct reactor_source *source, uint32_t interest);

/* Stops watching; its callback will not run any more, not even for an event already fetched. Twice is harmless. */
void reactor_remove(struct reactor *reactor, struct reactor_source *source);

/* Runs the source's callback with events 0 in the next turn, without waiting: for sockets whose readiness is
 * edge-triggered and for work left over. */
void reactor_defer(struct reactor *reactor, struct reactor_source *source);

/* Waits until something is ready, the deadline (np_clock_now time, NP_NEVER) has passed or reactor_wake was called,
 * then runs the callbacks of one turn. Reviews the blocks that are kept (block.h) when it is time. Returns the number
 * of callbacks run, 0 after a timeout or a wake. */
int reactor_turn(struct reactor *reactor, int64_t deadline);

/* Memory for decoding one message at a time, shared by all channels of this thread. */
struct np_arena *reactor_arena(struct reactor *reactor);

/* Makes a current or the next reactor_turn return. Callable from any thread and from a signal handler. */
void reactor_wake(struct reactor *reactor);

#endif
