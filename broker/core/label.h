/* Labels of workers, "key=value" or "key", and what tasks require of them. */
#ifndef CORE_LABEL_H
#define CORE_LABEL_H

#include <stdbool.h>
#include <stddef.h>

struct labels {
    char **names; /* ascending, in one block with their texts; NULL when there are none */
    size_t count;
};

/* Copies; the names must ascend, as labels_sort leaves them. False when out of memory. */
bool labels_init(struct labels *labels, char *const *names, size_t count);
void labels_fini(struct labels *labels);

/* That they keep in memory. */
size_t labels_bytes(const struct labels *labels);

/* In place. */
void labels_sort(char **names, size_t count);

bool labels_equal(const struct labels *labels, char *const *names, size_t count);

/* Are all that are required among those offered? One without '=' is met by its key, whatever the value. */
bool labels_meet(const struct labels *offered, const struct labels *required);

/* "a=1,b", cut to what fits. */
void labels_print(const struct labels *labels, char *out, size_t size);

#endif
