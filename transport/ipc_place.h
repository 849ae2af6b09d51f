/* Where an ipc socket may be: a directory that only its owner can enter, and nobody else's socket. Private to
 * transport/ipc_*.c. */
#ifndef NP_IPC_PLACE_H
#define NP_IPC_PLACE_H

#include "common/netpool_status.h"

/* Makes the directory of `path` (0700) when missing and refuses one that others can enter; removes a dead socket,
 * refuses one that is answered and anything that is not a socket. On success *directory_fd holds a lock against
 * others doing the same; the caller closes it once the socket is bound. NETPOOL_SYSTEM. */
NETPOOL_MUST_CHECK netpool_status ipc_place_prepare(const char *path, int *directory_fd, netpool_error *error);

#endif
