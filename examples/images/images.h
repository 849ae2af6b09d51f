/* What the program and the functions of the images example agree on. */
#ifndef IMAGES_H
#define IMAGES_H

#include <stdint.h>

enum images_filter { FILTER_NONE, FILTER_BLUR, FILTER_SHARPEN, FILTER_GRAY, FILTER_EDGES };

/* Stands before the bytes of a PNG or JPEG file in the input of `resize`. */
struct images_request {
    uint32_t longest;      /* pixels, of the result's longer side */
    uint32_t filter;       /* enum images_filter */
    uint8_t reserved_a[8]; /* the file's bytes begin aligned */
};

#endif
