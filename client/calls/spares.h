/* Pieces of memory of one kind that wait to be used again. Any thread; nobody waits: who finds it busy does without.
 * Zero-initialized is empty. */
#ifndef NP_SPARES_H
#define NP_SPARES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define SPARES_MAX 1024

/* The first member of what is kept. */
struct spare {
    struct spare *next;
};

struct spares {
    atomic_bool is_busy; /* somebody has the fields below */
    struct spare *first;
    size_t count;
};

/* The one given last; NULL: none, or busy. */
struct spare *spares_take(struct spares *spares);

/* All of them, by `next`. */
struct spare *spares_take_all(struct spares *spares);

/* Frees such a chain. */
void spares_free(struct spare *first);

/* False: enough are there, or busy. */
bool spares_give(struct spares *spares, struct spare *spare);

#endif
