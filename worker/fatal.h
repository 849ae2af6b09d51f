/* The supervisor is a process of its own: without memory it ends with a clear line, and the broker gives its tasks to
 * others. */
#ifndef NP_FATAL_H
#define NP_FATAL_H

#include <stddef.h>
#include <unistd.h>

#include "common/log.h"

static inline void *fatal_if_null(void *memory)
{
    if (memory == NULL) {
        np_log(NP_LOG_ERROR, "worker", "out of memory");
        _exit(1);
    }
    return memory;
}

#endif
