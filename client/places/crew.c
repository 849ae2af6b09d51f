#include "client/places/crew_state.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/text.h"
#include "worker/executor/initializer.h"

static void free_jobs(struct np_list *list)
{
    for (struct np_list *node = np_list_pop_front(list); node != NULL; node = np_list_pop_front(list)) {
        crew_job_free(crew_job_of(node));
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
    free((void *)(uintptr_t)crew->initializer_request.input.data);
    free(crew);
}

/* Bytes of memory that a thread keeps between jobs. */
enum { RESULT_KEPT = 64 * 1024 };

/* The thread's own copy of what came of the call, until it is known whether anybody wants it. */
struct yield {
    netpool_status status;
    uint64_t failed_item;
    struct np_buffer result;
    char message[NP_MESSAGE_MAX + 1];
};

static void run_call(const struct call_request *request, struct call_state *state, struct yield *yield)
{
    yield->message[0] = '\0';
    yield->failed_item = 0;
    yield->status = call_run(request, state, &yield->result, yield->message, &yield->failed_item);
}

/* No job is started any more, locked. */
static void fail(struct crew *crew, const char *words)
{
    if (!crew->has_failed) {
        initializer_failed(crew->failure, crew->initializer, words);
        crew->has_failed = true;
    }
    for (struct np_list *node = np_list_pop_front(&crew->waiting); node != NULL;
         node = np_list_pop_front(&crew->waiting)) {
        crew_refuse(crew, crew_job_of(node));
    }
}

/* A thread is prepared before it takes a job, locked; meanwhile another one may take it. */
static void prepare(struct crew *crew, struct yield *yield)
{
    if (crew->initializer_request.function == NULL) {
        fail(crew, "there is no such function");
        return;
    }
    pthread_mutex_unlock(&crew->mutex);
    run_call(&crew->initializer_request, &crew->initializer_state, yield);
    pthread_mutex_lock(&crew->mutex);
    if (yield->status != NETPOOL_OK) {
        fail(crew, yield->message);
    }
}

/* A small result is copied, so that the thread goes on with the same memory. */
static void take_result(struct crew_job *job, struct np_buffer *result)
{
    size_t size = np_buffer_size(result);
    if (size > sizeof job->small) {
        job->result = *result;
        *result = (struct np_buffer){0};
    } else if (size > 0) {
        memcpy(job->small, np_buffer_data(result), size);
        job->small_size = size;
    }
}

/* Books the outcome, locked; the job may have been answered meanwhile. */
static void finish_job(struct crew *crew, struct crew_job *job, struct yield *yield, int64_t started)
{
    if (job->is_answered) {
        crew_job_free(job);
        return;
    }
    job->status = yield->status;
    job->failed_item = yield->failed_item;
    take_result(job, &yield->result);
    job->message = yield->message[0] != '\0' ? strdup(yield->message) : NULL; /* NULL also without memory for it */
    if (job->is_cancelled) {
        job->status = NETPOOL_CANCELLED; /* it was told that nobody wants the result, and may have cut it short */
        np_buffer_clear(&job->result);
        job->small_size = 0;
    }
    job->compute_ns = (uint64_t)(np_clock_now() - started);
    np_list_remove(&job->node);
    crew_give_back(crew, job);
}

/* Locked, as all that follows. */
static void run_job(struct crew *crew, struct crew_job *job, struct yield *yield)
{
    int64_t started = np_clock_now();
    job->state = CREW_RUNNING;
    job->has_started = true;
    job->wait_ns = (uint64_t)(started - job->added);
    if (job->timeout_ms > 0 && job->timeout_ms < (uint64_t)(NP_NEVER / NP_NS_PER_MS / 2)) {
        job->answer_at = started + (int64_t)job->timeout_ms * NP_NS_PER_MS;
        crew->wake(crew->context); /* the owner's timer does not know of it yet */
    }
    np_list_push_back(&crew->running, &job->node);
    pthread_mutex_unlock(&crew->mutex);
    run_call(&job->request, &job->call_state, yield);
    pthread_mutex_lock(&crew->mutex);
    finish_job(crew, job, yield, started);
    np_buffer_clear(&yield->result);
    np_buffer_trim(&yield->result, RESULT_KEPT);
}

static int start_thread(struct crew *crew);

/* Whether another thread stands in for the caller, who has done his share. Without one he goes on. */
static bool is_replaced(struct crew *crew, unsigned jobs)
{
    return crew->max_jobs > 0 && jobs >= crew->max_jobs && !crew->is_ending && start_thread(crew) == 0;
}

static void *run_thread(void *context)
{
    struct crew *crew = context;
    struct yield yield = {.result = {0}};
    bool is_prepared = false;
    unsigned jobs = 0;
    bool is_over = false;
    pthread_mutex_lock(&crew->mutex);
    while (!crew->is_ending && !is_over) {
        if (np_list_is_empty(&crew->waiting)) {
            crew->idle++;
            pthread_cond_wait(&crew->work, &crew->mutex);
            crew->idle--;
        } else if (!is_prepared && crew->initializer[0] != '\0') {
            prepare(crew, &yield);
            is_prepared = true;
        } else {
            run_job(crew, crew_job_of(np_list_pop_front(&crew->waiting)), &yield);
            is_over = is_replaced(crew, ++jobs);
        }
    }
    crew->threads--;
    bool is_last = crew->threads == 0 && crew->is_abandoned;
    pthread_cond_signal(&crew->left);
    pthread_mutex_unlock(&crew->mutex);
    np_buffer_fini(&yield.result);
    if (is_last) {
        free_crew(crew);
    }
    return NULL;
}

/* Counted before it can end. Returns an error number. */
static int start_thread(struct crew *crew)
{
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    crew->threads++;
    int failed = pthread_create(&thread, NULL, run_thread, crew);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0) {
        pthread_detach(thread);
    } else {
        crew->threads--;
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
        pthread_mutex_lock(&crew->mutex);
        int failed = start_thread(crew);
        pthread_mutex_unlock(&crew->mutex);
        if (failed != 0) {
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
        atomic_store(&crew_job_of(node)->call_state.cancelled, 1);
    }
    atomic_store(&self->initializer_state.cancelled, 1);
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

netpool_status crew_prepare(struct crew *crew, const struct crew_preparation *preparation)
{
    size_t size = preparation->input.size;
    void *input = aligned_alloc(16, (size + 16) & ~(size_t)15);
    if (input == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    if (size > 0) {
        memcpy(input, preparation->input.data, size);
    }
    pthread_mutex_lock(&crew->mutex);
    assert(crew->initializer_request.input.data == NULL);
    (void)np_text_copy(crew->initializer, sizeof crew->initializer, preparation->initializer);
    crew->initializer_request = (struct call_request){.function = preparation->function,
                                                      .input = {.data = input, .size = size},
                                                      .attempt = 1,
                                                      .max_result = NP_PREPARE_MAX};
    crew->max_jobs = preparation->max_jobs;
    pthread_mutex_unlock(&crew->mutex);
    return NETPOOL_OK;
}
