#include "common/clock.h"

#include <time.h>

int64_t np_clock_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NP_NS_PER_S + now.tv_nsec;
}
