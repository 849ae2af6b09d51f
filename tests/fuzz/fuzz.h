/*
 * A fuzz target: what libFuzzer calls, and seeds that are valid sessions. Without libFuzzer, driver.c runs the target
 * on every prefix and every single-byte corruption of the seeds, then on seeded random mutations of them.
 */
#ifndef NP_FUZZ_H
#define NP_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "netpool.pb-c.h"
#include "transport/reactor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends the index-th seed; false when there is none of that index. */
_Bool fuzz_seed(unsigned index, struct np_buffer *out);

/* One loop for all runs: making one costs more than a run. Ends the process without one. */
struct reactor *fuzz_reactor(void);

/* Appends the message's frames to `out`, as a channel would write them. */
void fuzz_append_message(struct np_buffer *out, Np__Envelope *envelope, const void *body, size_t body_size);

#endif
