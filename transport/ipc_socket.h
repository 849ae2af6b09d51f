/* What both sides of an ipc link need of libzmq: sockets set up alike, and the monitor that tells when a connection
 * is made or gone. Private to transport/ipc_*.c. */
#ifndef NP_IPC_SOCKET_H
#define NP_IPC_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <zmq.h>

#include "common/netpool_status.h"

/* Largest message, bytes. A link is a stream: it says nothing about frames. An empty message is the end of the
 * stream, since a ROUTER cannot close one connection. */
#define IPC_MESSAGE_MAX (64U * 1024)

struct ipc_socket {
    void *zmq;
    void *monitor; /* PAIR that receives the events of `zmq` */
};

/* A socket of `type` with bounded queues and without libzmq's heartbeats and reconnection. */
NETPOOL_MUST_CHECK netpool_status ipc_socket_open(struct ipc_socket *out, void *context, int type,
                                                  netpool_error *error);

/* What was sent leaves within a short linger, in the background, unless the connection is gone. Twice is harmless. */
void ipc_socket_close(struct ipc_socket *socket, bool is_gone);

/* The descriptor that becomes readable when something about the ZeroMQ socket changes. */
int ipc_socket_fd(void *zmq);

/* ZMQ_POLLIN, ZMQ_POLLOUT; takes in what the descriptor signalled. */
int ipc_socket_events(void *zmq);

/* Sends one message of at most IPC_MESSAGE_MAX bytes without waiting. Returns 0, or ZeroMQ's error number. */
int ipc_socket_send(void *zmq, const struct iovec *parts, size_t count, size_t *taken);

/* The next event of the monitor (ZMQ_EVENT_*) and its value, mostly a descriptor. False: none. */
bool ipc_socket_next_event(struct ipc_socket *socket, unsigned *event, uint32_t *value);

enum ipc_probe {
    IPC_ABSENT,  /* no such file */
    IPC_DEAD,    /* a socket on which nobody listens */
    IPC_ALIVE,   /* somebody accepts; their uid is known */
    IPC_FOREIGN, /* something that is not a socket */
    IPC_UNKNOWN  /* errno says why */
};

/* Connects to the path and leaves. *uid is set for IPC_ALIVE, unless so many are connecting that we would wait. */
enum ipc_probe ipc_probe(const char *path, uint32_t *uid);

#endif
