/* Tells whoever called netpool_map or netpool_reduce how far it is: on its own thread, while that waits. */
#ifndef NP_MAP_WATCH_H
#define NP_MAP_WATCH_H

#include <stdint.h>

#include "client/dialogue/task.h"
#include "client/engine.h"
#include "client/netpool.h"

struct map_watch {
    /* set by the caller */
    struct engine *engine;
    netpool_map_progress *report; /* NULL: nobody asks */
    void *context;
    uint64_t count; /* items in all */
    /* Items done, running ones in part. Called on the leader, and once more when nothing is left to run. */
    double (*look)(struct map_watch *watch);

    /* private */
    struct engine_request request;
    struct event looked;
    double seen;
    uint64_t reported;
};

/* Waits until `done` is past 0 and reports meanwhile, and at the end. */
void map_watch_wait(struct map_watch *watch, struct event *done);

/* The part of a running task that it says is done, 0 to 1. */
static inline double map_watch_fraction(struct np_task *task)
{
    uint64_t done;
    uint64_t total;
    np_task_progress(task, &done, &total);
    return total == 0 ? 0 : done >= total ? 1 : (double)done / (double)total;
}

#endif
