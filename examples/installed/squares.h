/* What program and function agree on: the bytes of one item in and one item out. */
#ifndef SQUARES_H
#define SQUARES_H

#include <stdint.h>

struct squares_in {
    int32_t number;
};

struct squares_out {
    int64_t square;
};

#endif
