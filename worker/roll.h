/* A roll: names of tasks, sorted by client session and epoch, for the messages Held and Returned. */
#ifndef NP_ROLL_H
#define NP_ROLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/channel.h"

struct roll_entry {
    uint8_t session[NP_SESSION_SIZE];
    uint64_t epoch;
    uint64_t seq;
    uint32_t attempt;
};

/* Zero-initialized is empty. */
struct roll {
    struct roll_entry *entries;
    size_t count;
    size_t capacity;
};

void roll_add(struct roll *roll, const uint8_t *session, uint64_t epoch, uint64_t seq, uint32_t attempt);
void roll_fini(struct roll *roll);

/* Sends the roll as Held messages, or as Returned messages, the last one with `end`. */
void roll_send_held(struct roll *roll, struct channel *channel);
void roll_send_returned(struct roll *roll, struct channel *channel, bool end);

#endif
