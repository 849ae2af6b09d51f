/* What reduce_functions.c and the tests agree on. */
#ifndef NP_REDUCE_FUNCTIONS_H
#define NP_REDUCE_FUNCTIONS_H

#include <stdint.h>

struct wait_half_way {
    uint64_t at; /* item that waits */
    char fifo[120];
};

#endif
