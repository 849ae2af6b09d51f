/*
 * Admission: connections that were accepted and are not yet authenticated. It bounds how many there are from one
 * address, drops them at a deadline, and drives at most a few handshake steps a turn, one after the other, so that a
 * flood of handshakes never stalls the peers that are in.
 */
#ifndef BROKER_ADMISSION_H
#define BROKER_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/link.h"
#include "transport/reactor.h"

struct admission;

struct admission_config {
    unsigned max_per_address; /* connections in handshake from one address */
    int64_t timeout_ns;       /* accepted to established; 0 = NP_HANDSHAKE_TIMEOUT_MS */
};

/* The link is established and its peer known; taken over. */
typedef void admission_handler(void *owner, struct link *link);

NETPOOL_MUST_CHECK netpool_status admission_new(struct admission **out, struct reactor *reactor,
                                                const struct admission_config *config, admission_handler *admitted,
                                                void *owner);
void admission_destroy(struct admission **admission);

/* Has this address ("10.0.0.2:41234", the port does not count) as many connections in handshake as it may? Then the
 * refusal is logged, rate-limited. */
bool admission_is_full_for(struct admission *admission, const char *address);

/* Takes over a link that is to be established (also on failure). */
NETPOOL_MUST_CHECK netpool_status admission_offer(struct admission *admission, struct link *link);

void admission_tick(struct admission *admission, int64_t now);
int64_t admission_deadline(const struct admission *admission);
size_t admission_count(const struct admission *admission);

#endif
