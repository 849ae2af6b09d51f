#include "client/label_sets.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "proto/limits.h"

void label_sets_init(struct label_sets *sets, struct names *names)
{
    *sets = (struct label_sets){.names = names, .mutex = PTHREAD_MUTEX_INITIALIZER};
}

void label_sets_fini(struct label_sets *sets)
{
    size_t cursor = 0;
    for (struct label_set *set = np_table_next(&sets->by_text, &cursor); set != NULL;
         set = np_table_next(&sets->by_text, &cursor)) {
        free(set);
    }
    np_table_fini(&sets->by_text);
    pthread_mutex_destroy(&sets->mutex);
}

static bool is_label(const char *text, size_t length)
{
    bool good = length >= 1 && length <= NP_NAME_MAX;
    for (size_t i = 0; good && i < length; i++) {
        good = text[i] > ' ' && text[i] <= '~';
    }
    return good && text[0] != '=';
}

static netpool_status add_label(struct label_sets *sets, struct label_set *set, const char *text, size_t length,
                                netpool_error *error)
{
    char label[NP_NAME_MAX + 1];
    if (!is_label(text, length)) {
        return np_error_set(error, NETPOOL_INVALID,
                            "options.labels: '%.*s' is not a label of 1 to %d printable characters (\"gpu=1\")",
                            (int)(length < 40 ? length : 40), text, NP_NAME_MAX);
    }
    if (set->count == NP_REQUIRED_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "options.labels: more than %d labels", NP_REQUIRED_MAX);
    }
    memcpy(label, text, length);
    label[length] = '\0';
    const char *kept = names_keep(sets->names, label);
    if (kept == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    set->labels[set->count++] = kept;
    return NETPOOL_OK;
}

/* *out is the caller's to free. */
static netpool_status split(struct label_sets *sets, const char *text, struct label_set **out, netpool_error *error)
{
    struct label_set *set = malloc(sizeof *set + NP_REQUIRED_MAX * sizeof set->labels[0]);
    if (set == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    set->count = 0;
    netpool_status status;
    bool is_last;
    do {
        size_t length = strcspn(text, ",");
        is_last = text[length] == '\0';
        status = add_label(sets, set, text, length, error);
        text += length + 1;
    } while (status == NETPOOL_OK && !is_last);
    if (status != NETPOOL_OK) {
        free(set);
        return status;
    }
    *out = set;
    return NETPOOL_OK;
}

netpool_status label_sets_keep(struct label_sets *sets, const char *text, const struct label_set **out,
                               netpool_error *error)
{
    const char *kept = names_keep(sets->names, text);
    if (kept == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    uint64_t key = (uint64_t)(uintptr_t)kept;
    netpool_status status = NETPOOL_OK;
    pthread_mutex_lock(&sets->mutex);
    struct label_set *set = np_table_find(&sets->by_text, key);
    if (set == NULL) {
        status = split(sets, kept, &set, error);
        if (status == NETPOOL_OK && np_table_put(&sets->by_text, key, set) != NETPOOL_OK) {
            free(set);
            status = np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
        }
    }
    pthread_mutex_unlock(&sets->mutex);
    if (status == NETPOOL_OK) {
        *out = set;
    }
    return status;
}
