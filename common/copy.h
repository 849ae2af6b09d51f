/* Copies of payloads, most of which are short. */
#ifndef NP_COPY_H
#define NP_COPY_H

#include <stddef.h>
#include <string.h>

/* As memcpy, which is not called for what two registers hold. */
static inline void np_copy(void *to, const void *from, size_t size)
{
    char *out = to;
    const char *in = from;
    if (size >= 16 && size <= 32) {
        memcpy(out, in, 16);
        memcpy(out + size - 16, in + size - 16, 16);
    } else if (size >= 8 && size < 16) {
        memcpy(out, in, 8);
        memcpy(out + size - 8, in + size - 8, 8);
    } else if (size > 0) {
        memcpy(out, in, size);
    }
}

#endif
