/* A hash table from 64-bit keys to pointers: open addressing, linear probing, 16 bytes an entry. Zero-initialized is
 * empty and valid. Values are not owned. */
#ifndef NP_TABLE_H
#define NP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/netpool_status.h"

struct np_table_entry {
    uint64_t key;
    void *value; /* NULL: the place is free */
};

struct np_table {
    struct np_table_entry *entries;
    size_t capacity; /* 0 or a power of two */
    size_t count;
    uint64_t seed; /* secret, set while the table is empty, if strangers choose keys: so that they cannot choose ones
                      that collide; else 0. Kept by np_table_fini. */
};

/* Adds or replaces; value must not be NULL. NETPOOL_NO_MEMORY leaves the table as it was. */
NETPOOL_MUST_CHECK netpool_status np_table_put(struct np_table *table, uint64_t key, void *value);

/* NULL when absent. */
void *np_table_find(const struct np_table *table, uint64_t key);

/* Says that the key will be looked up soon, so that the memory is on its way: worth it for a batch of keys in a large
 * table. */
void np_table_prefetch(const struct np_table *table, uint64_t key);

/* Removes the entry and returns its value, NULL when absent. Shrinks when mostly empty. */
void *np_table_take(struct np_table *table, uint64_t key);

/* Walks in no particular order: start with *cursor = 0, NULL at the end. No put or take meanwhile. */
void *np_table_next(const struct np_table *table, size_t *cursor);

void np_table_fini(struct np_table *table);

#endif
