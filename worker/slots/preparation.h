/* How executors are prepared for the tasks of one client's session, as the broker's Prepare says: an initializer that
 * each executor calls once before its first task of the session, and a number of tasks after which it is replaced. */
#ifndef NP_PREPARATION_H
#define NP_PREPARATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/list.h"
#include "proto/limits.h"

#define PREPARATIONS_MAX 4096 /* sessions known at a time */
#define PREPARATION_BUCKETS 256

enum prepared_state { PREPARED_NOT, PREPARED_SOON /* its initializer is fed or runs */, PREPARED_WELL };

/* What one executor has done for the session. */
struct prepared {
    uint64_t executor; /* its serial number; of another one: nothing of this holds */
    enum prepared_state state;
    uint32_t given;    /* tasks fed to it and not taken back */
    uint32_t answered; /* of them */
};

struct preparation {
    struct np_list node;
    uint8_t session[NP_SESSION_SIZE];  /* of the client */
    uint32_t link;                     /* number of the link on which the broker said it last */
    char initializer[NP_NAME_MAX + 1]; /* "": none */
    uint32_t function;                 /* its index */
    uint32_t max_tasks;                /* for each executor, 0 = no limit */
    uint8_t *input;                    /* of the initializer */
    size_t input_size;
    char *failure;            /* why the session's tasks cannot run here, NULL while they can */
    uint32_t users;           /* batches */
    bool is_known;            /* false: freed after its last user */
    struct prepared *by_slot; /* one each */
};

struct preparations {
    struct np_list buckets[PREPARATION_BUCKETS]; /* sessions are random bytes: the first one is the hash */
    size_t count;
    unsigned slots;
};

/* What a Prepare says; borrowed. */
struct preparation_order {
    const uint8_t *session;
    const char *initializer; /* "": none */
    uint32_t function;       /* its index, or TASK_NO_FUNCTION */
    uint32_t max_tasks;
    const uint8_t *input;
    size_t input_size;
    uint32_t link;
};

void preparations_init(struct preparations *preparations, unsigned slots);

/* No batch may use one any more. */
void preparations_fini(struct preparations *preparations);

/* Keeps the order for tasks that come from now on. The same order again changes nothing, so that executors which are
 * prepared stay so; but a failed initializer is given another chance. False: too many sessions; what an earlier link
 * said and nobody uses makes room first. */
bool preparations_put(struct preparations *preparations, const struct preparation_order *order);

/* Tasks of the session that come from now on need no preparation. */
void preparations_forget(struct preparations *preparations, const uint8_t *session);

/* NULL when there is none. */
struct preparation *preparations_find(struct preparations *preparations, const uint8_t *session);

/* Was it made of this order? */
bool preparation_is(const struct preparation *preparation, const struct preparation_order *order);

/* A batch begins and ends to use it; NULL is harmless. */
void preparation_use(struct preparation *preparation);
void preparation_release(struct preparation *preparation);

/* What the executor with this serial number, which is the slot's, has done for the session. */
struct prepared *preparation_of(struct preparation *preparation, unsigned slot, uint64_t executor);

/* From now on tasks of the session are refused with this text. */
void preparation_fail(struct preparation *preparation, const char *text);

#endif
