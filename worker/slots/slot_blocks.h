/*
 * Large payloads of one executor in a heap (common/heap.h): that which a `local` program shares with its workers, or
 * the executor's own, into which an input is copied when it is fed. An input is told by its unit there. For results
 * the executor is granted blocks beforehand, as large as its last large result was; a result that is larger, or comes
 * too early, goes through the ring.
 */
#ifndef NP_SLOT_BLOCKS_H
#define NP_SLOT_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slot;
struct task;

/* Enough has been moved in this turn: this input of more than SHARE_WHOLE_MAX has to wait for the next. */
bool slot_blocks_must_wait(struct slot *slot, const struct task *task, int64_t now);

/* The unit of the heap where such an input begins, which is moved there if need be; 0: it goes through the ring.
 */
uint32_t slot_blocks_place(struct slot *slot, struct task *task);

/* A result of so many bytes has come: the next may be like it. */
void slot_blocks_grant(struct slot *slot, size_t size);

/* The granted block that begins with this unit, now the caller's; NULL: none of that size was granted there. */
uint8_t *slot_blocks_take(struct slot *slot, uint32_t unit, uint64_t size);

/* Called now and then: takes back what was granted before the last time, if no large result has come since. */
void slot_blocks_review(struct slot *slot);

/* The executor is gone. */
void slot_blocks_drop(struct slot *slot);

#endif
