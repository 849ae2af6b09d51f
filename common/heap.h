/*
 * Memory that a program shares with the worker processes of its `local` pool, for large payloads: what one side puts
 * into a block there, the other reads in place. It is a memfd in two halves. Each side takes blocks from its own half
 * only; whoever drops a block's last reference gives it back, whichever side that is. References are counted in the
 * shared memory, so both sides must be honest: executors, which run foreign code, have single blocks mapped at most.
 *
 * A guarded heap has one side: what it shares with others is the blocks, not the counts.
 *
 * Users of blocks see np_block_share and np_block_free (block.h), which know blocks of a heap by their addresses.
 */
#ifndef NP_HEAP_H
#define NP_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct np_heap;

enum np_heap_side { NP_HEAP_PROGRAM, NP_HEAP_WORKERS };

#define NP_HEAP_UNIT ((size_t)64 * 1024) /* bytes; blocks are whole units and begin at multiples of it */

/* Bytes of a half for each slot of the workers, up to NP_HEAP_SLOTS_MAX; only what was touched takes memory. */
#define NP_HEAP_SLOT_SIZE ((size_t)512 * 1024 * 1024)
#define NP_HEAP_SLOTS_MAX 32

/* A new heap, of the program's side. NULL where the system does not allow it (limits of memory or file size): there
 * are none then, and payloads travel through the socket. Any number of threads may use a heap. */
struct np_heap *np_heap_new(unsigned slots);

/* A guarded heap for one slot, whose processes may do what they like with its descriptor: it leads to blocks, and
 * nobody attaches by it. */
struct np_heap *np_heap_new_guarded(void);

/* The workers' side of the heap behind this descriptor, which stays the caller's. NULL on failure. */
struct np_heap *np_heap_attach(int fd);

/* This process takes no more blocks. What is none in our half goes back to the system at once, the rest is unmapped
 * when the process has no block left. NULL is harmless. */
void np_heap_leave(struct np_heap *heap);

/* After a fork, in a child that is to be a worker process: unmaps what it has inherited of all heaps. Their
 * descriptors stay open. */
void np_heap_leave_inherited(void);

/* For whoever may attach; lives as long as the heap. */
int np_heap_fd(const struct np_heap *heap);

/* A block of at least `size` bytes with one reference, not initialized, aligned to pages; NULL when there is no room.
 */
void *np_heap_take(struct np_heap *heap, size_t size);

/* With which unit the block begins, counted from the start of the heap's descriptor; 0: it is no block of this heap.
 */
uint32_t np_heap_unit(const struct np_heap *heap, const void *block);

/* A reference goes to the other side, which takes it over with np_heap_receive. */
void np_heap_send(struct np_heap *heap, const void *block);

/* The block that the other side has sent; NULL: none of so many bytes begins with this unit. */
void *np_heap_receive(struct np_heap *heap, uint64_t unit, size_t size);

/* Memory of our half beyond what was taken in the last NP_BLOCK_KEPT_NS to twice that (block.h) goes back to the
 * system, a part at a time. Does nothing before the deadline, which is NP_NEVER while there is nothing to give back.
 * Returns whether it has begun a new review. NULL is harmless. */
bool np_heap_review(struct np_heap *heap, int64_t now);
int64_t np_heap_deadline(const struct np_heap *heap);

/* All memory of a half that is no block goes back, now. Of the other side's half: when that side is gone. */
void np_heap_purge(struct np_heap *heap, enum np_heap_side side);

/* For block.c: false when the block lies in no heap of this process. */
bool np_heap_share_block(const void *block);
bool np_heap_free_block(const void *block);

#endif
