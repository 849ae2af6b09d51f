/*
 * Something that other threads wait for: a counter that goes up, and a futex under it. Signalling one that nobody
 * sleeps on is a store and a load. The pattern:
 *
 *     uint32_t ticket = event_ticket(&event);
 *     if (!condition() && event_prepare(&event, ticket)) { event_sleep(&event, ticket, deadline); }
 *
 * The signaller makes the condition true, then calls event_signal. Where seeing the condition lets the owner free the
 * event, the condition must be the event itself (event_is_past): once the counter is up the signaller does not touch
 * the memory any more; the wake-up call that may follow names only the address, which does no harm to whoever has it
 * then.
 */
#ifndef NP_EVENT_H
#define NP_EVENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Zero-initialized is valid. The lowest bit of `word` says that somebody may sleep, the rest counts the signals. */
struct event {
    _Atomic uint32_t word;
};

static inline uint32_t event_ticket(struct event *event)
{
    return atomic_load(&event->word) & ~1U;
}

static inline bool event_is_past(struct event *event, uint32_t ticket)
{
    return (atomic_load(&event->word) & ~1U) != ticket;
}

/* Says that this thread is about to sleep: from now on event_signal and event_poke end event_sleep, or let it return
 * at once. False: the event is past the ticket. */
bool event_prepare(struct event *event, uint32_t ticket);

/* Sleeps until signal, poke or deadline (np_clock_now time, NP_NEVER); may return early. After event_prepare. */
void event_sleep(struct event *event, uint32_t ticket, int64_t deadline);

void event_signal(struct event *event);

/* Ends the sleeps without a signal. */
void event_poke(struct event *event);

#endif
