/* The pool URLs: local, local:N, threads:N, ipc://PATH, tls://HOST:PORT (HOST may be [v6]). */
#ifndef NP_URL_H
#define NP_URL_H

#include <stdint.h>

#include "common/netpool_status.h"

enum np_url_kind { NP_URL_LOCAL, NP_URL_THREADS, NP_URL_IPC, NP_URL_TLS };

struct np_url {
    enum np_url_kind kind;
    unsigned count; /* local, threads: executors; 0 = one a core */
    char path[108]; /* ipc: socket path, fits sockaddr_un */
    char host[256]; /* tls: host name or address, without brackets */
    char port[6];   /* tls: decimal, 0 to 65535 */
};

#define NP_URL_DEFAULT_PORT "4747"
#define NP_URL_MAX_EXECUTORS 4096

/* NETPOOL_INVALID with a message that quotes the text and lists the accepted forms. */
NETPOOL_MUST_CHECK netpool_status np_url_parse(struct np_url *out, const char *text, netpool_error *error);

#endif
