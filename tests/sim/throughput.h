/* The core's own cost for no-op tasks, printed. */
#ifndef SIM_THROUGHPUT_H
#define SIM_THROUGHPUT_H

#include <stddef.h>

int throughput(size_t count);

#endif
