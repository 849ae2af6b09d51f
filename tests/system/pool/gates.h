/* Tasks that run until they are let go, so that a case knows exactly what runs and what waits. A gate is a FIFO: its
 * function (pass_gate, tell_and_wait) comes out of it when the case closes the other end. */
#ifndef NP_TEST_GATES_H
#define NP_TEST_GATES_H

#include "client/netpool.h"

enum { GATES_MAX = 16 };

struct gates {
    char directory[64];
    char path[GATES_MAX][80];
    netpool_future *futures[GATES_MAX];
    int opened[GATES_MAX];   /* the case's ends */
    uint32_t pid[GATES_MAX]; /* that came through, after gates_open */
    unsigned count;
};

/* Submits as many tasks as there are gates. */
void gates_submit(struct gates *gates, netpool *pool, const char *function, unsigned count,
                  const netpool_task_options *options);

/* Returns when all of them run. */
void gates_reach(struct gates *gates);

/* Both. */
void gates_close(struct gates *gates, netpool *pool, const char *function, unsigned count,
                 const netpool_task_options *options);

/* Lets them go; each must end with this status. */
void gates_open(struct gates *gates, netpool_status expected);

#endif
