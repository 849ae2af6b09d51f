/*
 * The CA's record of what it issued: the text file `index`, one certificate a line,
 *
 *     SERIAL ROLE NAME NOT_AFTER valid
 *     SERIAL ROLE NAME NOT_AFTER revoked REVOKED_AT
 *
 * serial in 16 hexadecimal digits, times as YYYY-MM-DDTHH:MM:SSZ. Lines are only added or marked revoked.
 */
#ifndef CA_INDEX_H
#define CA_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "common/netpool_status.h"
#include "transport/identity.h"

struct index_entry {
    uint64_t serial;
    Np__Role role;
    char name[NP_IDENTITY_PART_MAX + 1];
    time_t not_after;
    time_t revoked_at; /* 0: not revoked */
};

/* Zero-initialized is empty and valid. */
struct index {
    struct index_entry *entries;
    size_t count;
    size_t capacity;
};

/* NETPOOL_CREDENTIALS with file name and line number for a line that is not an entry. */
NETPOOL_MUST_CHECK netpool_status index_read(struct index *index, const char *path, netpool_error *error);
NETPOOL_MUST_CHECK netpool_status index_write(const struct index *index, const char *path, netpool_error *error);
void index_fini(struct index *index);

NETPOOL_MUST_CHECK netpool_status index_add(struct index *index, const struct index_entry *entry);

/* NULL when absent. */
const struct index_entry *index_find(const struct index *index, uint64_t serial);

#define INDEX_TIME_SIZE 32
void index_format_time(char out[INDEX_TIME_SIZE], time_t time);

#endif
