#include "common/random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

__extension__ typedef unsigned __int128 uint128;

uint64_t np_random_next(struct np_random *random)
{
    uint64_t z = (random->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t np_random_below(struct np_random *random, uint64_t bound)
{
    /* The bias of the multiply-shift is below bound / 2^64. */
    return (uint64_t)(((uint128)np_random_next(random) * bound) >> 64);
}

void np_random_system(void *out, size_t size)
{
    unsigned char *bytes = out;
    while (size > 0) {
        ssize_t got = getrandom(bytes, size, 0);
        if (got > 0) {
            bytes += got;
            size -= (size_t)got;
        } else if (errno != EINTR) {
            abort(); /* no kernel that runs epoll lacks getrandom; identifiers must not be guessable */
        }
    }
}
