#include "client/event.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

static void futex_wake_all(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

bool event_prepare(struct event *event, uint32_t ticket)
{
    uint32_t expected = ticket;
    return atomic_compare_exchange_strong(&event->word, &expected, ticket | 1U) || expected == (ticket | 1U);
}

void event_sleep(struct event *event, uint32_t ticket, int64_t deadline)
{
    struct timespec until = {.tv_sec = (time_t)(deadline / NP_NS_PER_S), .tv_nsec = (long)(deadline % NP_NS_PER_S)};
    /* FUTEX_WAIT_BITSET takes an absolute time on the monotonic clock. */
    (void)syscall(SYS_futex, &event->word, FUTEX_WAIT_BITSET_PRIVATE, ticket | 1U,
                  deadline == NP_NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

void event_signal(struct event *event)
{
    _Atomic uint32_t *word = &event->word;
    uint32_t seen = atomic_load(word);
    while (!atomic_compare_exchange_weak(word, &seen, (seen & ~1U) + 2U)) {
    }
    if ((seen & 1U) != 0) {
        futex_wake_all(word);
    }
}

void event_poke(struct event *event)
{
    if ((atomic_fetch_and(&event->word, ~1U) & 1U) != 0) {
        futex_wake_all(&event->word);
    }
}
