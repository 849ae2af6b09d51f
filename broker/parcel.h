/*
 * Parcels: what crosses between the core's thread and a gateway's. A bundle of them, owned by whoever holds its
 * pointer, is one ZeroMQ message on the PAIR between the two, at most one a turn each way.
 *
 * Credit: each side may have PARCEL_WINDOW_COUNT parcels or PARCEL_WINDOW_BYTES of them on their way to the other
 * (whichever is reached first stops it; the last parcel may pass the bytes). The receiver gives credit back with its
 * next bundle once it has worked off a quarter of the window. So neither queue grows without bound and nothing is
 * dropped.
 */
#ifndef BROKER_PARCEL_H
#define BROKER_PARCEL_H

#include <czmq.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/list.h"
#include "proto/message.h"
#include "transport/link.h"
#include "transport/tls.h"

#define PARCEL_WINDOW_COUNT 512
#define PARCEL_WINDOW_BYTES (8U * 1024 * 1024)

enum parcel_kind {
    PARCEL_CONNECTED,      /* up: who */
    PARCEL_MESSAGE,        /* up and down: header, body */
    PARCEL_DISCONNECTED,   /* up: orderly */
    PARCEL_CLOSE,          /* down: status, header = reason with its NUL */
    PARCEL_RELOAD,         /* down: credentials */
    PARCEL_STOP_ACCEPTING, /* down */
    PARCEL_END             /* down: the gateway ends; up: its last word */
};

struct parcel {
    struct np_list link;
    enum parcel_kind kind;
    uint64_t peer;
    bool orderly;
    bool urgent;
    netpool_status status;
    struct tls_context *credentials;
    struct link_peer *who; /* owned */
    const uint8_t *body;   /* behind the header, or a reference to a block; NULL when empty */
    size_t body_size;
    size_t header_size;
    uint8_t header[]; /* packed Envelope, or text */
};

/* NULL when out of memory. header may be NULL with size 0. */
struct parcel *parcel_new(enum parcel_kind kind, uint64_t peer, const void *header, size_t header_size);

/* Packs the envelope. The body is copied, a large one shared. NULL when out of memory. */
struct parcel *parcel_of_message(uint64_t peer, const struct np_message *message);

void parcel_destroy(struct parcel **parcel);

/* One end of the PAIR, with the credit for both directions. */
struct parcel_pipe {
    zsock_t *pipe;                           /* borrowed */
    struct np_list waiting;                  /* struct parcel.link: to be sent, without credit or not yet flushed */
    uint64_t sent_count, sent_bytes;         /* in all */
    uint64_t returned_count, returned_bytes; /* of them worked off by the other side */
    uint64_t received_count, received_bytes; /* in all */
    uint64_t reported_count, reported_bytes; /* of them told to the other side */
};

void parcel_pipe_init(struct parcel_pipe *pipe, zsock_t *socket);

/* Destroys what is still waiting. */
void parcel_pipe_fini(struct parcel_pipe *pipe);

/* Takes the parcel over; it leaves with the next flush for which there is credit. */
void parcel_pipe_add(struct parcel_pipe *pipe, struct parcel *parcel);

/* May another parcel be sent now? */
bool parcel_pipe_has_credit(const struct parcel_pipe *pipe);

/* Sends what waits, as far as credit goes, and gives credit back; one ZeroMQ message at most. */
void parcel_pipe_flush(struct parcel_pipe *pipe);

/* Receives the next bundle into `parcels` (initialized here; the caller destroys them). False: none is there. */
bool parcel_pipe_receive(struct parcel_pipe *pipe, struct np_list *parcels);

/* Is there a bundle to receive? Takes in what the socket's descriptor signalled. */
bool parcel_pipe_is_readable(const struct parcel_pipe *pipe);

#endif
