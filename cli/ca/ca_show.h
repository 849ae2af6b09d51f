/* `netpool ca show`: what a CA directory or a certificate file holds, for people. */
#ifndef CA_SHOW_H
#define CA_SHOW_H

#include "common/netpool_status.h"

/* Prints to standard output. NETPOOL_CREDENTIALS, NETPOOL_SYSTEM when the path cannot be read. */
NETPOOL_MUST_CHECK netpool_status ca_show(const char *path, netpool_error *error);

#endif
