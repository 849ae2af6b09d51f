/* What comes back from a slot's executor: results read from its ring, distrustfully, and the end of the process. */
#ifndef NP_SLOT_RESULTS_H
#define NP_SLOT_RESULTS_H

#include "worker/slots/slot.h"

/* Takes what is there while the outbox has room, or `regardless` of it once the executor is dead. Marks the ring
 * broken when it holds nonsense. */
void slot_results_take(struct slot *slot, int64_t now, bool regardless);

/* Would slot_results_take get anywhere? */
bool slot_results_can_move(struct slot *slot);

/* The head's attempt ended with its executor. */
void slot_results_settle_crash(struct slot *slot, int wait_status, int64_t now);

/* Forgets a result of which only a part has come. */
void slot_results_drop(struct slot *slot);

#endif
