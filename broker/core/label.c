#include "broker/core/label.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t size_of(char *const *names, size_t count)
{
    size_t size = count * sizeof(char *);
    for (size_t i = 0; i < count; i++) {
        size += strlen(names[i]) + 1;
    }
    return size;
}

bool labels_init(struct labels *labels, char *const *names, size_t count)
{
    *labels = (struct labels){0};
    if (count == 0) {
        return true;
    }
    char **block = malloc(size_of(names, count));
    if (block == NULL) {
        return false;
    }
    char *text = (char *)(block + count);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]) + 1;
        memcpy(text, names[i], length);
        block[i] = text;
        text += length;
    }
    labels->names = block;
    labels->count = count;
    return true;
}

void labels_fini(struct labels *labels)
{
    free(labels->names);
    *labels = (struct labels){0};
}

size_t labels_bytes(const struct labels *labels)
{
    return size_of(labels->names, labels->count);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void labels_sort(char **names, size_t count)
{
    if (count > 1) {
        qsort(names, count, sizeof *names, compare);
    }
}

bool labels_equal(const struct labels *labels, char *const *names, size_t count)
{
    if (labels->count != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(labels->names[i], names[i]) != 0) {
            return false;
        }
    }
    return true;
}

static bool is_met(const struct labels *offered, const char *required)
{
    size_t length = strlen(required);
    bool is_key = strchr(required, '=') == NULL;
    for (size_t i = 0; i < offered->count; i++) {
        const char *name = offered->names[i];
        if (strncmp(name, required, length) == 0 && (name[length] == '\0' || (is_key && name[length] == '='))) {
            return true;
        }
    }
    return false;
}

bool labels_meet(const struct labels *offered, const struct labels *required)
{
    for (size_t i = 0; i < required->count; i++) {
        if (!is_met(offered, required->names[i])) {
            return false;
        }
    }
    return true;
}

void labels_print(const struct labels *labels, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < labels->count && used < size; i++) {
        int length = snprintf(out + used, size - used, "%s%s", i > 0 ? "," : "", labels->names[i]);
        used += length > 0 ? (size_t)length : 0;
    }
}
