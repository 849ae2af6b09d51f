#include "client/engine.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/spin.h"
#include "common/block.h"
#include "common/clock.h"
#include "common/error.h"

/* The I/O thread takes an abandoned lead after this long. */
#define PARK_NS NP_NS_PER_MS
/* Cancelled tasks get this long to end (a worker kills after 1 s) before the pool ends without them. */
#define CANCEL_GRACE_NS (3 * NP_NS_PER_S)

enum leader { NOBODY, IO_THREAD, CALLER };

struct engine {
    struct reactor *reactor;
    struct dialogue *dialogue;
    struct backend *backend;
    struct np_profile *profile;

    _Atomic(struct engine_request *) inbox; /* last one first; &closed_mark: no more are taken */
    struct engine_request closed_mark;
    atomic_bool sleeping; /* the leader is, or is about to be, in the reactor's wait */
    atomic_bool poked;    /* engine_wake was called since the leader last looked */
    atomic_uint slots;

    pthread_mutex_t mutex; /* the fields of this group */
    pthread_cond_t lead_changed;
    enum leader leader;
    bool granted; /* leader is CALLER, and the willing sleeper is to find out */
    bool park_is_untimed;
    uint64_t caller_leads; /* how often callers have led */
    struct event *willing; /* what the one sleeper that may lead waits for */
    atomic_uint sleepers;  /* callers asleep in engine_wait */
    atomic_bool lead_reserved;

    pthread_t thread;
    bool has_thread;
    struct event opened; /* signalled once, when `opening` is decided */
    netpool_error opening;

    /* the leader's */
    netpool_error failure; /* status not OK: the pool is not usable any more */
    bool is_opened;
    bool closing;
    struct spin spin;              /* of callers that wait for the one task there is */
    enum np_cancel cancel;         /* of the tasks that are left; set before cancel_request is posted */
    int64_t cancel_deadline;       /* NP_NEVER: no cancellation, or none that is pressed */
    struct engine_notice *notices; /* to be run, last one first */
    struct engine_request stop_request;
    struct engine_request cancel_request;
};

netpool_status engine_new(struct engine **out, const struct dialogue_config *config, struct backend *backend,
                          struct np_profile *profile, netpool_error *error)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        backend->operations->destroy(backend);
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    engine->backend = backend;
    engine->profile = profile;
    engine->cancel_deadline = NP_NEVER;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&engine->mutex, NULL);
    pthread_cond_init(&engine->lead_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    atomic_store(&engine->slots, backend->slots);
    spin_init(&engine->spin);
    netpool_status status = reactor_new(&engine->reactor, error);
    if (status == NETPOOL_OK) {
        status = dialogue_new(&engine->dialogue, config);
        if (status != NETPOOL_OK) {
            (void)np_error_set(error, status, "out of memory");
        }
    }
    if (status != NETPOOL_OK) {
        engine_destroy(&engine);
        return status;
    }
    *out = engine;
    return NETPOOL_OK;
}

void engine_destroy(struct engine **engine)
{
    struct engine *self = *engine;
    if (self == NULL) {
        return;
    }
    assert(!self->has_thread);
    if (self->backend != NULL) {
        self->backend->operations->destroy(self->backend);
    }
    dialogue_destroy(&self->dialogue);
    reactor_destroy(&self->reactor);
    pthread_cond_destroy(&self->lead_changed);
    pthread_mutex_destroy(&self->mutex);
    free(self);
    *engine = NULL;
}

static bool push(struct engine *engine, struct engine_request *request)
{
    struct engine_request *head = atomic_load(&engine->inbox);
    do {
        if (head == &engine->closed_mark) {
            return false;
        }
        request->next = head;
    } while (!atomic_compare_exchange_weak(&engine->inbox, &head, request));
    return true;
}

/* After saying, in the inbox or in `poked`, that there is something to look at. */
static void wake_if_sleeping(struct engine *engine)
{
    if (atomic_load(&engine->sleeping) && atomic_exchange(&engine->sleeping, false)) {
        reactor_wake(engine->reactor);
    }
}

bool engine_post(struct engine *engine, struct engine_request *request)
{
    if (!push(engine, request)) {
        return false;
    }
    wake_if_sleeping(engine);
    return true;
}

void engine_wake(struct engine *engine)
{
    atomic_store(&engine->poked, true);
    wake_if_sleeping(engine);
}

void engine_notify_later(struct engine *engine, struct engine_notice *notice)
{
    notice->next = engine->notices;
    engine->notices = notice;
}

static void run_notices(struct engine *engine)
{
    while (engine->notices != NULL) {
        struct engine_notice *notice = engine->notices;
        engine->notices = notice->next;
        notice->run(notice);
    }
}

/* Runs what was posted, oldest first; `replacement` is what stands in the inbox afterwards. */
static void run_requests(struct engine *engine, struct engine_request *replacement, int64_t now)
{
    if (replacement == NULL && atomic_load(&engine->inbox) == NULL) {
        return;
    }
    struct engine_request *newest = atomic_exchange(&engine->inbox, replacement);
    struct engine_request *oldest = NULL;
    while (newest != NULL) {
        struct engine_request *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct engine_request *next = oldest->next; /* running it may free it */
        oldest->run(oldest, engine->dialogue, now);
        oldest = next;
    }
}

/* First half of a turn: everything there is to say is said. */
static void speak(struct engine *engine, int64_t now)
{
    atomic_store(&engine->poked, false);
    run_requests(engine, NULL, now);
    if (engine->failure.status != NETPOOL_OK && dialogue_unfinished(engine->dialogue) > 0) {
        dialogue_fail(engine->dialogue, engine->failure.status, engine->failure.message, now);
    }
    if (engine->cancel_deadline <= now) {
        dialogue_fail(engine->dialogue, NETPOOL_CANCELLED, "the pool was terminated", now);
    }
    engine->backend->operations->flush(engine->backend, now);
    run_notices(engine);
}

static bool is_asked_for(struct engine *engine)
{
    return atomic_load(&engine->inbox) != NULL || atomic_load(&engine->poked);
}

static void sleep_until_ready(struct engine *engine, int64_t deadline)
{
    atomic_store(&engine->sleeping, true);
    reactor_turn(engine->reactor, is_asked_for(engine) ? 0 : deadline);
    atomic_store(&engine->sleeping, false);
}

/* Waits for the only task there is, without sleeping as long as that may pay. Whoever else wants this processor gets
 * it. */
static void look_and_sleep(struct engine *engine, int64_t deadline)
{
    int64_t begin = np_clock_now();
    int64_t now = begin;
    int64_t end = spin_pays(&engine->spin) ? np_earlier(deadline, begin + SPIN_MAX_NS) : begin;
    bool is_over = false;
    for (; !is_over && now < end; now = np_clock_now()) {
        is_over = reactor_turn(engine->reactor, 0) > 0 || is_asked_for(engine);
        if (!is_over) {
            (void)sched_yield();
        }
    }
    if (!is_over) {
        sleep_until_ready(engine, deadline);
        now = np_clock_now();
    }
    spin_note(&engine->spin, now - begin, now >= deadline);
}

/* Second half: waits for something to happen, and lets it. */
static void listen(struct engine *engine, int64_t deadline, bool on_io_thread)
{
    deadline = np_earlier(deadline, dialogue_deadline(engine->dialogue));
    deadline = np_earlier(deadline, engine->backend->operations->deadline(engine->backend));
    deadline = np_earlier(deadline, engine->cancel_deadline);
    if (!on_io_thread && dialogue_unfinished(engine->dialogue) == 1) {
        look_and_sleep(engine, deadline);
    } else {
        sleep_until_ready(engine, deadline);
    }
    int64_t now = np_clock_now();
    netpool_error error = {0};
    netpool_status status = dialogue_tick(engine->dialogue, now, &error);
    if (status != NETPOOL_OK) {
        engine->backend->operations->drop_link(engine->backend, status, error.message, now);
    }
    engine->backend->operations->tick(engine->backend, now, on_io_thread);
    run_notices(engine);
}

/* The only sleeper may lead instead of us: that saves it a hop. */
static bool grant_lead(struct engine *engine)
{
    if (atomic_load(&engine->sleepers) != 1 || atomic_load(&engine->lead_reserved)) {
        return false;
    }
    pthread_mutex_lock(&engine->mutex);
    bool grant =
        atomic_load(&engine->sleepers) == 1 && engine->willing != NULL && !atomic_load(&engine->lead_reserved);
    if (grant) {
        engine->leader = CALLER;
        engine->granted = true;
        event_poke(engine->willing);
    }
    pthread_mutex_unlock(&engine->mutex);
    return grant;
}

static void wait_for_change(struct engine *engine, int64_t timeout_ns)
{
    int64_t until = np_clock_now() + timeout_ns;
    struct timespec time = {.tv_sec = (time_t)(until / NP_NS_PER_S), .tv_nsec = (long)(until % NP_NS_PER_S)};
    (void)pthread_cond_timedwait(&engine->lead_changed, &engine->mutex, &time);
}

/* The I/O thread, locked, until it leads. While callers come and go it only looks in now and then, so that they need
 * not wake it each time. */
static void take_lead(struct engine *engine)
{
    while (engine->leader != NOBODY) {
        engine->park_is_untimed = true;
        pthread_cond_wait(&engine->lead_changed, &engine->mutex);
        engine->park_is_untimed = false;
        uint64_t seen = engine->caller_leads;
        while (engine->leader == NOBODY && atomic_load(&engine->sleepers) == 0 &&
               !atomic_load(&engine->lead_reserved)) {
            wait_for_change(engine, PARK_NS);
            if (seen == engine->caller_leads) {
                break;
            }
            seen = engine->caller_leads;
        }
    }
    engine->leader = IO_THREAD;
}

static bool is_done(struct engine *engine)
{
    return engine->closing && dialogue_unfinished(engine->dialogue) == 0;
}

static void *run_io_thread(void *context)
{
    struct engine *engine = context;
    bool done = false;
    np_block_add_reviewer();
    while (!done) {
        pthread_mutex_lock(&engine->mutex);
        take_lead(engine);
        pthread_mutex_unlock(&engine->mutex);
        do {
            speak(engine, np_clock_now());
            done = is_done(engine);
            if (!done) {
                listen(engine, NP_NEVER, true);
            }
        } while (!done && !grant_lead(engine));
    }
    run_requests(engine, &engine->closed_mark, np_clock_now());
    dialogue_fail(engine->dialogue, NETPOOL_CLOSED, "the pool was closed", np_clock_now());
    engine->backend->operations->flush(engine->backend, np_clock_now());
    run_notices(engine);
    np_block_remove_reviewer();
    engine->backend->operations->shutdown(engine->backend);
    return NULL;
}

static _Thread_local bool never_leads;

void engine_never_lead(void)
{
    never_leads = true;
}

static bool begin_to_lead(struct engine *engine)
{
    if (atomic_load(&engine->lead_reserved)) {
        return false;
    }
    pthread_mutex_lock(&engine->mutex);
    bool leads = engine->leader == NOBODY && !atomic_load(&engine->lead_reserved);
    if (leads) {
        engine->leader = CALLER;
    }
    pthread_mutex_unlock(&engine->mutex);
    return leads;
}

/* A caller leads until its event has come; at least one round, so that a look (deadline 0) does what can be done now.
 */
static void lead(struct engine *engine, struct event *event, uint32_t ticket, int64_t deadline)
{
    do {
        speak(engine, np_clock_now());
        if (event_is_past(event, ticket)) {
            break;
        }
        listen(engine, deadline, false);
    } while (!event_is_past(event, ticket) && np_clock_now() < deadline && !atomic_load(&engine->lead_reserved));
    if (!event_is_past(event, ticket) && !atomic_load(&engine->lead_reserved)) {
        speak(engine, np_clock_now()); /* what was heard last is not lost by the time-out */
    }
    pthread_mutex_lock(&engine->mutex);
    engine->leader = NOBODY;
    engine->caller_leads++;
    if (engine->park_is_untimed || atomic_load(&engine->sleepers) > 0 || atomic_load(&engine->lead_reserved)) {
        pthread_cond_signal(&engine->lead_changed);
    }
    pthread_mutex_unlock(&engine->mutex);
}

/* Consumes a grant for those who wait for this event; locked. */
static bool take_grant(struct engine *engine, const struct event *event)
{
    if (engine->willing != event) {
        return false;
    }
    bool granted = engine->granted;
    engine->willing = NULL;
    engine->granted = false;
    return granted;
}

/* Returns whether the lead was granted meanwhile. */
static bool sleep_until(struct engine *engine, struct event *event, uint32_t ticket, int64_t deadline, bool may_lead)
{
    pthread_mutex_lock(&engine->mutex);
    if (may_lead && engine->granted && take_grant(engine, event)) {
        pthread_mutex_unlock(&engine->mutex);
        return true; /* another thread that waits for the same was meant, and finds the lead taken */
    }
    atomic_fetch_add(&engine->sleepers, 1);
    if (may_lead && engine->willing == NULL) {
        engine->willing = event;
    }
    bool sleep = engine->leader != NOBODY || !may_lead || atomic_load(&engine->lead_reserved);
    if (engine->leader == NOBODY) {
        pthread_cond_signal(&engine->lead_changed); /* nobody else would end the sleep */
    }
    /* Under the lock, so that a grant made from now on ends the sleep. */
    sleep = sleep && event_prepare(event, ticket);
    pthread_mutex_unlock(&engine->mutex);
    if (sleep) {
        event_sleep(event, ticket, deadline);
    }
    pthread_mutex_lock(&engine->mutex);
    atomic_fetch_sub(&engine->sleepers, 1);
    bool granted = take_grant(engine, event);
    pthread_mutex_unlock(&engine->mutex);
    return granted;
}

bool engine_wait(struct engine *engine, struct event *event, uint32_t ticket, int64_t deadline, bool may_lead)
{
    may_lead = may_lead && !never_leads;
    while (!event_is_past(event, ticket)) {
        bool leads = may_lead && begin_to_lead(engine);
        if (!leads && np_clock_now() < deadline) {
            leads = sleep_until(engine, event, ticket, deadline, may_lead);
        }
        if (leads) {
            lead(engine, event, ticket, deadline);
        }
        if (np_clock_now() >= deadline) {
            return event_is_past(event, ticket);
        }
    }
    return true;
}

netpool_status engine_start(struct engine *engine, netpool_error *error)
{
    netpool_status status = engine->backend->operations->start(engine->backend, engine, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&engine->thread, NULL, run_io_thread, engine);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        engine->backend->operations->shutdown(engine->backend);
        return np_error_set(error, NETPOOL_SYSTEM, "cannot start a thread: %s", strerror(failed));
    }
    engine->has_thread = true;
    (void)engine_wait(engine, &engine->opened, 0, NP_NEVER, false);
    if (engine->opening.status != NETPOOL_OK) {
        engine_stop(engine, NP_CANCEL_ALWAYS);
        return np_error_set(error, engine->opening.status, "%s", engine->opening.message);
    }
    return NETPOOL_OK;
}

static void run_stop(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    (void)dialogue;
    (void)now;
    NP_CONTAINER(request, struct engine, stop_request)->closing = true;
}

static void run_cancel(struct engine_request *request, struct dialogue *dialogue, int64_t now)
{
    struct engine *engine = NP_CONTAINER(request, struct engine, cancel_request);
    if (engine->cancel == NP_CANCEL_ALWAYS) {
        engine->cancel_deadline = now + CANCEL_GRACE_NS;
    }
    dialogue_cancel_all(dialogue, engine->cancel, now);
}

void engine_stop(struct engine *engine, enum np_cancel cancel)
{
    if (!engine->has_thread) {
        return;
    }
    engine_reserve_lead(engine, true);
    if (cancel != NP_CANCEL_NONE) {
        engine->cancel = cancel;
        engine->cancel_request.run = run_cancel;
        (void)!push(engine, &engine->cancel_request);
    }
    engine->stop_request.run = run_stop;
    (void)!engine_post(engine, &engine->stop_request);
    reactor_wake(engine->reactor);
    pthread_join(engine->thread, NULL);
    engine->has_thread = false;
}

struct reactor *engine_reactor(struct engine *engine)
{
    return engine->reactor;
}

struct dialogue *engine_dialogue(struct engine *engine)
{
    return engine->dialogue;
}

netpool_status engine_receive(struct engine *engine, struct np_message *message, netpool_error *error)
{
    int64_t now = np_clock_now();
    netpool_status status = dialogue_receive(engine->dialogue, message, now, error);
    profile_book_serializing(engine->profile, np_clock_now() - now);
    return status;
}

netpool_status engine_flush(struct engine *engine, const struct dialogue_output *output, size_t room, int64_t now)
{
    if (!dialogue_has_output(engine->dialogue)) {
        return NETPOOL_OK;
    }
    int64_t begin = np_clock_now();
    netpool_status status = dialogue_flush(engine->dialogue, output, room, now);
    profile_book_serializing(engine->profile, np_clock_now() - begin);
    return status;
}

void engine_opened(struct engine *engine)
{
    if (!engine->is_opened) {
        engine->is_opened = true;
        event_signal(&engine->opened);
    }
}

void engine_fail(struct engine *engine, netpool_status status, const char *reason)
{
    if (engine->failure.status == NETPOOL_OK) {
        (void)np_error_set(&engine->failure, status, "%s", reason);
    }
    engine_wake(engine); /* the tasks end in the next turn, and nothing else may be going to happen */
    if (!engine->is_opened) {
        engine->opening = engine->failure;
        engine_opened(engine);
    }
}

void engine_give_up(struct engine *engine, netpool_status status, const char *reason, int64_t now)
{
    dialogue_fail(engine->dialogue, status, reason, now);
}

void engine_reserve_lead(struct engine *engine, bool reserved)
{
    if (!reserved && engine->closing) {
        return; /* whoever closes the pool has reserved it for good */
    }
    if (atomic_exchange(&engine->lead_reserved, reserved) != reserved && reserved) {
        pthread_mutex_lock(&engine->mutex);
        pthread_cond_signal(&engine->lead_changed);
        pthread_mutex_unlock(&engine->mutex);
    }
}

unsigned engine_slots(const struct engine *engine)
{
    return atomic_load(&engine->slots);
}

struct np_heap *engine_heap(const struct engine *engine)
{
    return engine->backend->heap;
}

void engine_set_slots(struct engine *engine, unsigned slots)
{
    atomic_store(&engine->slots, slots);
}
