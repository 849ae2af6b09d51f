#include "cli/ca/index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ca/safe_file.h"
#include "common/error.h"
#include "common/text.h"
#include "proto/message.h"

#define TIME_FORMAT "%Y-%m-%dT%H:%M:%SZ"

void index_format_time(char out[INDEX_TIME_SIZE], time_t time)
{
    struct tm parts;
    if (gmtime_r(&time, &parts) == NULL || strftime(out, INDEX_TIME_SIZE, TIME_FORMAT, &parts) == 0) {
        np_text_copy(out, INDEX_TIME_SIZE, "0000-00-00T00:00:00Z");
    }
}

static bool parse_time(time_t *out, const char *text)
{
    struct tm parts = {0};
    const char *end = strptime(text, TIME_FORMAT, &parts);
    if (end == NULL || *end != '\0') {
        return false;
    }
    *out = timegm(&parts);
    return *out > 0;
}

netpool_status index_add(struct index *index, const struct index_entry *entry)
{
    if (index->count == index->capacity) {
        size_t capacity = index->capacity == 0 ? 16 : index->capacity * 2;
        struct index_entry *grown = realloc(index->entries, capacity * sizeof *grown);
        if (grown == NULL) {
            return NETPOOL_NO_MEMORY;
        }
        index->entries = grown;
        index->capacity = capacity;
    }
    index->entries[index->count++] = *entry;
    return NETPOOL_OK;
}

static bool parse_line(struct index_entry *entry, const char *line)
{
    char role[16];
    char not_after[INDEX_TIME_SIZE];
    char state[16];
    char revoked_at[INDEX_TIME_SIZE];
    *entry = (struct index_entry){0};
    int fields = sscanf(line, "%16" SCNx64 " %15s %64s %31s %15s %31s", &entry->serial, role, entry->name, not_after,
                        state, revoked_at);
    if (fields < 5 || entry->serial == 0 || !np_role_parse(&entry->role, role) ||
        !identity_part_is_valid(entry->name) || !parse_time(&entry->not_after, not_after)) {
        return false;
    }
    if (strcmp(state, "revoked") == 0) {
        return fields == 6 && parse_time(&entry->revoked_at, revoked_at);
    }
    return fields == 5 && strcmp(state, "valid") == 0;
}

netpool_status index_read(struct index *index, const char *path, netpool_error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return np_error_system(error, "cannot read %s", path);
    }
    char *line = NULL;
    size_t capacity = 0;
    netpool_status status = NETPOOL_OK;
    for (size_t number = 1; status == NETPOOL_OK && getline(&line, &capacity, file) >= 0; number++) {
        struct index_entry entry;
        if (!parse_line(&entry, line)) {
            status = np_error_set(error, NETPOOL_CREDENTIALS, "%s:%zu: not an entry of a CA's index", path, number);
        } else if (index_add(index, &entry) != NETPOOL_OK) {
            status = np_error_set(error, NETPOOL_NO_MEMORY, "no memory for %s", path);
        }
    }
    if (status == NETPOOL_OK && ferror(file) != 0) {
        status = np_error_system(error, "cannot read %s", path);
    }
    free(line);
    (void)fclose(file);
    return status;
}

static void print_entry(FILE *out, const struct index_entry *entry)
{
    char not_after[INDEX_TIME_SIZE];
    index_format_time(not_after, entry->not_after);
    fprintf(out, "%016" PRIx64 " %s %s %s", entry->serial, np_role_name(entry->role), entry->name, not_after);
    if (entry->revoked_at != 0) {
        char revoked_at[INDEX_TIME_SIZE];
        index_format_time(revoked_at, entry->revoked_at);
        fprintf(out, " revoked %s\n", revoked_at);
    } else {
        fprintf(out, " valid\n");
    }
}

netpool_status index_write(const struct index *index, const char *path, netpool_error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "no memory to write %s", path);
    }
    for (size_t i = 0; i < index->count; i++) {
        print_entry(memory, &index->entries[i]);
    }
    netpool_status status = fclose(memory) == 0
                                ? safe_file_write(path, text, size, 0644, error)
                                : np_error_set(error, NETPOOL_NO_MEMORY, "no memory to write %s", path);
    free(text);
    return status;
}

void index_fini(struct index *index)
{
    free(index->entries);
    *index = (struct index){0};
}

const struct index_entry *index_find(const struct index *index, uint64_t serial)
{
    for (size_t i = 0; i < index->count; i++) {
        if (index->entries[i].serial == serial) {
            return &index->entries[i];
        }
    }
    return NULL;
}
