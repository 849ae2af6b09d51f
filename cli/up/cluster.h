/* A broker and its workers on this host, as child processes. SIGCHLD and the ending signals are blocked by the
 * caller, who reads them from a descriptor. */
#ifndef CLI_CLUSTER_H
#define CLI_CLUSTER_H

#include <stddef.h>
#include <stdint.h>

#include "cli/up/child.h"
#include "cli/up/credentials.h"

struct cluster_options {
    const char *state; /* directory, exists */
    uint64_t port;
    unsigned workers;
    unsigned slots;             /* of each */
    const char *const *modules; /* NULL-terminated */
    const char *const *labels;  /* of each worker; NULL-terminated */
};

struct cluster {
    struct cluster_options options;
    struct credentials credentials;
    char url[64];
    struct child *children; /* the broker, then the workers */
    size_t count;           /* started so far */
};

/* Makes what credentials are missing, starts everything and waits until it is ready. signal_fd: a signalfd; a signal
 * other than SIGCHLD gives up with NETPOOL_CANCELLED and *signal_number. In any case the cluster must be given to
 * cluster_stop. */
NETPOOL_MUST_CHECK netpool_status cluster_start(struct cluster *cluster, const struct cluster_options *options,
                                                int signal_fd, int *signal_number, netpool_error *error);

/* After a SIGCHLD: reaps and complains about those that ended. False when the broker or the last worker is gone. */
bool cluster_look(struct cluster *cluster);

/* Workers first, so that they can say goodbye, then the broker; what does not end in time is killed. Logs are removed
 * when keep_logs is false. */
void cluster_stop(struct cluster *cluster, bool keep_logs);

#endif
