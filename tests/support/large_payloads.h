/* Payloads of more than 64 KiB in tests: what is in them, and where they lie. */
#ifndef NP_TEST_LARGE_PAYLOADS_H
#define NP_TEST_LARGE_PAYLOADS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/netpool.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

void fill(uint8_t *bytes, size_t size, unsigned seed);

netpool_future *submit(netpool *pool, const char *function, const uint8_t *bytes, size_t size);

/* Waits for the result: it is these bytes. */
void assert_result(netpool_future *future, const uint8_t *bytes, size_t size);

/* Bytes of memory that the heaps of a process take; -1: there is none, or no such process. */
long long heap_bytes(pid_t pid);

#endif
