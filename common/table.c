#include "common/table.h"

#include <assert.h>
#include <stdlib.h>

enum { SMALLEST = 4, LARGE = 256, LINE = 64 };

_Static_assert(sizeof(struct np_table_run) == LINE && sizeof(struct np_table_head) <= LINE, "a run is a cache line");

__extension__ typedef unsigned __int128 wide;

/* Each factor is secret, and both halves of the product count. */
static uint64_t mix(uint64_t seed, uint64_t number)
{
    wide product = (wide)(number ^ seed) * (seed * UINT64_C(0x9E3779B97F4A7C15) | 1);
    product = (wide)((uint64_t)product ^ (uint64_t)(product >> 64)) * UINT64_C(0xBF58476D1CE4E5B9);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The end of the run that the key is of. Of the two largest keys it would lie beyond all numbers, and is 5, which is
 * no other run's. */
static uint64_t end_of(uint64_t key)
{
    return key - key % NP_TABLE_RUN + NP_TABLE_RUN;
}

/* Multiplicative hashing (Knuth, TAOCP 6.4). */
static size_t place_of(const struct np_table *table, uint64_t end)
{
    uint64_t hash = table->seed != 0 ? mix(table->seed, end) : end * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(hash ^ (hash >> 32)) & (table->capacity - 1);
}

/* The run that ends there, or the free place where it would be. */
static struct np_table_run *find_run(const struct np_table *table, uint64_t end)
{
    struct np_table_run *runs = table->head->runs;
    size_t place = place_of(table, end);
    while (runs[place].end != 0 && runs[place].end != end) {
        place = (place + 1) & (table->capacity - 1);
    }
    return &runs[place];
}

static void **place_in(struct np_table_run *run, uint64_t key)
{
    return &run->values[key + NP_TABLE_RUN - run->end];
}

/* By its end alone, np_table_near would take the smallest keys for those of the run of the largest. */
static void remember(const struct np_table *table, struct np_table_run *run)
{
    table->head->last = run->end >= NP_TABLE_RUN ? run : NULL;
}

static netpool_status resize(struct np_table *table, size_t capacity)
{
    struct np_table_head *head = calloc(capacity + 2, LINE);
    if (head == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    head->runs = (struct np_table_run *)(((uintptr_t)head + 2 * LINE - 1) & ~(uintptr_t)(LINE - 1));
    struct np_table old = *table;
    table->head = head;
    table->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.head->runs[i].end != 0) {
            *find_run(table, old.head->runs[i].end) = old.head->runs[i];
        }
    }
    free(old.head);
    return NETPOOL_OK;
}

netpool_status np_table_put(struct np_table *table, uint64_t key, void *value)
{
    assert(value != NULL);
    void **near = np_table_near(table, key);
    if (near == NULL) {
        if ((table->run_count + 1) * 4 > table->capacity * 3) {
            netpool_status status = resize(table, table->capacity == 0 ? SMALLEST : table->capacity * 2);
            if (status != NETPOOL_OK) {
                return status;
            }
        }
        struct np_table_run *run = find_run(table, end_of(key));
        table->run_count += run->end == 0;
        run->end = end_of(key);
        remember(table, run);
        near = place_in(run, key);
    }
    table->count += *near == NULL;
    *near = value;
    return NETPOOL_OK;
}

void *np_table_search(const struct np_table *table, uint64_t key)
{
    if (table->count == 0) {
        return NULL;
    }
    struct np_table_run *run = find_run(table, end_of(key));
    if (run->end == 0) {
        return NULL;
    }
    remember(table, run);
    return *place_in(run, key);
}

void np_table_prefetch(const struct np_table *table, uint64_t key)
{
    if (table->count > 0) {
        __builtin_prefetch(&table->head->runs[place_of(table, end_of(key))], 1);
    }
}

/* Closes the gap by moving up runs whose probe sequence passed through it, so that no tombstones are needed. */
static void remove_run(struct np_table *table, struct np_table_run *run)
{
    struct np_table_run *runs = table->head->runs;
    size_t mask = table->capacity - 1;
    size_t gap = (size_t)(run - runs);
    for (size_t i = (gap + 1) & mask; runs[i].end != 0; i = (i + 1) & mask) {
        size_t home = place_of(table, runs[i].end);
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            runs[gap] = runs[i];
            gap = i;
        }
    }
    runs[gap] = (struct np_table_run){0};
    table->head->last = NULL;
    table->run_count--;
    if (table->run_count == 0 && table->capacity > LARGE) {
        np_table_fini(table);
    } else if (table->capacity > LARGE && table->run_count * 8 < table->capacity) {
        (void)resize(table, table->capacity / 2); /* out of memory: it stays large */
    }
}

static bool is_empty(const struct np_table_run *run)
{
    void *const *values = run->values;
    return values[0] == NULL && values[1] == NULL && values[2] == NULL && values[3] == NULL && values[4] == NULL &&
           values[5] == NULL && values[6] == NULL;
}

void *np_table_take(struct np_table *table, uint64_t key)
{
    if (table->count == 0) {
        return NULL;
    }
    struct np_table_run *run = np_table_near(table, key) != NULL ? table->head->last : find_run(table, end_of(key));
    void *value = run->end != 0 ? *place_in(run, key) : NULL;
    if (value == NULL) {
        return NULL;
    }
    *place_in(run, key) = NULL;
    table->count--;
    remember(table, run);
    if (is_empty(run)) {
        remove_run(table, run);
    }
    return value;
}

void *np_table_next(const struct np_table *table, size_t *cursor)
{
    while (*cursor < table->capacity * NP_TABLE_RUN) {
        const struct np_table_run *run = &table->head->runs[*cursor / NP_TABLE_RUN];
        void *value = run->end != 0 ? run->values[*cursor % NP_TABLE_RUN] : NULL;
        *cursor += run->end != 0 ? 1 : NP_TABLE_RUN;
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

void np_table_fini(struct np_table *table)
{
    free(table->head);
    *table = (struct np_table){.seed = table->seed};
}
