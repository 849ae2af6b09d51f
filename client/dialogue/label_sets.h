/* The labels that tasks require, as their options give them ("gpu=1,fast"), split and kept once for each text: tasks
 * with the same text share one set, and are alike by a look at its address. Thread-safe. */
#ifndef NP_LABEL_SETS_H
#define NP_LABEL_SETS_H

#include <pthread.h>
#include <stddef.h>

#include "client/dialogue/names.h"
#include "common/netpool_status.h"
#include "common/table.h"

struct label_set {
    size_t count;
    const char *labels[]; /* kept names */
};

struct label_sets {
    struct names *names; /* borrowed */
    pthread_mutex_t mutex;
    struct np_table by_text; /* struct label_set, by the address of the kept text */
};

void label_sets_init(struct label_sets *sets, struct names *names);
void label_sets_fini(struct label_sets *sets);

/* *out lives until label_sets_fini. NETPOOL_INVALID: not 1 to 16 labels of 1 to 128 printable characters each,
 * between commas. NETPOOL_NO_MEMORY. */
NETPOOL_MUST_CHECK netpool_status label_sets_keep(struct label_sets *sets, const char *text,
                                                  const struct label_set **out, netpool_error *error);

#endif
