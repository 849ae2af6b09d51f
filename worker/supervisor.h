/*
 * The supervisor: one process that holds the one link to the broker and runs N executor processes through a zygote.
 * It is the whole of netpool-worker and, forked by netpool_open("local"), the worker beside a program. It feeds
 * executors, watches their deadlines, replaces dead ones, keeps the tail of what they print, answers heartbeats,
 * drains.
 */
#ifndef NP_SUPERVISOR_H
#define NP_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/netpool_status.h"
#include "transport/link.h"

struct supervisor_options {
    const char *name;           /* "" = HOST-PID */
    unsigned slots;             /* executors, >= 1 */
    const char *const *modules; /* shared objects, loaded by the zygote; may be NULL */
    size_t module_count;
    const char *const *labels; /* "key=value" */
    size_t label_count;
    uint64_t window_bytes;           /* payload bytes held at most; 0 = 256 MiB */
    uint64_t max_payload;            /* bytes; 0 = NP_PAYLOAD_DEFAULT */
    uint32_t max_tasks_per_executor; /* an executor is replaced after so many; 0 = never */
    int64_t drain_grace_ms;          /* what runs may still finish for so long after SIGTERM; default 30,000 if 0 */
    int64_t cancel_grace_ms; /* a cancelled call may still return for so long, then it is killed; default 1,000 */
    int64_t reconnect_ms;    /* give up after the broker was away for so long; 0 = never */
    int heap_fd;             /* of the heap that the program shares (common/heap.h); 0: there is none */
    bool forward_output;     /* pass what functions print on to this process' standard error as it is */

    /* Called for each connection attempt: a fresh link to the broker. After NETPOOL_CLOSED the supervisor ends in
     * good order (a local pool's one link is gone). Other failures are logged and tried again with jittered back-off
     * from 50 ms to 2 s. */
    netpool_status (*connect)(void *context, struct link **out, netpool_error *error);
    void *connect_context;
    bool is_single_link; /* connect will not give a second link: the supervisor ends with the first, in good order */

    int ready_fd; /* -1, or: one byte '\n' is written when the modules are loaded, the first WELCOME has come and
                     an executor has been forked; a line of error text when it will not start; then closed */
};

/* Starts the zygote. Must be called before this process has made any thread, ZeroMQ context or SSL object, and
 * returns in the supervisor only; loads the modules in the zygote. NETPOOL_BAD_MODULE with the loader's words. */
struct supervisor;
NETPOOL_MUST_CHECK netpool_status supervisor_new(struct supervisor **out, const struct supervisor_options *options,
                                                 netpool_error *error);

/* Runs until drained (SIGTERM, SIGINT; handlers are installed here), until connect says NETPOOL_CLOSED, or until the
 * broker refuses this worker for good. NETPOOL_OK after a drain. NETPOOL_SYSTEM: for ten seconds there was no
 * executor and none could be started (for one, before it was ready); what was held has been given back. */
NETPOOL_MUST_CHECK netpool_status supervisor_run(struct supervisor *supervisor, netpool_error *error);

/* Kills what is left of executors and zygote and reaps them. */
void supervisor_destroy(struct supervisor **supervisor);

#endif
