#include "tests/system/pool/tally.h"

#include "tests/system/pool/pool_cases.h"

void tally_add(struct tally *tally, const netpool_result *result)
{
    pthread_mutex_lock(&tally->mutex);
    tally->called++;
    tally->succeeded += result->status == NETPOOL_OK;
    tally->cancelled += result->status == NETPOOL_CANCELLED;
    tally->sum += result->size == sizeof(uint64_t) ? number_of(result) : 0;
    tally->thread = pthread_self();
    pthread_cond_broadcast(&tally->changed);
    pthread_mutex_unlock(&tally->mutex);
}

void tally_wait(struct tally *tally, uint64_t called)
{
    pthread_mutex_lock(&tally->mutex);
    while (tally->called < called) {
        pthread_cond_wait(&tally->changed, &tally->mutex);
    }
    pthread_mutex_unlock(&tally->mutex);
}
