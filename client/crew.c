#include "client/crew.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/error.h"

struct crew {
    pthread_mutex_t mutex; /* everything below */
    pthread_cond_t work;   /* jobs wait, or the crew ends */
    pthread_cond_t left;   /* a thread has ended */
    struct np_list waiting;
    struct np_list running; /* and not answered */
    struct np_list done;
    unsigned threads; /* that have not ended */
    bool is_ending;
    bool is_abandoned; /* by its owner: the last thread frees it */
    void (*wake)(void *context);
    void *context;
};

static struct crew_job *job_of(struct np_list *node)
{
    return NP_CONTAINER(node, struct crew_job, node);
}

struct crew_job *crew_job_new(const void *input, size_t input_size)
{
    struct crew_job *job = aligned_alloc(16, (sizeof *job + input_size + 15) & ~(size_t)15);
    if (job == NULL) {
        return NULL;
    }
    memset(job, 0, sizeof *job);
    if (input_size > 0) {
        memcpy(job->input, input, input_size);
    }
    job->request.input = (netpool_bytes){.data = job->input, .size = input_size};
    job->answer_at = NP_NEVER;
    np_list_init(&job->node);
    return job;
}

void crew_job_free(struct crew_job *job)
{
    np_buffer_fini(&job->result);
    free(job->message);
    free(job);
}

static void free_jobs(struct np_list *list)
{
    for (struct np_list *node = np_list_pop_front(list); node != NULL; node = np_list_pop_front(list)) {
        crew_job_free(job_of(node));
    }
}

static void free_crew(struct crew *crew)
{
    free_jobs(&crew->waiting);
    free_jobs(&crew->done);
    assert(np_list_is_empty(&crew->running));
    pthread_cond_destroy(&crew->work);
    pthread_cond_destroy(&crew->left);
    pthread_mutex_destroy(&crew->mutex);
    free(crew);
}

/* The thread's own copy of what came of the call, until it is known whether anybody wants it. */
struct yield {
    netpool_status status;
    uint64_t failed_item;
    struct np_buffer result;
    char message[NP_MESSAGE_MAX + 1];
};

static void run_call(struct crew_job *job, struct yield *yield)
{
    yield->message[0] = '\0';
    yield->failed_item = 0;
    yield->result = (struct np_buffer){0};
    yield->status = call_run(&job->request, &job->call_state, &yield->result, yield->message, &yield->failed_item);
}

/* Books the outcome, locked; the job may have been answered meanwhile. */
static void finish_job(struct crew *crew, struct crew_job *job, struct yield *yield, int64_t started)
{
    if (job->is_answered) {
        np_buffer_fini(&yield->result);
        crew_job_free(job);
        return;
    }
    job->status = yield->status;
    job->failed_item = yield->failed_item;
    job->result = yield->result;
    job->message = yield->message[0] != '\0' ? strdup(yield->message) : NULL; /* NULL also without memory for it */
    if (job->is_cancelled) {
        job->status = NETPOOL_CANCELLED; /* it was told that nobody wants the result, and may have cut it short */
        np_buffer_clear(&job->result);
    }
    job->compute_ns = (uint64_t)(np_clock_now() - started);
    job->state = CREW_DONE;
    np_list_remove(&job->node);
    bool is_first = np_list_is_empty(&crew->done);
    np_list_push_back(&crew->done, &job->node);
    if (is_first && !crew->is_abandoned) {
        crew->wake(crew->context);
    }
}

static void *run_thread(void *context)
{
    struct crew *crew = context;
    struct yield yield;
    pthread_mutex_lock(&crew->mutex);
    while (!crew->is_ending) {
        struct np_list *node = np_list_pop_front(&crew->waiting);
        if (node == NULL) {
            pthread_cond_wait(&crew->work, &crew->mutex);
            continue;
        }
        struct crew_job *job = job_of(node);
        int64_t started = np_clock_now();
        job->state = CREW_RUNNING;
        if (job->timeout_ms > 0 && job->timeout_ms < (uint64_t)(NP_NEVER / NP_NS_PER_MS / 2)) {
            job->answer_at = started + (int64_t)job->timeout_ms * NP_NS_PER_MS;
            crew->wake(crew->context); /* the owner's timer does not know of it yet */
        }
        np_list_push_back(&crew->running, node);
        pthread_mutex_unlock(&crew->mutex);
        run_call(job, &yield);
        pthread_mutex_lock(&crew->mutex);
        finish_job(crew, job, &yield, started);
    }
    crew->threads--;
    bool is_last = crew->threads == 0 && crew->is_abandoned;
    pthread_cond_signal(&crew->left);
    pthread_mutex_unlock(&crew->mutex);
    if (is_last) {
        free_crew(crew);
    }
    return NULL;
}

static int start_thread(struct crew *crew)
{
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, NULL, run_thread, crew);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0) {
        pthread_detach(thread);
    }
    return failed;
}

netpool_status crew_new(struct crew **out, unsigned size, void (*wake)(void *context), void *context,
                        netpool_error *error)
{
    struct crew *crew = calloc(1, sizeof *crew);
    if (crew == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&crew->mutex, NULL);
    pthread_cond_init(&crew->work, NULL);
    pthread_cond_init(&crew->left, &monotonic);
    pthread_condattr_destroy(&monotonic);
    np_list_init(&crew->waiting);
    np_list_init(&crew->running);
    np_list_init(&crew->done);
    crew->wake = wake;
    crew->context = context;
    for (unsigned i = 0; i < size; i++) {
        crew->threads++; /* before the thread can end */
        int failed = start_thread(crew);
        if (failed != 0) {
            crew->threads--;
            crew_destroy(&crew, NP_NS_PER_S);
            return np_error_set(error, NETPOOL_SYSTEM, "cannot start thread %u of %u: %s", i + 1, size,
                                strerror(failed));
        }
    }
    *out = crew;
    return NETPOOL_OK;
}

void crew_destroy(struct crew **crew, int64_t grace_ns)
{
    struct crew *self = *crew;
    if (self == NULL) {
        return;
    }
    *crew = NULL;
    int64_t until = np_clock_now() + grace_ns;
    struct timespec time = {.tv_sec = (time_t)(until / NP_NS_PER_S), .tv_nsec = (long)(until % NP_NS_PER_S)};
    pthread_mutex_lock(&self->mutex);
    self->is_ending = true;
    NP_LIST_EACH(node, &self->running) {
        atomic_store(&job_of(node)->call_state.cancelled, 1);
    }
    pthread_cond_broadcast(&self->work);
    while (self->threads > 0 && np_clock_now() < until) {
        (void)pthread_cond_timedwait(&self->left, &self->mutex, &time);
    }
    self->is_abandoned = self->threads > 0;
    bool is_free = !self->is_abandoned;
    pthread_mutex_unlock(&self->mutex);
    if (is_free) {
        free_crew(self);
    }
}

void crew_add(struct crew *crew, struct crew_job *job)
{
    pthread_mutex_lock(&crew->mutex);
    job->state = CREW_WAITING;
    np_list_push_back(&crew->waiting, &job->node);
    pthread_cond_signal(&crew->work);
    pthread_mutex_unlock(&crew->mutex);
}

struct crew_job *crew_take(struct crew *crew)
{
    pthread_mutex_lock(&crew->mutex);
    struct np_list *node = np_list_pop_front(&crew->done);
    pthread_mutex_unlock(&crew->mutex);
    return node != NULL ? job_of(node) : NULL;
}

/* The caller's answer in place of a running job that does not return: a stand-in that takes its name along. */
static void answer(struct crew *crew, struct crew_job *job, netpool_status status)
{
    struct crew_job *stand_in = crew_job_new(NULL, 0);
    if (stand_in == NULL) {
        job->answer_at = np_clock_now() + 10 * NP_NS_PER_MS; /* no memory now: tried again */
        return;
    }
    memcpy(stand_in->session, job->session, sizeof stand_in->session);
    stand_in->seq = job->seq;
    stand_in->attempt = job->attempt;
    stand_in->status = status;
    stand_in->state = CREW_DONE;
    stand_in->failed_item = atomic_load(&job->call_state.item);
    np_list_push_back(&crew->done, &stand_in->node);
    atomic_store(&job->call_state.cancelled, 1);
    job->is_answered = true;
    np_list_remove(&job->node);
}

static struct crew_job *find(struct np_list *list, const uint8_t session[NP_SESSION_SIZE], uint64_t seq)
{
    NP_LIST_EACH(node, list) {
        struct crew_job *job = job_of(node);
        if (job->seq == seq && memcmp(job->session, session, sizeof job->session) == 0) {
            return job;
        }
    }
    return NULL;
}

bool crew_cancel(struct crew *crew, const uint8_t session[NP_SESSION_SIZE], uint64_t seq, int64_t now,
                 int64_t grace_ns)
{
    pthread_mutex_lock(&crew->mutex);
    struct crew_job *job = find(&crew->waiting, session, seq);
    if (job != NULL) {
        job->status = NETPOOL_CANCELLED;
        job->state = CREW_DONE;
        np_list_remove(&job->node);
        np_list_push_back(&crew->done, &job->node);
    } else {
        job = find(&crew->running, session, seq);
        if (job != NULL) {
            atomic_store(&job->call_state.cancelled, 1);
            job->is_cancelled = true;
            job->answer_at = np_earlier(job->answer_at, now + grace_ns);
        }
    }
    pthread_mutex_unlock(&crew->mutex);
    return job != NULL;
}

struct crew_job *crew_withdraw(struct crew *crew)
{
    pthread_mutex_lock(&crew->mutex);
    struct np_list *last = np_list_is_empty(&crew->waiting) ? NULL : crew->waiting.previous;
    if (last != NULL) {
        np_list_remove(last);
    }
    pthread_mutex_unlock(&crew->mutex);
    return last != NULL ? job_of(last) : NULL;
}

void crew_tick(struct crew *crew, int64_t now)
{
    pthread_mutex_lock(&crew->mutex);
    NP_LIST_EACH(node, &crew->running) {
        struct crew_job *job = job_of(node);
        if (job->answer_at <= now) {
            answer(crew, job, job->is_cancelled ? NETPOOL_CANCELLED : NETPOOL_DEADLINE);
        }
    }
    pthread_mutex_unlock(&crew->mutex);
}

int64_t crew_deadline(struct crew *crew)
{
    int64_t next = NP_NEVER;
    pthread_mutex_lock(&crew->mutex);
    NP_LIST_EACH(node, &crew->running) {
        next = np_earlier(next, job_of(node)->answer_at);
    }
    pthread_mutex_unlock(&crew->mutex);
    return next;
}
