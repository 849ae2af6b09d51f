/* Names kept once each: functions, workers and hosts that many tasks share. Thread-safe. */
#ifndef NP_NAMES_H
#define NP_NAMES_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "common/table.h"

#define NP_NAMES_MAX 65536 /* a hostile broker can make us keep this many; further ones become "" */

struct name;

struct names {
    pthread_mutex_t mutex;
    struct np_table by_hash; /* struct name, chained */
    size_t count;
};

void names_init(struct names *names);
void names_fini(struct names *names);

/* The kept copy; lives until names_fini. NULL: out of memory or of names. */
const char *names_keep(struct names *names, const char *text);

/* NULL: none is kept. */
const char *names_find(struct names *names, const char *text);

uint64_t names_hash(const char *text);

#endif
