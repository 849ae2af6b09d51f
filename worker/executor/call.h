/* Running one call of a function: what stands behind netpool_call, shared by executor processes and thread executors.
 */
#ifndef NP_CALL_H
#define NP_CALL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/buffer.h"
#include "worker/netpool_function.h"

/* What an executor shows its supervisor while a call runs; lies in shared memory. */
struct call_state {
    _Atomic uint64_t item; /* index of the item being computed */
    _Atomic uint64_t done; /* netpool_progress */
    _Atomic uint64_t total;
    _Atomic uint32_t cancelled; /* set by the supervisor */
};

/* What is to be called. */
struct call_request {
    netpool_function *function;
    netpool_bytes input;
    uint32_t item_in_size; /* > 0: input is a block of items */
    uint32_t item_out_size;
    uint64_t first_item; /* index in the map of the block's first item */
    unsigned attempt;
    uint64_t max_result; /* bytes */

    /* NULL, or: called before the result gets more than CALL_LARGE bytes; may give the buffer other memory, which the
     * buffer then does not own. */
    void (*make_room)(void *context, struct np_buffer *result, size_t size);
    void *context;
    bool *is_shown; /* NULL, or: becomes true when the function is given an address in the result's memory */
};

#define CALL_LARGE ((size_t)64 * 1024)

/* Runs it: a single call, or one call an item. The result is left in `result` (cleared first). On failure the message
 * (NP_MESSAGE_MAX + 1 bytes) and *failed_item (index in the block) are set. Returns the task's status. */
netpool_status call_run(const struct call_request *request, struct call_state *state, struct np_buffer *result,
                        char *message, uint64_t *failed_item);

/* Is it the address of an instruction that calls a function, or of the one behind it? Everything further out on the
 * stack is netpool's own. */
bool call_is_caller(uint64_t pc);

#endif
