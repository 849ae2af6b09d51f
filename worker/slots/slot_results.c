#include "worker/slots/slot_results.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/block.h"
#include "common/clock.h"
#include "common/log.h"
#include "worker/executor/initializer.h"
#include "worker/fatal.h"
#include "worker/slots/executors.h"
#include "worker/slots/slot_blocks.h"
#include "worker/slots/slot_head.h"
#include "worker/slots/slot_prepare.h"

enum { CATCH_UP_OUTPUT = 256 * 1024 }; /* bytes of output read before a failure is reported */

/* The first results may be here before the zygote's word for the process that made them. */
static uint32_t pid_of(const struct slot *slot)
{
    return slot->pid != 0 ? slot->pid : atomic_load(&slot->share->pid);
}

void slot_results_drop(struct slot *slot)
{
    np_block_free(slot->incoming);
    slot->incoming = NULL;
    slot->filled = 0;
    slot->has_record = false;
}

/* The head is answered, or will be, and no longer the slot's: the next one is the head. */
static struct task *take_head(struct slot *slot, int64_t now)
{
    struct task *head = slot_head(slot);
    if (head->is_cancelled) {
        atomic_store(&slot->share->call.cancelled, 0); /* nothing else was fed since, so nobody else saw it */
    }
    slot_remove_task(slot, head);
    slot_note_answered(slot, head);
    slot_watch_head(slot, now);
    if (tail_is_empty(&slot->tail)) {
        return head;
    }
    if (slot_is_running(slot)) {
        tail_forget_seen(&slot->tail); /* what came since may be the next one's: rather too much than lost */
    } else {
        tail_clear(&slot->tail);
    }
    return head;
}

static void finish_head(struct slot *slot, int64_t now)
{
    batch_release(take_head(slot, now));
}

/* From the task's arrival to its start. The executor says when that was, and may say anything. */
static uint64_t wait_of(const struct task *task, int64_t started_ns, int64_t now)
{
    int64_t arrived_at = task->batch->arrived_at;
    return started_ns <= arrived_at ? 0 : (uint64_t)(np_earlier(started_ns, now) - arrived_at);
}

/* The executor takes the end of one task for the start of the next, and may have been stopped between. */
static uint64_t compute_of(const struct task *task, const struct result_record *record)
{
    if (record->started_ns >= task->batch->arrived_at) {
        return record->compute_ns;
    }
    uint64_t early = (uint64_t)task->batch->arrived_at - (uint64_t)record->started_ns;
    return record->compute_ns > early ? record->compute_ns - early : 0;
}

/* Completes the result of a task that failed, and its failure, by what the executor has printed. */
static void complete_failure(struct slot *slot, struct outbox_result *result, struct outbox_failure *failure,
                             uint8_t output[NP_ERROR_OUTPUT_MAX])
{
    if (slot->output.fd >= 0) {
        (void)tail_read(&slot->tail, slot->output.fd, CATCH_UP_OUTPUT, slot->executors->forward_fd);
    }
    failure->output = output;
    failure->output_size = tail_copy(&slot->tail, output, &failure->is_output_truncated);
    slot->tail.seen = slot->tail.total;
    result->pid = pid_of(slot);
    result->failure = failure;
}

static void add_failure(struct slot *slot, struct outbox_result *result, struct outbox_failure *failure)
{
    uint8_t output[NP_ERROR_OUTPUT_MAX];
    complete_failure(slot, result, failure, output);
    (void)outbox_add(slot->executors->outbox, result);
    result->failure = NULL; /* that one is the caller's */
}

/* Likewise of one that crashed; its answer may have to wait for the stack. */
static void settle_head(struct slot *slot, struct outbox_result *result, struct outbox_failure *failure, int64_t now)
{
    uint8_t output[NP_ERROR_OUTPUT_MAX];
    complete_failure(slot, result, failure, output);
    bool is_crash = result->status == NETPOOL_CRASHED && slot->end_status == NETPOOL_OK && failure->signal != 0;
    if (is_crash && postmortems_take(&slot->executors->postmortems, share_crash(slot->share), result, failure, now)) {
        (void)take_head(slot, now);
    } else {
        (void)outbox_add(slot->executors->outbox, result);
        finish_head(slot, now);
    }
}

static bool is_record_plausible(struct slot *slot)
{
    const struct result_record *record = &slot->record;
    const struct task *head = slot_head(slot);
    bool is_ok = record->status == NETPOOL_OK;
    bool is_known = is_ok || record->status == NETPOOL_FAILED || record->status == NETPOOL_TOO_LARGE ||
                    record->status == NETPOOL_CANCELLED;
    return head != NULL && record->number == head->number && head != slot->writing &&
           (slot_has_seen_start(slot, head) || slot_is_running(slot)) && is_known &&
           record->message_size <= (is_ok ? 0 : NP_MESSAGE_MAX) &&
           record->size <= (is_ok ? slot->executors->max_payload : 0) &&
           (record->unit == 0 || record->size > SHARE_WHOLE_MAX);
}

/* False: no (whole) record yet, or a broken one. */
static bool read_record(struct slot *slot)
{
    if (!slot->has_record && ring_has(&slot->results, sizeof slot->record)) {
        ring_read(&slot->results, &slot->record, sizeof slot->record);
        if (!is_record_plausible(slot)) {
            slot->results.is_broken = true;
            return false;
        }
        slot->has_record = true;
    }
    return slot->has_record;
}

static void read_message(struct slot *slot, char message[NP_MESSAGE_MAX + 1])
{
    ring_read(&slot->results, message, slot->record.message_size);
    message[slot->record.message_size] = '\0';
}

static void take_failure(struct slot *slot, struct outbox_result *result)
{
    char message[NP_MESSAGE_MAX + 1];
    read_message(slot, message);
    struct outbox_failure failure = {.message = message, .item = slot->record.failed_item, .has_started = true};
    add_failure(slot, result, &failure);
}

static void take_cancelled(struct slot *slot, struct outbox_result *result)
{
    bool is_large = slot->record.size > SHARE_WHOLE_MAX;
    ring_skip(&slot->results, is_large ? 0 : slot->record.size + slot->record.message_size);
    result->status = NETPOOL_CANCELLED;
    struct outbox_failure failure = {.message = netpool_status_text(NETPOOL_CANCELLED), .has_started = true};
    add_failure(slot, result, &failure);
}

/* A result that does not fit the ring comes in as it is written, unless it lies in a block. True: it is whole. */
static bool take_large(struct slot *slot)
{
    if (slot->record.unit > 0) {
        slot->incoming = slot_blocks_take(slot, slot->record.unit, slot->record.size);
        slot->results.is_broken = slot->incoming == NULL;
        return slot->incoming != NULL;
    }
    if (slot->incoming == NULL) {
        slot->incoming = fatal_if_null(np_block_new(slot->record.size));
        slot->filled = 0;
    }
    size_t piece = ring_available(&slot->results);
    size_t left = slot->record.size - slot->filled;
    piece = piece < left ? piece : left;
    ring_read(&slot->results, slot->incoming + slot->filled, piece);
    slot->filled += piece;
    return slot->filled == slot->record.size;
}

static void add_success(struct slot *slot, struct outbox_result *result)
{
    if (slot->incoming != NULL) {
        outbox_add_large(slot->executors->outbox, result, slot->incoming);
        slot->incoming = NULL;
    } else {
        uint8_t *place = outbox_add(slot->executors->outbox, result);
        ring_read(&slot->results, place, result->size);
    }
}

/* The session's tasks cannot run here: the one that waits says why, with all that is known, and the others follow. */
static void refuse_session(struct slot *slot, struct preparation *preparation, struct outbox_failure *failure)
{
    struct task *waiting = slot->waiting;
    np_log(NP_LOG_WARNING, "worker", "%s", failure->message);
    preparation_fail(preparation, failure->message);
    if (waiting != NULL) {
        struct outbox_result result = {.task = waiting, .status = NETPOOL_NOT_INITIALIZED};
        slot->waiting = NULL;
        add_failure(slot, &result, failure);
        batch_release(waiting);
    }
    executors_refuse_unprepared(slot->executors, preparation);
}

/* The initializer at the head has ended, well or (failure) not. One that was cancelled may fail, and nothing waits
 * for it any more. */
static void settle_initializer(struct slot *slot, struct outbox_failure *failure, int64_t now)
{
    const struct task *head = slot_head(slot);
    slot_note_initialized(slot, failure == NULL);
    if (failure != NULL && !head->is_cancelled) {
        refuse_session(slot, head->batch->preparation, failure);
    }
    slot_results_drop(slot);
    finish_head(slot, now);
    slot_feed_waiting(slot, now);
}

static void take_initialized(struct slot *slot, int64_t now)
{
    char message[NP_MESSAGE_MAX + 1];
    char text[NP_MESSAGE_MAX + 1];
    struct outbox_failure failure = {.message = text};
    const bool is_ok = slot->record.status == NETPOOL_OK;
    if (is_ok) {
        ring_skip(&slot->results, slot->incoming == NULL ? slot->record.size : 0); /* nobody wants what it returns */
    } else {
        read_message(slot, message);
        initializer_failed(text, slot_head(slot)->batch->function_name, message);
    }
    settle_initializer(slot, is_ok ? NULL : &failure, now);
}

/* Takes one result. False: it is not whole yet. */
static bool take_one(struct slot *slot, int64_t now)
{
    if (!read_record(slot)) {
        return false;
    }
    const struct result_record *record = &slot->record;
    bool is_large = record->size > SHARE_WHOLE_MAX;
    if (is_large ? !take_large(slot) : !ring_has(&slot->results, record->size + record->message_size)) {
        return false;
    }
    if (is_large) {
        slot_blocks_grant(slot, record->size);
    }
    struct task *head = slot_head(slot);
    if (head->batch->is_initializer) {
        take_initialized(slot, now);
        return true;
    }
    struct outbox_result result = {.task = head,
                                   .status = (netpool_status)record->status,
                                   .compute_ns = compute_of(head, record),
                                   .wait_ns = wait_of(head, record->started_ns, now)};
    if (head->is_cancelled) {
        take_cancelled(slot, &result);
    } else if (record->status != NETPOOL_OK) {
        take_failure(slot, &result);
    } else {
        result.pid = pid_of(slot);
        result.size = (uint32_t)record->size;
        add_success(slot, &result);
    }
    executors_note_time(slot->executors, head,
                        result.compute_ns > INT64_MAX ? INT64_MAX : (int64_t)result.compute_ns);
    if (slot->incoming != NULL) {
        slot_results_drop(slot);
    }
    slot->has_record = false;
    finish_head(slot, now);
    return true;
}

bool slot_results_can_move(struct slot *slot)
{
    size_t available = ring_available(&slot->results);
    if (!slot->has_record) {
        return available >= sizeof slot->record;
    }
    return slot->record.size > SHARE_WHOLE_MAX ? available > 0
                                               : available >= slot->record.size + slot->record.message_size;
}

void slot_results_take(struct slot *slot, int64_t now, bool regardless)
{
    uint64_t before = slot->results.position;
    slot->is_stalled = false;
    while (!slot->results.is_broken) {
        if (!regardless && outbox_is_full(slot->executors->outbox)) {
            slot->is_stalled = slot_results_can_move(slot) || slot->fed_count > 0;
            break;
        }
        uint64_t position = slot->results.position;
        if (!take_one(slot, now) && slot->results.position == position) {
            break;
        }
    }
    slot->tail.seen = slot->tail.total;
    if (slot->results.position != before) {
        ring_publish_read(&slot->results);
        share_wake_executor(slot->share, SHARE_WAITS_FOR_ROOM);
    }
}

static void describe_end(const struct slot *slot, int wait_status, netpool_status *status, char *text, size_t size,
                         struct outbox_failure *failure)
{
    int number = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
    int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 0;
    failure->signal = (uint32_t)number;
    failure->exit_code = (uint32_t)code;
    const char *function = slot_head(slot)->batch->function_name;
    if (*status == NETPOOL_DEADLINE) {
        (void)snprintf(text, size, "%s: ran past its deadline of %lld ms and was killed", function,
                       (long long)(slot_head(slot)->batch->timeout_ns / NP_NS_PER_MS));
    } else if (*status == NETPOOL_CANCELLED) {
        (void)snprintf(text, size, "%s: cancelled, and killed as it went on", function);
    } else if (*status == NETPOOL_CRASHED) {
        (void)snprintf(text, size, "%s: its executor wrote over the memory shared with the worker and was killed",
                       function);
    } else if (number == SIGKILL && memory_killer_has_struck(&slot->executors->memory_killer)) {
        *status = NETPOOL_OUT_OF_MEMORY;
        (void)snprintf(text, size, "%s: its executor was killed by the kernel for memory", function);
    } else if (number != 0) {
        *status = NETPOOL_CRASHED;
        (void)snprintf(text, size, "%s: its executor was killed by SIG%s (%s)", function,
                       sigabbrev_np(number) != NULL ? sigabbrev_np(number) : "?", strsignal(number));
    } else if (code == EXECUTOR_UNUSABLE) {
        *status = NETPOOL_CRASHED;
        (void)snprintf(text, size, "%s: its executor lost its descriptors and gave up", function);
    } else {
        *status = NETPOOL_CRASHED;
        (void)snprintf(text, size, "%s: its executor exited with code %d", function, code);
    }
}

static void describe_initializer_end(const struct slot *slot, int wait_status, netpool_status status, char *text)
{
    const char *name = slot_head(slot)->batch->function_name;
    if (status == NETPOOL_OUT_OF_MEMORY) {
        initializer_failed(text, name, "its executor was killed by the kernel for memory");
    } else if (slot->end_status == NETPOOL_CRASHED) {
        initializer_failed(text, name, "its executor wrote over the memory shared with the worker and was killed");
    } else {
        initializer_crashed(text, name, wait_status);
    }
}

void slot_results_settle_crash(struct slot *slot, int wait_status, int64_t now)
{
    const struct task *head = slot_head(slot);
    netpool_status status = head->is_cancelled ? NETPOOL_CANCELLED : slot->end_status;
    char message[NP_MESSAGE_MAX + 1];
    struct outbox_failure failure = {.message = message, .has_started = true};
    describe_end(slot, wait_status, &status, message, sizeof message, &failure);
    if (head->batch->is_initializer) {
        describe_initializer_end(slot, wait_status, status, message);
        failure.has_started = false; /* the task that waits for it */
        settle_initializer(slot, &failure, now);
        return;
    }
    if (head->batch->item_in_size > 0) {
        uint64_t items = head->size / head->batch->item_in_size;
        uint64_t item = atomic_load(&slot->share->call.item);
        failure.item = item < items ? item : 0;
    }
    int64_t start = atomic_load(&slot->share->started_ns);
    start = start < slot->head_since || start > now ? slot->head_since : start;
    struct outbox_result result = {
        .task = head, .status = status, .compute_ns = (uint64_t)(now - start), .wait_ns = wait_of(head, start, now)};
    slot_results_drop(slot);
    settle_head(slot, &result, &failure, now);
}
