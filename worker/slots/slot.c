#include "worker/slots/slot.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/slots/executors.h"
#include "worker/slots/slot_blocks.h"
#include "worker/slots/slot_prepare.h"
#include "worker/slots/slot_results.h"

#define REKILL_NS NP_NS_PER_S
#define REST_FIRST_NS (10 * NP_NS_PER_MS)
#define REST_MAX_NS (2 * NP_NS_PER_S)

enum {
    FORKS_PENDING_MAX = 8,        /* requests on their way, each with four descriptors */
    OUTPUT_PER_EVENT = 64 * 1024, /* bytes read from one executor's pipe before others have their turn */
};

void slot_init(struct slot *slot, struct executors *executors, unsigned index)
{
    *slot = (struct slot){.executors = executors,
                          .index = index,
                          .heap = executors->heap,
                          .deadline = NP_NEVER,
                          .cancel_at = NP_NEVER,
                          .bell = {.fd = -1},
                          .output = {.fd = -1}};
    np_list_init(&slot->fed);
    np_list_init(&slot->ready_node);
}

static void close_source(struct slot *slot, struct reactor_source *source)
{
    reactor_remove(slot->executors->reactor, source);
    if (source->fd >= 0) {
        close(source->fd);
        source->fd = -1;
    }
}

/* Everything that belongs to one executor process. */
static void clear(struct slot *slot)
{
    close_source(slot, &slot->bell);
    close_source(slot, &slot->output);
    share_unmap(&slot->share);
    slot_results_drop(slot);
    slot_blocks_drop(slot);
    if (slot->heap != slot->executors->heap) {
        np_heap_leave(slot->heap);
        slot->heap = NULL;
    }
    slot->writing = NULL;
    slot->write_size = slot->written = 0;
    slot->is_stalled = false;
    slot->pid = 0;
    slot->given = slot->answered = 0;
    slot->is_retiring = false;
    slot->next_number = slot->started = 0;
    slot->end_status = NETPOOL_OK;
    slot->deadline = slot->cancel_at = NP_NEVER;
    slot->state = SLOT_EMPTY;
    tail_clear(&slot->tail);
}

void slot_fini(struct slot *slot)
{
    clear(slot);
    np_list_remove(&slot->ready_node);
}

/* Edge-triggered: each ring is an event, and nobody reads how many there were. */
static void bell_rang(struct reactor_source *source, uint32_t events)
{
    (void)events;
    struct slot *slot = NP_CONTAINER(source, struct slot, bell);
    executors_mark_ready(slot->executors, slot);
}

static void output_came(struct reactor_source *source, uint32_t events)
{
    (void)events;
    struct slot *slot = NP_CONTAINER(source, struct slot, output);
    if (!tail_read(&slot->tail, source->fd, OUTPUT_PER_EVENT, slot->executors->forward_fd)) {
        close_source(slot, source); /* the executor closed its output; what it prints goes nowhere */
    }
}

static netpool_status watch(struct slot *slot, struct executor_fds *fds)
{
    int ends[2];
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell < 0 ||
        reactor_add(slot->executors->reactor, &slot->bell, bell, EPOLLIN | EPOLLET, bell_rang) != NETPOOL_OK) {
        if (bell >= 0) {
            close(bell);
        }
        slot->bell.fd = -1;
        return NETPOOL_SYSTEM;
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return NETPOOL_SYSTEM;
    }
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fds->bell = bell;
    fds->output = ends[1];
    netpool_status status = reactor_add(slot->executors->reactor, &slot->output, ends[0], EPOLLIN, output_came);
    if (status != NETPOOL_OK) {
        slot->output.fd = -1;
        close(ends[0]);
    }
    return status;
}

/* The first failure costs no time, a series of them more and more. */
static void rest(struct slot *slot, int64_t now)
{
    int64_t pause = 0;
    if (slot->failed_starts > 1) {
        unsigned doublings = slot->failed_starts - 2 < 10 ? slot->failed_starts - 2 : 10;
        pause = REST_FIRST_NS << doublings;
        pause = pause < REST_MAX_NS ? pause : REST_MAX_NS;
    }
    slot->rest_until = now + pause;
    executors_set_deadline(slot->executors, slot->rest_until);
}

static void note_failed_start(struct slot *slot, int error, int64_t now)
{
    slot->executors->has_failed_start = true;
    slot->executors->start_error = error;
    slot->failed_starts++;
    rest(slot, now);
}

void slot_start(struct slot *slot, int64_t now)
{
    assert(slot->state == SLOT_EMPTY && np_list_is_empty(&slot->fed) && slot->waiting == NULL);
    slot->executor = ++slot->executors->last_executor;
    if (slot->executors->has_own_heaps) {
        slot->heap = np_heap_new_guarded();
    }
    struct executor_fds fds = {
        .share = -1, .bell = -1, .output = -1, .heap = slot->heap != NULL ? np_heap_fd(slot->heap) : -1};
    netpool_status status = share_new(&slot->share, &fds.share);
    if (status == NETPOOL_OK) {
        ring_init(&slot->tasks, &slot->share->tasks, share_task_bytes(slot->share), SHARE_RING_SIZE);
        ring_init(&slot->results, &slot->share->results, share_result_bytes(slot->share), SHARE_RING_SIZE);
        share_arm_bell(slot->share, SHARE_BELL_RESULTS);
        status = watch(slot, &fds);
    }
    if (status == NETPOOL_OK) {
        status = zygote_fork(slot->executors->zygote, slot->index, &fds);
    }
    if (status == NETPOOL_OK) {
        slot->state = SLOT_STARTING;
        slot->executors->forks_pending++;
    } else {
        int failure = errno;
        np_log(NP_LOG_WARNING, "worker", "executor %u cannot be started: %s", slot->index, strerror(failure));
        clear(slot);
        note_failed_start(slot, failure, now);
    }
    if (fds.share >= 0) {
        close(fds.share);
    }
    if (fds.output >= 0) {
        close(fds.output);
    }
}

static void move(struct slot *slot, int64_t now)
{
    while (slot->share != NULL) {
        slot_results_take(slot, now, false);
        slot_write_on(slot);
        if (slot->results.is_broken || slot->tasks.is_broken) {
            slot_kill(slot, NETPOOL_CRASHED, now);
            return;
        }
        uint32_t reasons = slot->is_stalled ? 0 : SHARE_BELL_RESULTS;
        reasons |= slot->write_size > 0 ? SHARE_BELL_ROOM : 0U;
        share_arm_bell(slot->share, reasons);
        bool more_results = !slot->is_stalled && slot_results_can_move(slot);
        bool more_room = slot->write_size > 0 && ring_room(&slot->tasks, 1) > 0;
        if (!more_results && !more_room) {
            return;
        }
    }
}

void slot_turn(struct slot *slot, int64_t now)
{
    move(slot, now);
    if (slot->is_retiring && slot->fed_count == 0) {
        slot_kill(slot, NETPOOL_CLOSED, now);
    }
}

void slot_cancel_head(struct slot *slot, int64_t kill_at)
{
    struct task *head = slot_head(slot);
    assert(head != NULL);
    if (!head->is_cancelled) {
        head->is_cancelled = true;
        if (slot->state != SLOT_DYING) {
            slot->cancel_at = kill_at;
            executors_set_deadline(slot->executors, kill_at);
        }
        atomic_store(&slot->share->call.cancelled, 1);
    }
}

void slot_kill(struct slot *slot, netpool_status status, int64_t now)
{
    if (slot->state != SLOT_STARTING && slot->state != SLOT_LIVE) {
        return;
    }
    if (!slot->tasks.is_broken) {
        slot_take_back(slot); /* or the next task would start and be killed in its stead */
    }
    slot->state = SLOT_DYING;
    slot->end_status = status;
    slot->cancel_at = NP_NEVER; /* a past deadline that nobody acts on would keep the event loop spinning */
    zygote_kill(slot->executors->zygote, slot->index); /* repeated at the deadline if it did not go */
    slot->deadline = now + REKILL_NS;
    executors_set_deadline(slot->executors, slot->deadline);
}

/* The task's own time runs from its start, which the executor tells; it can only have been after head_since. */
static void check_timeout(struct slot *slot, const struct task *head, int64_t now)
{
    int64_t start = now;
    if (slot_is_running(slot)) {
        start = atomic_load(&slot->share->started_ns);
        start = start < slot->head_since ? slot->head_since : start > now ? now : start;
    }
    if (now - start >= head->batch->timeout_ns) {
        slot_kill(slot, NETPOOL_DEADLINE, now);
    } else {
        slot->deadline = start + head->batch->timeout_ns;
    }
}

static void check_head(struct slot *slot, int64_t now)
{
    slot_results_take(slot, now, true); /* whatever is done by now has kept its time */
    const struct task *head = slot_head(slot);
    if (now >= slot->cancel_at) {
        slot_kill(slot, NETPOOL_CANCELLED, now);
    } else if (head != NULL && now >= slot->deadline) {
        check_timeout(slot, head, now);
    }
}

void slot_check(struct slot *slot, int64_t now)
{
    if (slot->state == SLOT_EMPTY) {
        if (now >= slot->rest_until && slot->executors->forks_pending < FORKS_PENDING_MAX) {
            slot_start(slot, now);
        }
    } else if (slot->state == SLOT_DYING) {
        if (now >= slot->deadline) {
            zygote_kill(slot->executors->zygote, slot->index);
            slot->deadline = now + REKILL_NS;
        }
    } else if (now >= slot->cancel_at || now >= slot->deadline) {
        check_head(slot, now);
    }
    if (slot->state == SLOT_EMPTY && now >= slot->rest_until) {
        return; /* its turn comes when an earlier fork is done */
    }
    executors_set_deadline(slot->executors, slot->state == SLOT_EMPTY ? slot->rest_until : slot->deadline);
    executors_set_deadline(slot->executors, slot->cancel_at);
}

void slot_forked(struct slot *slot, uint32_t pid)
{
    slot->executors->forks_pending--;
    slot->executors->forks++;
    slot->pid = pid;
    if (slot->state == SLOT_STARTING) {
        slot->state = SLOT_LIVE;
    }
}

void slot_fork_failed(struct slot *slot, int error, int64_t now)
{
    np_log(NP_LOG_WARNING, "worker", "executor %u cannot be forked: %s", slot->index, strerror(error));
    slot->executors->forks_pending--;
    slot->started = 0;
    slot_take_back(slot);
    clear(slot);
    note_failed_start(slot, error, now);
}

void slot_exited(struct slot *slot, int wait_status, int64_t now)
{
    slot_results_take(slot, now, true);
    if (slot->output.fd >= 0) {
        (void)tail_read(&slot->tail, slot->output.fd, 4 * OUTPUT_PER_EVENT, slot->executors->forward_fd);
    }
    bool has_started = atomic_load(&slot->share->claim) != 0;
    bool was_running = slot_is_running(slot);
    if (!was_running && slot->tasks.is_broken && slot_head(slot) != NULL) {
        was_running = true; /* it told nonsense, so its word for not having started does not count */
    }
    if (was_running) {
        slot_results_settle_crash(slot, wait_status, now);
    }
    while (!np_list_is_empty(&slot->fed)) {
        slot_unfeed(slot, NP_CONTAINER(slot->fed.previous, struct task, node));
    }
    slot_stop_waiting(slot);
    bool was_killed = slot->end_status != NETPOOL_OK;
    if (!was_killed) {
        slot->executors->crashes++;
    }
    clear(slot);
    if (has_started || was_killed) {
        slot->failed_starts = 0;
        rest(slot, now);
    } else {
        note_failed_start(slot, 0, now);
    }
}
