/*
 * Several byte strings in one input: how netpool_reduce_bytes hands values to a function, which reads them with
 * netpool_part_count and netpool_part (netpool_function.h).
 *
 * All numbers are 64 bits, little-endian. A head of 16 bytes: PARTS_MAGIC and the count, at least 1. For each part
 * its offset from the start and its size. Then the parts in their order, each padded with zeros to a multiple of 16
 * bytes, with nothing between them and nothing behind.
 */
#ifndef NP_PARTS_H
#define NP_PARTS_H

#include "worker/netpool_function.h"

#define PARTS_MAGIC UINT64_C(0x3173747261507075) /* the bytes "upParts1" */

/* Bytes that the parts take together; 0: more than memory has. count > 0. */
size_t parts_size(const netpool_bytes *parts, size_t count);

/* Writes them to `out`, which has parts_size bytes. */
void parts_pack(void *out, const netpool_bytes *parts, size_t count);

#endif
