/*
 * A link: one peer, one ordered stream of bytes each way, encrypted or local. It knows no frames and no tasks. TLS
 * (link_tls.c), ZeroMQ ipc (ipc.c) and plain Unix stream sockets between a program and its own children (link_fd.c)
 * stand behind this interface; the channel above does not know which.
 */
#ifndef NP_LINK_H
#define NP_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/netpool_status.h"
#include "netpool.pb-c.h"
#include "proto/limits.h"

/* Bytes that are best written at a time: as TLS records they go into one packet of the loopback device, and the peer
 * receives them at once (tls.c). A few bytes more would cost a packet and a receive of their own. */
#define LINK_WRITE_SIZE (64U * 1024U - 256U)

/* Who is at the other end, as far as the transport itself vouches for it. */
struct link_peer {
    Np__Role role; /* from the certificate; NONE where the transport does not tell (ipc, fd): then HELLO's
                      claim counts, the peer being of the same user */
    char name[NP_NAME_MAX + 1]; /* from the certificate, else "" */
    char pool[NP_NAME_MAX + 1]; /* from the certificate, else "" */
    char address[128];          /* for logs: "10.0.0.2:41234", "ipc pid 812", "child" */
    uint64_t serial;            /* TLS: identifies the certificate for revocation; else 0 */
};

struct link;

struct link_operations {
    const char *kind; /* "tls", "ipc", "fd" */

    /* Moves connect and handshake on. *done is set once the peer is known and data can flow; may be called again
     * after that. With a reason a person can act on: NETPOOL_UNREACHABLE; NETPOOL_REFUSED (the peer refused us; over
     * TLS 1.3 a client may hear that only from its first read); NETPOOL_CREDENTIALS (we refuse the peer's
     * certificate); NETPOOL_PROTOCOL (the peer speaks something else). fd may change until *done is set. */
    netpool_status (*establish)(struct link *link, bool *done, netpool_error *error);

    /* Reads what there is, up to capacity. *got = 0: nothing now. NETPOOL_CLOSED: the peer closed in good order;
     * NETPOOL_UNREACHABLE: the link broke. */
    netpool_status (*read)(struct link *link, uint8_t *out, size_t capacity, size_t *got, netpool_error *error);

    /* Writes as much of the parts, one behind the other, as goes without waiting. *taken = 0: not now. After a
     * partial or refused write the caller repeats with the same bytes at the same or another address (the bytes
     * offered must not change), possibly more of them. */
    netpool_status (*write)(struct link *link, const struct iovec *parts, size_t count, size_t *taken,
                            netpool_error *error);

    /* The epoll events to wait for, given whether the caller has bytes to write. */
    uint32_t (*interest)(const struct link *link, bool want_write);

    /* Can bytes be read although the descriptor may never signal it (edge-triggered or buffered)? Asked after every
     * read and write. */
    bool (*is_readable)(struct link *link);

    /* Says goodbye to the peer as far as that goes without waiting (TLS close_notify, FIN), closes and frees. */
    void (*destroy)(struct link *link);
};

/* First member of each kind's own struct. */
struct link {
    const struct link_operations *operations;
    int fd; /* what to watch; -1: the owner of the link calls channel_ready itself */
    struct link_peer peer;
    bool tells_end; /* the kernel tells when the peer's process ends: it may be silent, or stopped, for as long as it
                       likes */
};

/* For links whose write wants bytes in one place: how many there are, and `size` of them from `from` on, which there
 * must be. */
size_t link_parts_size(const struct iovec *parts, size_t count);
void link_parts_copy(const struct iovec *parts, size_t from, uint8_t *out, size_t size);

/* Takes over a connected stream socket (made non-blocking here). NULL when out of memory; the fd is then still the
 * caller's. */
struct link *link_fd_new(int fd, const char *address);

#endif
