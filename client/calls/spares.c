#include "client/calls/spares.h"

#include <stdlib.h>

static bool begin(struct spares *spares)
{
    return !atomic_exchange_explicit(&spares->is_busy, true, memory_order_acquire);
}

static void end(struct spares *spares)
{
    atomic_store_explicit(&spares->is_busy, false, memory_order_release);
}

struct spare *spares_take(struct spares *spares)
{
    if (!begin(spares)) {
        return NULL;
    }
    struct spare *spare = spares->first;
    if (spare != NULL) {
        spares->first = spare->next;
        spares->count--;
    }
    end(spares);
    return spare;
}

struct spare *spares_take_all(struct spares *spares)
{
    if (!begin(spares)) {
        return NULL;
    }
    struct spare *first = spares->first;
    spares->first = NULL;
    spares->count = 0;
    end(spares);
    return first;
}

void spares_free(struct spare *first)
{
    while (first != NULL) {
        struct spare *next = first->next;
        free(first);
        first = next;
    }
}

bool spares_give(struct spares *spares, struct spare *spare)
{
    if (!begin(spares)) {
        return false;
    }
    bool is_kept = spares->count < SPARES_MAX;
    if (is_kept) {
        spare->next = spares->first;
        spares->first = spare;
        spares->count++;
    }
    end(spares);
    return is_kept;
}
