/* Monotonic time in nanoseconds. Nothing in netpool reads the wall clock but the certificate checks. */
#ifndef NP_CLOCK_H
#define NP_CLOCK_H

#include <stdint.h>

#define NP_NS_PER_US INT64_C(1000)
#define NP_NS_PER_MS INT64_C(1000000)
#define NP_NS_PER_S INT64_C(1000000000)

/* "No deadline": later than any other. */
#define NP_NEVER INT64_MAX

/* Nanoseconds since an arbitrary point in the past, the same for all processes of a host. */
int64_t np_clock_now(void);

static inline int64_t np_earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
