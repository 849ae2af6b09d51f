/* The jobs of a crew on their way: all that its owner does about them, and what threads answer. */
#include <stdlib.h>
#include <string.h>

#include "client/places/crew_state.h"
#include "common/block.h"
#include "common/clock.h"

struct crew_job *crew_job_new(const void *input, size_t input_size, bool is_block)
{
    size_t copied = is_block ? 0 : input_size;
    struct crew_job *job = aligned_alloc(16, (sizeof *job + copied + 15) & ~(size_t)15);
    if (job == NULL) {
        return NULL;
    }
    memset(job, 0, sizeof *job);
    if (is_block) {
        job->block = np_block_share(input);
    } else if (input_size > 0) {
        memcpy(job->input, input, input_size);
    }
    job->request.input = (netpool_bytes){.data = is_block ? job->block : job->input, .size = input_size};
    job->answer_at = NP_NEVER;
    np_list_init(&job->node);
    return job;
}

void crew_job_free(struct crew_job *job)
{
    np_block_free(job->block);
    np_buffer_fini(&job->result);
    free(job->message);
    free(job);
}

void crew_give_back(struct crew *crew, struct crew_job *job)
{
    job->state = CREW_DONE;
    bool is_first = np_list_is_empty(&crew->done);
    np_list_push_back(&crew->done, &job->node);
    if (is_first && !crew->is_abandoned) {
        crew->wake(crew->context);
    }
}

void crew_refuse(struct crew *crew, struct crew_job *job)
{
    job->status = NETPOOL_NOT_INITIALIZED;
    job->message = strdup(crew->failure); /* NULL without memory for it */
    crew_give_back(crew, job);
}

/* Locked. */
static void add(struct crew *crew, struct crew_job *job, int64_t now)
{
    job->added = now;
    if (crew->has_failed) {
        crew_refuse(crew, job);
    } else {
        job->state = CREW_WAITING;
        np_list_push_back(&crew->waiting, &job->node);
    }
}

void crew_add(struct crew *crew, struct np_list *jobs)
{
    int64_t now = np_clock_now();
    unsigned count = 0;
    pthread_mutex_lock(&crew->mutex);
    for (struct np_list *node = np_list_pop_front(jobs); node != NULL; node = np_list_pop_front(jobs)) {
        add(crew, crew_job_of(node), now);
        if (count++ < crew->idle) {
            pthread_cond_signal(&crew->work);
        }
    }
    pthread_mutex_unlock(&crew->mutex);
}

void crew_take(struct crew *crew, struct np_list *jobs)
{
    pthread_mutex_lock(&crew->mutex);
    np_list_splice_back(jobs, &crew->done);
    pthread_mutex_unlock(&crew->mutex);
}

/* The caller's answer in place of a running job that does not return: a stand-in that takes its name along. */
static void answer(struct crew *crew, struct crew_job *job, netpool_status status)
{
    struct crew_job *stand_in = crew_job_new(NULL, 0, false);
    if (stand_in == NULL) {
        job->answer_at = np_clock_now() + 10 * NP_NS_PER_MS; /* no memory now: tried again */
        return;
    }
    memcpy(stand_in->session, job->session, sizeof stand_in->session);
    stand_in->seq = job->seq;
    stand_in->attempt = job->attempt;
    stand_in->status = status;
    stand_in->state = CREW_DONE;
    stand_in->has_started = true;
    stand_in->wait_ns = job->wait_ns;
    stand_in->failed_item = atomic_load(&job->call_state.item);
    np_list_push_back(&crew->done, &stand_in->node);
    atomic_store(&job->call_state.cancelled, 1);
    job->is_answered = true;
    np_list_remove(&job->node);
}

static struct crew_job *find(struct np_list *list, const uint8_t session[NP_SESSION_SIZE], uint64_t seq)
{
    NP_LIST_EACH(node, list) {
        struct crew_job *job = crew_job_of(node);
        if (job->seq == seq && memcmp(job->session, session, sizeof job->session) == 0) {
            return job;
        }
    }
    return NULL;
}

bool crew_cancel_waiting(struct crew *crew, const uint8_t session[NP_SESSION_SIZE], uint64_t seq)
{
    pthread_mutex_lock(&crew->mutex);
    struct crew_job *job = find(&crew->waiting, session, seq);
    if (job != NULL) {
        job->status = NETPOOL_CANCELLED;
        job->state = CREW_DONE;
        np_list_remove(&job->node);
        np_list_push_back(&crew->done, &job->node);
    }
    pthread_mutex_unlock(&crew->mutex);
    return job != NULL;
}

bool crew_cancel(struct crew *crew, const uint8_t session[NP_SESSION_SIZE], uint64_t seq, int64_t now,
                 int64_t grace_ns)
{
    if (crew_cancel_waiting(crew, session, seq)) {
        return true;
    }
    pthread_mutex_lock(&crew->mutex); /* it may have been started meanwhile, but no other way leads out of there */
    struct crew_job *job = find(&crew->running, session, seq);
    if (job != NULL) {
        atomic_store(&job->call_state.cancelled, 1);
        job->is_cancelled = true;
        job->answer_at = np_earlier(job->answer_at, now + grace_ns);
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
    return last != NULL ? crew_job_of(last) : NULL;
}

size_t crew_take_progress(struct crew *crew, uint64_t *seqs, uint64_t *done, uint64_t *total, size_t most)
{
    size_t count = 0;
    pthread_mutex_lock(&crew->mutex);
    NP_LIST_EACH(node, &crew->running) {
        struct crew_job *job = crew_job_of(node);
        uint64_t job_done = atomic_load(&job->call_state.done);
        uint64_t job_total = atomic_load(&job->call_state.total);
        if (count < most && (job_done != job->told_done || job_total != job->told_total)) {
            seqs[count] = job->seq;
            done[count] = job->told_done = job_done;
            total[count] = job->told_total = job_total;
            count++;
        }
    }
    pthread_mutex_unlock(&crew->mutex);
    return count;
}

bool crew_is_busy(struct crew *crew)
{
    pthread_mutex_lock(&crew->mutex);
    bool is_busy = !np_list_is_empty(&crew->waiting) || !np_list_is_empty(&crew->running);
    pthread_mutex_unlock(&crew->mutex);
    return is_busy;
}

void crew_tick(struct crew *crew, int64_t now)
{
    pthread_mutex_lock(&crew->mutex);
    NP_LIST_EACH(node, &crew->running) {
        struct crew_job *job = crew_job_of(node);
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
        next = np_earlier(next, crew_job_of(node)->answer_at);
    }
    pthread_mutex_unlock(&crew->mutex);
    return next;
}
