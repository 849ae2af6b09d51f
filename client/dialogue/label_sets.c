#include "client/dialogue/label_sets.h"

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

/* All of it, before anything of it is kept. */
static netpool_status check_labels(const char *text, netpool_error *error)
{
    for (size_t count = 1;; count++) {
        size_t length = strcspn(text, ",");
        if (!is_label(text, length)) {
            return np_error_set(error, NETPOOL_INVALID,
                                "options.labels: '%.*s' is not a label of 1 to %d printable characters (\"gpu=1\")",
                                (int)(length < 40 ? length : 40), text, NP_NAME_MAX);
        }
        if (count > NP_REQUIRED_MAX) {
            return np_error_set(error, NETPOOL_INVALID, "options.labels: more than %d labels", NP_REQUIRED_MAX);
        }
        if (text[length] == '\0') {
            return NETPOOL_OK;
        }
        text += length + 1;
    }
}

/* Of a checked text. NULL: no memory. */
static struct label_set *split(struct names *names, const char *text)
{
    struct label_set *set = malloc(sizeof *set + NP_REQUIRED_MAX * sizeof set->labels[0]);
    if (set == NULL) {
        return NULL;
    }
    for (set->count = 0;; set->count++) {
        char label[NP_NAME_MAX + 1];
        size_t length = strcspn(text, ",");
        memcpy(label, text, length);
        label[length] = '\0';
        set->labels[set->count] = names_keep(names, label);
        if (set->labels[set->count] == NULL) {
            free(set);
            return NULL;
        }
        if (text[length] == '\0') {
            set->count++;
            return set;
        }
        text += length + 1;
    }
}

/* A set for a text that has none yet. */
static netpool_status add(struct label_sets *sets, const char *text, struct label_set **out, netpool_error *error)
{
    netpool_status status = check_labels(text, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    const char *kept = names_keep(sets->names, text);
    struct label_set *set = kept != NULL ? split(sets->names, kept) : NULL;
    if (set == NULL || np_table_put(&sets->by_text, (uint64_t)(uintptr_t)kept, set) != NETPOOL_OK) {
        free(set);
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    *out = set;
    return NETPOOL_OK;
}

netpool_status label_sets_keep(struct label_sets *sets, const char *text, const struct label_set **out,
                               netpool_error *error)
{
    const char *kept = names_find(sets->names, text);
    netpool_status status = NETPOOL_OK;
    pthread_mutex_lock(&sets->mutex);
    struct label_set *set = kept != NULL ? np_table_find(&sets->by_text, (uint64_t)(uintptr_t)kept) : NULL;
    if (set == NULL) {
        status = add(sets, text, &set, error);
    }
    pthread_mutex_unlock(&sets->mutex);
    if (status == NETPOOL_OK) {
        *out = set;
    }
    return status;
}
