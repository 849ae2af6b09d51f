/*
 * Messages: a frame's header decoded within a memory budget and checked against the protocol's caps, with its body.
 * In memory a message is the protobuf-c struct itself; nothing is copied into a second set of types.
 *
 * A message that passed np_message_check can be used without further checks of lengths: columns have one length,
 * sizes add up to the body, names are within their caps, sessions are NP_SESSION_SIZE bytes or (where allowed)
 * absent.
 */
#ifndef NP_MESSAGE_H
#define NP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/netpool_status.h"
#include "netpool.pb-c.h"
#include "proto/frame.h"
#include "proto/limits.h"

/* Both borrowed; they live until the receiving call returns. */
struct np_message {
    const Np__Envelope *envelope;
    const uint8_t *body; /* a whole block if it is large: see np_message_has_block */
    size_t body_size;
};

/*
 * Everywhere that messages pass (here, channel_send, core_output.send, dialogue_output.send) a body larger than
 * NP_FRAME_BODY_MAX is a whole block, of which its first byte is the start. Whoever is handed it may np_block_share
 * it instead of copying, and nobody writes to it any more. A smaller body may lie anywhere.
 */
static inline bool np_message_has_block(const struct np_message *message)
{
    return message->body_size > NP_FRAME_BODY_MAX;
}

/* Where the body begins, for walks through it: never NULL, to which C lets nobody add even 0. */
static inline const uint8_t *np_message_bytes(const struct np_message *message)
{
    return message->body != NULL ? message->body : (const uint8_t *)"";
}

/* A block with the body, of which the caller has a reference: shared if it is a block already, else copied, so it is
 * not to be written to. NULL when out of memory; never NULL for an empty body otherwise. */
uint8_t *np_message_take_body(const struct np_message *message);

/* Decodes one frame's header into `arena` (reset by the caller, budget set here from the header's size) and checks it
 * structurally. Not checked: sizes against the body when large_body is set; the channel does that when it is whole.
 */
NETPOOL_MUST_CHECK netpool_status np_message_decode(const struct np_frame *frame, struct np_arena *arena,
                                                    const Np__Envelope **envelope, netpool_error *error);

/* Columns against each other and against the body. */
NETPOOL_MUST_CHECK netpool_status np_message_check(const Np__Envelope *envelope, size_t body_size,
                                                   netpool_error *error);

/* May a peer of role `from` send this kind to a peer of role `to`? Deny by default; one table. */
bool np_message_is_allowed(Np__Role from, Np__Role to, Np__Envelope__KindCase kind);

/* "submit", "results", ...: for logs and errors. Never NULL. */
const char *np_message_kind_name(Np__Envelope__KindCase kind);

/* "client", "worker", "broker", "admin", "none". */
const char *np_role_name(Np__Role role);

/* False for any other text, "none" included. */
bool np_role_parse(Np__Role *out, const char *name);

#endif
