/* A real netpool-broker and netpool-workers as children of a test, on loopback over TLS or over ipc, in a directory
 * of their own. Every failure fails the test. */
#ifndef NP_TEST_CLUSTER_H
#define NP_TEST_CLUSTER_H

#include <sys/types.h>

#include "client/netpool.h"

enum { CLUSTER_WORKERS_MAX = 16 };

enum cluster_kind { CLUSTER_TLS, CLUSTER_IPC };

struct cluster {
    enum cluster_kind kind;
    char directory[64];
    char url[128];
    char ca[96]; /* tls: files for a client */
    char cert[96];
    char key[96];
    const char *module; /* of the workers */
    unsigned slots;     /* of each worker */
    pid_t broker;
    pid_t workers[CLUSTER_WORKERS_MAX];
    unsigned worker_count;
};

/* Starts broker and workers; all are ready when this returns. */
void cluster_start(struct cluster *cluster, enum cluster_kind kind, unsigned workers, unsigned slots,
                   const char *module);

/* Stops them in good order, checks their exit statuses, removes the directory. */
void cluster_stop(struct cluster *cluster);

/* SIGKILL, and reaps it. */
void cluster_kill_broker(struct cluster *cluster);

/* A new broker at the same URL. */
void cluster_restart_broker(struct cluster *cluster);

/* A further worker, ready when this returns. */
void cluster_add_worker(struct cluster *cluster);

/* One with slots and labels ("gpu=1,fast=yes") of its own; returns its index. */
unsigned cluster_add_worker_with(struct cluster *cluster, unsigned slots, const char *labels);

/* SIGTERM, and waits for its end. */
void cluster_remove_worker(struct cluster *cluster, unsigned index);

/* SIGTERM and SIGINT, so that it ends at once, whatever runs, and waits for its end. */
void cluster_interrupt_worker(struct cluster *cluster, unsigned index);

/* SIGKILL, and reaps it. */
void cluster_kill_worker(struct cluster *cluster, unsigned index);

/* Fills in the credentials. */
void cluster_options(const struct cluster *cluster, netpool_options *options);

#endif
