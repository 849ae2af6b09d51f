#include "worker/slots/executors.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/heap.h"
#include "worker/fatal.h"
#include "worker/slots/slot_blocks.h"
#include "worker/slots/slot_head.h"
#include "worker/slots/slot_prepare.h"
#include "worker/slots/slot_results.h"

#define AHEAD_NS (200 * NP_NS_PER_US)     /* work an executor is given ahead */
#define LONG_TASK_NS NP_NS_PER_MS         /* nothing is fed behind or as one of these */
#define STRAGGLER_NS (300 * NP_NS_PER_US) /* a head that runs for so long has nothing waiting behind it */
#define LOOK_NS (500 * NP_NS_PER_MS)

enum { AHEAD_MAX = 512 /* tasks */ };

static void zygote_spoke(struct reactor_source *source, uint32_t events)
{
    (void)events;
    /* executors_turn reads it, after the other sources of this turn */
    NP_CONTAINER(source, struct executors, zygote_source)->zygote_has_spoken = true;
}

/* Each slot has a bell and a pipe, and now and then others want some. */
static bool has_descriptors_for_heaps(unsigned slots)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= 4 * (rlim_t)slots + 64;
}

netpool_status executors_init(struct executors *executors, const struct executors_options *options,
                              netpool_error *error)
{
    *executors = (struct executors){
        .reactor = options->reactor,
        .zygote = options->zygote,
        .outbox = options->outbox,
        .slot_count = options->slots,
        .function_count = options->functions,
        .deadline = 0,
        .balance_at = NP_NEVER,
        .look_at = NP_NEVER,
        .progress_at = NP_NEVER,
        .review_at = NP_NEVER,
        .heap = options->heap,
        .has_own_heaps = options->heap == NULL && has_descriptors_for_heaps(options->slots),
        .max_payload = options->max_payload,
        .max_tasks = options->max_tasks,
        .cancel_grace_ns = options->cancel_grace_ns,
        .forward_fd = options->forward_fd,
        .slots = fatal_if_null(calloc(options->slots, sizeof(struct slot))),
        .estimates_ns = fatal_if_null(calloc(options->functions + 1, sizeof(int64_t))),
    };
    np_list_init(&executors->queue);
    np_list_init(&executors->ready);
    preparations_init(&executors->preparations, options->slots);
    postmortems_init(&executors->postmortems, options->reactor, options->zygote, options->outbox);
    memory_killer_init(&executors->memory_killer);
    for (unsigned i = 0; i < options->slots; i++) {
        slot_init(&executors->slots[i], executors, i);
    }
    if (reactor_add(executors->reactor, &executors->zygote_source, options->zygote->fd, EPOLLIN, zygote_spoke) !=
        NETPOOL_OK) {
        executors_fini(executors);
        return np_error_system(error, "cannot watch the zygote");
    }
    return NETPOOL_OK;
}

struct task *executors_pop(struct executors *executors, struct np_list *node)
{
    np_list_remove(node);
    executors->queued--;
    return NP_CONTAINER(node, struct task, node);
}

void executors_fini(struct executors *executors)
{
    for (unsigned i = 0; i < executors->slot_count; i++) {
        struct slot *slot = &executors->slots[i];
        NP_LIST_EACH(node, &slot->fed) {
            struct task *task = NP_CONTAINER(node, struct task, node);
            slot_remove_task(slot, task);
            batch_release(task);
        }
        if (slot->waiting != NULL) {
            batch_release(slot->waiting);
            slot->waiting = NULL;
        }
        slot_fini(slot);
    }
    NP_LIST_EACH(node, &executors->queue) {
        batch_release(executors_pop(executors, node));
    }
    postmortems_fini(&executors->postmortems);
    preparations_fini(&executors->preparations);
    reactor_remove(executors->reactor, &executors->zygote_source);
    free(executors->slots);
    free(executors->estimates_ns);
    executors->slots = NULL;
    executors->slot_count = 0;
}

void executors_mark_ready(struct executors *executors, struct slot *slot)
{
    if (!slot->is_ready) {
        slot->is_ready = true;
        np_list_push_back(&executors->ready, &slot->ready_node);
    }
}

void executors_requeue(struct executors *executors, struct task *task)
{
    np_list_push_front(&executors->queue, &task->node);
    executors->queued++;
}

void executors_end_unstarted(struct executors *executors, struct task *task, netpool_status status,
                             const char *message)
{
    struct outbox_failure failure = {.message = message};
    struct outbox_result result = {.task = task, .status = status, .failure = &failure};
    (void)outbox_add(executors->outbox, &result);
    batch_release(task);
}

void executors_assign(struct executors *executors, struct batch *batch)
{
    const uint32_t count = batch->count; /* the batch may be gone after its last task */
    const bool is_unknown = batch->function == TASK_NO_FUNCTION;
    batch->preparation = preparations_find(&executors->preparations, batch->session);
    preparation_use(batch->preparation);
    const char *failure = batch->preparation != NULL ? batch->preparation->failure : NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct task *task = &batch->tasks[i];
        if (is_unknown) {
            executors_end_unstarted(executors, task, NETPOOL_NO_SUCH_FUNCTION,
                                    netpool_status_text(NETPOOL_NO_SUCH_FUNCTION));
        } else if (failure != NULL) {
            executors_end_unstarted(executors, task, NETPOOL_NOT_INITIALIZED, failure);
        } else {
            np_list_push_back(&executors->queue, &task->node);
            executors->queued++;
        }
    }
}

bool executors_prepare(struct executors *executors, const struct preparation_order *order, int64_t now)
{
    const struct preparation *known = preparations_find(&executors->preparations, order->session);
    if (known != NULL && !preparation_is(known, order)) {
        executors_forget(executors, order->session, now);
    }
    return preparations_put(&executors->preparations, order);
}

void executors_refuse_unprepared(struct executors *executors, const struct preparation *preparation)
{
    NP_LIST_EACH(node, &executors->queue) {
        if (NP_CONTAINER(node, struct task, node)->batch->preparation == preparation) {
            executors_end_unstarted(executors, executors_pop(executors, node), NETPOOL_NOT_INITIALIZED,
                                    preparation->failure);
        }
    }
}

static void hear_zygote(struct executors *executors, int64_t now)
{
    struct zygote_event event;
    netpool_status status;
    while ((status = zygote_receive(executors->zygote, &event)) == NETPOOL_OK) {
        assert(event.slot < executors->slot_count);
        struct slot *slot = &executors->slots[event.slot];
        if (event.kind == ZYGOTE_FORKED) {
            slot_forked(slot, (uint32_t)event.pid);
            executors_set_deadline(executors, now); /* others may wait for their turn to start */
        } else if (event.kind == ZYGOTE_FORK_FAILED) {
            slot_fork_failed(slot, event.wait_status, now);
        } else if (event.kind == ZYGOTE_EXITED) {
            slot_exited(slot, event.wait_status, now);
        }
    }
    if (status == NETPOOL_CLOSED) {
        executors->zygote_is_gone = true;
        reactor_remove(executors->reactor, &executors->zygote_source);
    }
}

static int64_t estimate(const struct executors *executors, const struct task *task)
{
    int64_t seen = executors->estimates_ns[task->batch->function];
    return seen == 0 ? LONG_TASK_NS : seen < TASK_ESTIMATE_MAX ? seen : TASK_ESTIMATE_MAX;
}

static bool is_feedable(const struct slot *slot)
{
    if ((slot->state != SLOT_LIVE && slot->state != SLOT_STARTING) || slot->tasks.is_broken) {
        return false;
    }
    return np_list_is_empty(&slot->fed) || !NP_CONTAINER(slot->fed.next, struct task, node)->is_cancelled;
}

static bool may_go_ahead(const struct slot *slot, int64_t task_ns, int64_t now)
{
    return task_ns < LONG_TASK_NS && slot->ahead_ns + task_ns <= AHEAD_NS && slot->fed_count < AHEAD_MAX &&
           now - slot->head_since < STRAGGLER_NS;
}

/* Feeds the slot up to `limit` tasks. False when the queue is empty. */
static bool feed_slot(struct executors *executors, struct slot *slot, size_t limit, int64_t now)
{
    const size_t most = limit;
    while (executors->queued > 0 && limit > 0 && is_feedable(slot)) {
        struct np_list *node = executors->queue.next;
        struct task *task = NP_CONTAINER(node, struct task, node);
        int64_t task_ns = estimate(executors, task);
        bool is_prepared = slot_is_prepared(slot, task);
        if (!slot_may_take(slot, task) || (slot->fed_count > 0 && is_prepared && !may_go_ahead(slot, task_ns, now))) {
            break;
        }
        (void)executors_pop(executors, node);
        task->estimate_ns = (uint32_t)task_ns & TASK_ESTIMATE_MAX;
        if (!(is_prepared ? slot_feed(slot, task, now) : slot_prepare(slot, task, now))) {
            executors_requeue(executors, task);
            break;
        }
        limit--;
    }
    if (limit < most && slot->fed_count > 1) {
        slot_show_fed(slot); /* all at once: each would cost a fence */
    }
    return executors->queued > 0;
}

/* First one task for each idle executor, then their shares ahead. */
static void feed(struct executors *executors, int64_t now)
{
    assert(executors->slot_count > 0);
    if (executors->is_paused || executors->queued == 0) {
        return;
    }
    for (unsigned i = 0; i < executors->slot_count && executors->busy < executors->slot_count; i++) {
        struct slot *slot = &executors->slots[i];
        if (slot->fed_count == 0 && !feed_slot(executors, slot, 1, now)) {
            return;
        }
    }
    size_t share = executors->queued / executors->slot_count + 1;
    for (unsigned i = 0; i < executors->slot_count; i++) {
        if (!feed_slot(executors, &executors->slots[i], share, now)) {
            return;
        }
    }
}

/* What waits behind a task that takes longer than thought goes to executors that are idle. */
static void balance(struct executors *executors, int64_t now)
{
    bool is_uneven = executors->queued == 0 && executors->busy < executors->slot_count &&
                     executors->fed > executors->busy && !executors->is_paused;
    if (!is_uneven) {
        executors->balance_at = NP_NEVER;
        return;
    }
    if (executors->balance_at == NP_NEVER) {
        executors->balance_at = now + STRAGGLER_NS;
    }
    if (now < executors->balance_at) {
        return;
    }
    executors->balance_at = now + STRAGGLER_NS;
    for (unsigned i = 0; i < executors->slot_count; i++) {
        struct slot *slot = &executors->slots[i];
        if (slot->fed_count > 1 && now - slot->head_since >= STRAGGLER_NS) {
            slot_take_back(slot);
        }
    }
    feed(executors, now);
}

static void check_slots(struct executors *executors, int64_t now)
{
    if (now < executors->deadline) {
        return;
    }
    executors->deadline = NP_NEVER;
    for (unsigned i = 0; i < executors->slot_count; i++) {
        slot_check(&executors->slots[i], now);
    }
}

/* A function that writes over the shared memory may wipe out the bell, too. */
static void look_at_busy(struct executors *executors, int64_t now)
{
    if (executors->busy == 0) {
        executors->look_at = NP_NEVER;
    } else if (now >= executors->look_at || executors->look_at == NP_NEVER) {
        for (unsigned i = 0; i < executors->slot_count && executors->look_at != NP_NEVER; i++) {
            if (executors->slots[i].fed_count > 0) {
                executors_mark_ready(executors, &executors->slots[i]);
                executors->progress_at = now;
            }
        }
        executors->look_at = now + LOOK_NS;
    }
}

static void review_shared_heap(struct executors *executors, int64_t now)
{
    const bool begins = np_heap_review(executors->heap, now);
    for (unsigned i = 0; i < executors->slot_count && begins; i++) {
        slot_blocks_review(&executors->slots[i]);
    }
    executors->review_at = np_heap_deadline(executors->heap);
}

/* One at a time, as it may take a while. */
static void review_own_heaps(struct executors *executors, int64_t now)
{
    const unsigned first = executors->reviewed + 1;
    bool is_done = false;
    executors->review_at = NP_NEVER;
    for (unsigned i = 0; i < executors->slot_count; i++) {
        const unsigned index = (first + i) % executors->slot_count;
        struct slot *slot = &executors->slots[index];
        if (!is_done && now >= np_heap_deadline(slot->heap)) {
            executors->reviewed = index;
            is_done = true;
            if (np_heap_review(slot->heap, now)) {
                slot_blocks_review(slot);
            }
        }
        executors->review_at = np_earlier(executors->review_at, np_heap_deadline(slot->heap));
    }
}

static void review_heaps(struct executors *executors, int64_t now)
{
    if (now >= executors->review_at) {
        if (executors->heap != NULL) {
            review_shared_heap(executors, now);
        } else {
            review_own_heaps(executors, now);
        }
    }
}

void executors_turn(struct executors *executors, int64_t now)
{
    struct np_list ready;
    executors->moved = 0;
    np_list_init(&ready);
    np_list_splice_back(&ready, &executors->ready);
    for (struct np_list *node = np_list_pop_front(&ready); node != NULL; node = np_list_pop_front(&ready)) {
        struct slot *slot = NP_CONTAINER(node, struct slot, ready_node);
        slot->is_ready = false;
        slot_turn(slot, now);
    }
    if (executors->zygote_has_spoken) {
        executors->zygote_has_spoken = false;
        hear_zygote(executors, now);
    }
    if (!executors->zygote_is_gone) {
        check_slots(executors, now);
    }
    postmortems_turn(&executors->postmortems, now);
    review_heaps(executors, now);
    feed(executors, now);
    balance(executors, now);
    look_at_busy(executors, now);
}

int64_t executors_deadline(const struct executors *executors)
{
    int64_t deadline = np_earlier(np_earlier(executors->deadline, executors->progress_at),
                                  np_earlier(executors->balance_at, executors->look_at));
    deadline = np_earlier(deadline, postmortems_deadline(&executors->postmortems));
    deadline = np_earlier(deadline, executors->review_at);
    return np_list_is_empty(&executors->ready) ? deadline : 0;
}

bool executors_are_wanting(struct executors *executors, unsigned tries)
{
    if (!executors->has_failed_start) {
        return false;
    }
    executors->has_failed_start = false;
    for (unsigned i = 0; i < executors->slot_count; i++) {
        if (executors->slots[i].state != SLOT_EMPTY || executors->slots[i].failed_starts < tries) {
            return false;
        }
    }
    return true;
}

void executors_resume(struct executors *executors)
{
    for (unsigned i = 0; i < executors->slot_count; i++) {
        if (executors->slots[i].is_stalled) {
            executors_mark_ready(executors, &executors->slots[i]);
        }
    }
}
