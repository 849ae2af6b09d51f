/* What callbacks count, and tests wait for. */
#ifndef NP_TALLY_H
#define NP_TALLY_H

#include <pthread.h>
#include <stdint.h>

#include "client/netpool.h"

struct tally {
    netpool *pool; /* for callbacks that use it */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t called;
    uint64_t succeeded;
    uint64_t cancelled;
    uint64_t sum; /* of the results that are u64 */
    pthread_t thread;
};

#define TALLY_INIT                                                               \
    {                                                                            \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, \
    }

/* Counts a call. */
void tally_add(struct tally *tally, const netpool_result *result);

/* Waits until there have been so many calls. */
void tally_wait(struct tally *tally, uint64_t called);

#endif
