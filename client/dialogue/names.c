#include "client/dialogue/names.h"

#include <stdlib.h>
#include <string.h>

struct name {
    struct name *next; /* with the same hash */
    char text[];
};

/* FNV-1a (Fowler, Noll, Vo), 64 bits. */
uint64_t names_hash(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *c = text; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    }
    return hash;
}

void names_init(struct names *names)
{
    *names = (struct names){.mutex = PTHREAD_MUTEX_INITIALIZER};
}

void names_fini(struct names *names)
{
    size_t cursor = 0;
    for (struct name *name = np_table_next(&names->by_hash, &cursor); name != NULL;
         name = np_table_next(&names->by_hash, &cursor)) {
        while (name != NULL) {
            struct name *next = name->next;
            free(name);
            name = next;
        }
    }
    np_table_fini(&names->by_hash);
    pthread_mutex_destroy(&names->mutex);
}

static const char *add(struct names *names, uint64_t hash, struct name *chain, const char *text)
{
    if (names->count >= NP_NAMES_MAX) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    struct name *name = malloc(sizeof *name + size);
    if (name == NULL) {
        return NULL;
    }
    memcpy(name->text, text, size);
    name->next = chain;
    if (np_table_put(&names->by_hash, hash, name) != NETPOOL_OK) {
        free(name);
        return NULL;
    }
    names->count++;
    return name->text;
}

static const char *find(const struct name *chain, const char *text)
{
    for (const struct name *name = chain; name != NULL; name = name->next) {
        if (strcmp(name->text, text) == 0) {
            return name->text;
        }
    }
    return NULL;
}

const char *names_find(struct names *names, const char *text)
{
    uint64_t hash = names_hash(text);
    pthread_mutex_lock(&names->mutex);
    const char *kept = find(np_table_find(&names->by_hash, hash), text);
    pthread_mutex_unlock(&names->mutex);
    return kept;
}

const char *names_keep(struct names *names, const char *text)
{
    uint64_t hash = names_hash(text);
    pthread_mutex_lock(&names->mutex);
    struct name *chain = np_table_find(&names->by_hash, hash);
    const char *kept = find(chain, text);
    if (kept == NULL) {
        kept = add(names, hash, chain, text);
    }
    pthread_mutex_unlock(&names->mutex);
    return kept;
}
