/* What crew.c and crew_jobs.c share; nobody else includes it. All functions are called with the crew's mutex locked.
 */
#ifndef NP_CREW_STATE_H
#define NP_CREW_STATE_H

#include <pthread.h>

#include "client/places/crew.h"

struct crew {
    pthread_mutex_t mutex; /* everything below */
    pthread_cond_t work;   /* jobs wait, or the crew ends */
    pthread_cond_t left;   /* a thread has ended */
    struct np_list waiting;
    struct np_list running; /* and not answered */
    struct np_list done;
    unsigned threads; /* that have not ended */
    unsigned idle;    /* of these, those that wait for `work` */
    bool is_ending;
    bool is_abandoned;                       /* by its owner: the last thread frees it */
    unsigned max_jobs;                       /* of a thread; 0: no limit */
    char initializer[NP_NAME_MAX + 1];       /* "": none */
    struct call_request initializer_request; /* its input is owned */
    struct call_state initializer_state;     /* shared by those who run it: only `cancelled` matters */
    bool has_failed;                         /* an initializer: no job is started any more */
    char failure[NP_MESSAGE_MAX + 1];
    void (*wake)(void *context);
    void *context;
};

static inline struct crew_job *crew_job_of(struct np_list *node)
{
    return NP_CONTAINER(node, struct crew_job, node);
}

/* Hands a finished job to the owner. */
void crew_give_back(struct crew *crew, struct crew_job *job);

/* Hands back a job that is not to be started, because an initializer has failed. */
void crew_refuse(struct crew *crew, struct crew_job *job);

#endif
