/*
 * One connection of the broker's ROUTER socket, as a link. Private to transport/ipc_connection.c and ipc_server.c,
 * which receives for all of them.
 */
#ifndef NP_IPC_CONNECTION_H
#define NP_IPC_CONNECTION_H

#include "common/list.h"
#include "common/table.h"
#include "transport/ipc.h"
#include "transport/ipc_socket.h"

#define IPC_ROUTING_ID_SIZE 5 /* the ids that libzmq gives; it gives none twice */

struct ipc_server {
    struct ipc_socket socket;
    struct reactor *reactor;
    struct reactor_source input;  /* the ROUTER's descriptor: edge-triggered, so deferred while there may be more */
    struct reactor_source events; /* the monitor's */
    const struct ipc_server_handler *handler;
    void *owner;
    struct np_table by_routing; /* routing id -> struct ipc_connection */
    struct np_table
        by_fd;           /* descriptor in libzmq -> struct ipc_connection, or `unclaimed` before its first message */
    struct np_list gone; /* connections whose end is to be told once all they sent is in */
    struct np_list blocked;         /* connections whose queue was full */
    struct ipc_connection *reading; /* has a message that its channel has not read to the end */
    bool is_pumping;
    char unclaimed; /* its address marks accepted connections that have not spoken */
    char path[108];
};

struct ipc_connection {
    struct link link;
    struct ipc_server *server;
    uint8_t routing_id[IPC_ROUTING_ID_SIZE];
    uint64_t routing_key;
    uint64_t fd_key;
    struct channel *channel; /* borrowed; NULL before ipc_server_attach */
    bool is_released; /* the link has been destroyed: kept until the connection is gone, to drop its messages */
    bool is_gone;
    bool has_message;
    zmq_msg_t message;
    size_t offset; /* bytes of the message already read */
    struct np_list gone;
    struct np_list blocked;
};

/* Enters it into by_routing. NULL when out of memory. */
struct ipc_connection *ipc_connection_new(struct ipc_server *server, uint64_t key, const uint8_t *routing_id,
                                          uint64_t fd, unsigned pid);

/* Takes it out of every table and list. */
void ipc_connection_free(struct ipc_connection *connection);

/* Drops the message being read. */
void ipc_connection_drop_message(struct ipc_connection *connection);

#endif
