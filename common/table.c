#include "common/table.h"

#include <assert.h>
#include <stdlib.h>

enum { SMALLEST = 16 };

__extension__ typedef unsigned __int128 wide;

/* Each factor is secret, and both halves of the product count. */
static uint64_t mix(uint64_t seed, uint64_t group)
{
    wide product = (wide)(group ^ seed) * (seed * UINT64_C(0x9E3779B97F4A7C15) | 1);
    product = (wide)((uint64_t)product ^ (uint64_t)(product >> 64)) * UINT64_C(0xBF58476D1CE4E5B9);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiplicative hashing (Knuth, TAOCP 6.4) of groups of keys: consecutive keys, the common case, share cache lines
 * and pages, and groups lie apart from each other. */
static size_t place_of(const struct np_table *table, uint64_t key)
{
    const unsigned group_bits = 3;
    uint64_t hash =
        table->seed != 0 ? mix(table->seed, key >> group_bits) : (key >> group_bits) * UINT64_C(0x9E3779B97F4A7C15);
    uint64_t in_group = key & ((1U << group_bits) - 1);
    return (size_t)((hash ^ (hash >> 32)) << group_bits | in_group) & (table->capacity - 1);
}

static size_t find_place(const struct np_table *table, uint64_t key)
{
    size_t place = place_of(table, key);
    while (table->entries[place].value != NULL && table->entries[place].key != key) {
        place = (place + 1) & (table->capacity - 1);
    }
    return place;
}

static netpool_status resize(struct np_table *table, size_t capacity)
{
    struct np_table grown = {
        .entries = calloc(capacity, sizeof *grown.entries), .capacity = capacity, .seed = table->seed};
    if (grown.entries == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->entries[i].value != NULL) {
            grown.entries[find_place(&grown, table->entries[i].key)] = table->entries[i];
        }
    }
    grown.count = table->count;
    free(table->entries);
    *table = grown;
    return NETPOOL_OK;
}

netpool_status np_table_put(struct np_table *table, uint64_t key, void *value)
{
    assert(value != NULL);
    if ((table->count + 1) * 4 > table->capacity * 3) {
        netpool_status status = resize(table, table->capacity == 0 ? SMALLEST : table->capacity * 2);
        if (status != NETPOOL_OK) {
            return status;
        }
    }
    struct np_table_entry *entry = &table->entries[find_place(table, key)];
    table->count += entry->value == NULL;
    *entry = (struct np_table_entry){.key = key, .value = value};
    return NETPOOL_OK;
}

void *np_table_find(const struct np_table *table, uint64_t key)
{
    return table->count == 0 ? NULL : table->entries[find_place(table, key)].value;
}

void np_table_prefetch(const struct np_table *table, uint64_t key)
{
    if (table->count > 0) {
        __builtin_prefetch(&table->entries[place_of(table, key)], 1);
    }
}

/* Closes the gap by moving up entries whose probe sequence passed through it, so that no tombstones are needed. */
static void close_gap(struct np_table *table, size_t gap)
{
    size_t mask = table->capacity - 1;
    for (size_t i = (gap + 1) & mask; table->entries[i].value != NULL; i = (i + 1) & mask) {
        size_t home = place_of(table, table->entries[i].key);
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            table->entries[gap] = table->entries[i];
            gap = i;
        }
    }
    table->entries[gap] = (struct np_table_entry){0};
}

void *np_table_take(struct np_table *table, uint64_t key)
{
    if (table->count == 0) {
        return NULL;
    }
    size_t place = find_place(table, key);
    void *value = table->entries[place].value;
    if (value == NULL) {
        return NULL;
    }
    close_gap(table, place);
    table->count--;
    if (table->count == 0 && table->capacity > 1024) {
        np_table_fini(table);
    } else if (table->capacity > 1024 && table->count * 8 < table->capacity) {
        (void)resize(table, table->capacity / 2); /* out of memory: it stays large */
    }
    return value;
}

void *np_table_next(const struct np_table *table, size_t *cursor)
{
    while (*cursor < table->capacity) {
        void *value = table->entries[(*cursor)++].value;
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

void np_table_fini(struct np_table *table)
{
    free(table->entries);
    *table = (struct np_table){.seed = table->seed};
}
