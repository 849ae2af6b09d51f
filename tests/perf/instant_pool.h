/* A pool without threads and links: what its dialogue submits is answered in the same turn, with zeros, as many as
 * the input had bytes. What remains to be counted is the library's own share of a task. */
#ifndef INSTANT_POOL_H
#define INSTANT_POOL_H

#include "client/dialogue/dialogue.h"
#include "client/netpool.h"

enum { INSTANT_BATCH = 256, INSTANT_BODY = 16 * INSTANT_BATCH };

/* The other side of one dialogue. */
struct instant_broker {
    bool has_hello;               /* not answered yet */
    uint64_t seqs[INSTANT_BATCH]; /* submitted and not answered */
    uint32_t sizes[INSTANT_BATCH];
    size_t count;
    size_t body_size;

    Np__Envelope envelope;
    Np__Welcome welcome;
    Np__Results results;
};

/* The output of a dialogue; `context` is the broker. */
netpool_status instant_send(void *context, Np__Envelope *envelope, const void *body, size_t body_size, bool urgent);

/* What the dialogue is to hear next, borrowed until the next call. False: nothing. */
bool instant_answer(struct instant_broker *broker, struct np_message *message);

/* Who waits for results leads its engine, and must have submitted them. Ends the program without memory. */
netpool *instant_pool_new(void);

#endif
