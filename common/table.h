/*
 * A hash table from 64-bit keys to pointers: open addressing, linear probing. Keys that follow each other share a
 * cache line, seven of them, and the line that was used last is found without hashing: numbers that are counted up,
 * looked up one after the other, cost a few instructions each. A key alone takes a line of its own. Zero-initialized
 * is empty and valid. Values are not owned. One thread at a time, also to look something up.
 */
#ifndef NP_TABLE_H
#define NP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/netpool_status.h"

#define NP_TABLE_RUN 7

/* The keys from end - 7 to end - 1; the first one is a multiple of 7. */
struct np_table_run {
    uint64_t end; /* 0: the place is free */
    void *values[NP_TABLE_RUN];
};

/* In front of the lines, in the same block. */
struct np_table_head {
    struct np_table_run *last; /* used last, not free, and not the one that has the largest keys; or NULL */
    struct np_table_run *runs;
};

struct np_table {
    struct np_table_head *head; /* NULL while capacity is 0 */
    size_t capacity;            /* in runs: 0 or a power of two */
    size_t run_count;           /* in use */
    size_t count;               /* keys */
    uint64_t seed;              /* secret, set while the table is empty, if strangers choose keys: so that they cannot
                                   choose ones that collide; else 0. Kept by np_table_fini. */
};

/* Adds or replaces; value must not be NULL. NETPOOL_NO_MEMORY leaves the table as it was. */
NETPOOL_MUST_CHECK netpool_status np_table_put(struct np_table *table, uint64_t key, void *value);

void *np_table_search(const struct np_table *table, uint64_t key);

/* Where the run used last has the key, or NULL when it is of another one. */
static inline void **np_table_near(const struct np_table *table, uint64_t key)
{
    struct np_table_run *run = table->head != NULL ? table->head->last : NULL;
    return run != NULL && key + NP_TABLE_RUN - run->end < NP_TABLE_RUN ? &run->values[key + NP_TABLE_RUN - run->end]
                                                                       : NULL;
}

/* NULL when absent. */
static inline void *np_table_find(const struct np_table *table, uint64_t key)
{
    void **near = np_table_near(table, key);
    return near != NULL ? *near : np_table_search(table, key);
}

/* Says that the key will be looked up soon, so that the memory is on its way: worth it for a batch of keys in a large
 * table. */
void np_table_prefetch(const struct np_table *table, uint64_t key);

/* Removes the entry and returns its value, NULL when absent. Shrinks when mostly empty. */
void *np_table_take(struct np_table *table, uint64_t key);

/* Walks in no particular order: start with *cursor = 0, NULL at the end. No put or take meanwhile. */
void *np_table_next(const struct np_table *table, size_t *cursor);

void np_table_fini(struct np_table *table);

#endif
