#include "broker/core/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/lease.h"
#include "broker/core/recovery.h"
#include "broker/core/state.h"
#include "common/block.h"

#define EXPIRY_MAX_MS (UINT64_C(1000) * 60 * 60 * 24 * 365) /* a year: longer is no expiry worth keeping */

/* What all tasks of one Submit have in common while it is taken in. */
struct intake {
    struct core *core;
    struct session *session;
    struct kind *kind;
    struct np_message *message;
    const Np__Submit *submit;
    bool is_plain;    /* its tasks are queued, and that is all */
    bool is_unserved; /* no worker has the function, and there are workers */
    int64_t now;
};

/* The seqs ascend, what is new is within the credit, and no payload is too large. Closes the peer otherwise. */
static bool is_acceptable(struct core *core, struct peer *peer, const Np__Submit *submit)
{
    const struct session *session = peer->session;
    uint64_t tasks = 0;
    uint64_t bytes = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < submit->n_seqs; i++) {
        if (submit->seqs[i] <= last) {
            peer_close(core, peer, NETPOOL_PROTOCOL, "seqs of a submission do not ascend from 1");
            return false;
        }
        last = submit->seqs[i];
        if (submit->sizes[i] > core->config.max_payload) {
            peer_close(core, peer, NETPOOL_PROTOCOL, "payload of %u bytes is above the limit of %llu",
                       submit->sizes[i], (unsigned long long)core->config.max_payload);
            return false;
        }
        if (last > session->received_seq) {
            tasks++;
            bytes += submit->sizes[i];
        }
    }
    if (session->submitted_tasks + tasks > session->granted_tasks ||
        session->submitted_bytes + bytes > session->granted_bytes) {
        peer_close(core, peer, NETPOOL_PROTOCOL, "submitted beyond the credit of %llu tasks and %llu bytes",
                   (unsigned long long)session->granted_tasks, (unsigned long long)session->granted_bytes);
        return false;
    }
    return true;
}

static int64_t expiry_deadline(const struct intake *intake)
{
    uint64_t ms = intake->submit->expiry_ms;
    return intake->now + (int64_t)(ms > EXPIRY_MAX_MS ? EXPIRY_MAX_MS : ms) * NP_NS_PER_MS;
}

/* Links a new task into the session and gives it its first state. */
static void begin(const struct intake *intake, struct task *task)
{
    struct core *core = intake->core;
    struct session *session = intake->session;
    intake->kind->references++;
    task->submitted_ns = intake->now;
    session->held++;
    core->held++;
    session_add_bytes(core, session, task->size, false);
    if (intake->is_plain) {
        task_begin(core, task, TASK_QUEUED, NULL);
        return;
    }
    bool may_be_held = intake->submit->resumed && (core->is_recovering || intake->kind->at_most_once);
    if (may_be_held && !session->is_broken) {
        task_begin(core, task, TASK_RECOVERING, NULL);
        if (!core->is_recovering) {
            recovery_task_over(core, task);
        }
        return;
    }
    task_begin(core, task, TASK_QUEUED, NULL);
    if (session->is_broken) {
        lease_review(core, task);
    }
    if (intake->is_unserved && task->state == TASK_QUEUED) {
        task_finish(core, task, TASK_UNSERVED, NETPOOL_NO_SUCH_FUNCTION);
    }
}

static uint64_t first_item_of(const Np__Submit *submit, size_t row)
{
    return submit->n_first_items > 0 ? submit->first_items[row] : 0;
}

static uint64_t lane_number_of(const Np__Submit *submit, size_t row)
{
    return submit->n_lanes > 0 ? submit->lanes[row] : 0;
}

/* False when out of memory: nothing of it is left. */
static bool take_task(const struct intake *intake, size_t row, uint64_t seq, uint32_t size, const uint8_t *payload)
{
    struct core *core = intake->core;
    bool is_block = intake->submit->n_seqs == 1 && np_message_has_block(intake->message);
    struct task *task = task_new(intake->session, intake->kind, seq, payload, size, is_block);
    if (task == NULL) {
        return false;
    }
    task->first_item = first_item_of(intake->submit, row);
    if (intake->submit->expiry_ms > 0 &&
        deadline_add(&core->deadlines, task, expiry_deadline(intake)) != NETPOOL_OK) {
        goto failed;
    }
    if (np_table_put(&intake->session->tasks, seq, task) != NETPOOL_OK) {
        goto failed;
    }
    uint64_t lane_number = lane_number_of(intake->submit, row);
    if (lane_number != 0 && lane_join(core, intake->session, task, lane_number) != NETPOOL_OK) {
        np_table_take(&intake->session->tasks, seq);
        goto failed;
    }
    begin(intake, task);
    return true;

failed:
    deadline_remove(&core->deadlines, task);
    free(task->extra);
    np_block_free(task->data != task->inlined ? task->data : NULL);
    np_slab_give(task);
    return false;
}

/* The same for one that a worker holds already. */
static bool claim_task(const struct intake *intake, size_t row, struct task *task, const uint8_t *payload)
{
    struct core *core = intake->core;
    bool is_leased = task->state == TASK_LEASED;
    if (is_leased && lane_join(core, intake->session, task, lane_number_of(intake->submit, row)) != NETPOOL_OK) {
        return false;
    }
    if (!recovery_claim(core, task, intake->kind, payload, intake->submit->sizes[row], intake->now,
                        intake->submit->expiry_ms > 0 ? expiry_deadline(intake) : 0)) {
        if (lane_of(task) != NULL) {
            lane_leave(core, task);
        }
        return false;
    }
    task->first_item = first_item_of(intake->submit, row);
    struct lane *lane = lane_of(task);
    if (lane == NULL) {
        return true;
    }
    if (lane->leased != NULL) {
        lease_forfeit(core, task, "another worker holds an earlier task of its lane");
    } else {
        lane->leased = task;
        task_review_lane(core, lane);
    }
    return true;
}

static void take_all(const struct intake *intake, struct peer *peer)
{
    struct core *core = intake->core;
    struct session *session = intake->session;
    const uint8_t *payload = np_message_bytes(intake->message);
    const uint64_t *seqs = intake->submit->seqs;
    size_t count = intake->submit->n_seqs;
    for (size_t i = 0; i < count; i++) {
        uint64_t seq = seqs[i];
        uint32_t size = intake->submit->sizes[i];
        if (i % NP_TABLE_RUN == 0 && i + SESSION_ROWS_AHEAD < count) {
            np_table_prefetch(&session->tasks, seqs[i + SESSION_ROWS_AHEAD]);
        }
        if (seq > session->received_seq) { /* else it is a repetition */
            struct task *known = session->unclaimed_tasks > 0 ? np_table_find(&session->tasks, seq) : NULL;
            if (known != NULL && known->state == TASK_FINISHED && kind_retries(intake->kind, known->status)) {
                task_destroy(core, known); /* it starts afresh, as after a crash */
                known = NULL;
            }
            bool is_taken =
                known != NULL ? claim_task(intake, i, known, payload) : take_task(intake, i, seq, size, payload);
            if (!is_taken) {
                peer_close(core, peer, NETPOOL_NO_MEMORY, "no memory for a task of %u bytes", size);
                return;
            }
            session->received_seq = seq;
            session->submitted_tasks++;
            session->submitted_bytes += size;
            core->promised_tasks--;
            core->promised_bytes -= size;
        }
        payload += size;
    }
}

void client_submit(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    const Np__Submit *submit = message->envelope->submit;
    struct session *session = peer->session;
    if (submit->function[0] == '\0') {
        peer_close(core, peer, NETPOOL_PROTOCOL, "submission without a function");
        return;
    }
    if (!is_acceptable(core, peer, submit)) {
        return;
    }
    struct kind *kind = kind_find(core, session, submit);
    if (kind == NULL) {
        peer_close(core, peer, NETPOOL_NO_MEMORY, "no memory for a submission");
        return;
    }
    bool may_come_back = core->is_recovering && (submit->resumed || session->is_carried_over);
    struct intake intake = {.core = core,
                            .session = session,
                            .kind = kind,
                            .message = message,
                            .submit = submit,
                            .is_unserved = kind->demand->function->fleets.count == 0 && core->ready_workers > 0 &&
                                           !may_come_back,
                            .now = now};
    intake.is_plain = !submit->resumed && !session->is_broken && !intake.is_unserved;
    take_all(&intake, peer);
    core_touch(core, peer);
}

void client_cancel(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    (void)now;
    const Np__Cancel *cancel = message->envelope->cancel;
    for (size_t i = 0; i < cancel->n_seqs; i++) {
        struct task *task = np_table_find(&peer->session->tasks, cancel->seqs[i]);
        if (task != NULL && task->kind != NULL) { /* else its result has been acknowledged */
            lease_cancel(core, task, cancel->unstarted_only ? TASK_CANCEL_UNSTARTED : TASK_CANCEL);
        }
    }
}

void client_prepare(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    (void)now;
    if (prepare_receive(core, peer->session, message->envelope->prepare, message->body, message->body_size) !=
        NETPOOL_OK) {
        peer_close(core, peer, NETPOOL_NO_MEMORY, "no memory for an initializer's input");
    }
}

void client_acknowledge(struct core *core, struct peer *peer, struct np_message *message, int64_t now)
{
    (void)now;
    const Np__Acknowledge *acknowledge = message->envelope->acknowledge;
    for (size_t i = 0; i < acknowledge->n_seqs; i++) {
        session_look_ahead(peer->session, acknowledge->seqs, acknowledge->n_seqs, i);
        struct task *task = np_table_find(&peer->session->tasks, acknowledge->seqs[i]);
        if (task == NULL) { /* a repetition */
            continue;
        }
        if (task->state != TASK_FINISHED || task->kind == NULL) {
            peer_close(core, peer, NETPOOL_PROTOCOL, "acknowledged task %llu, which is not finished",
                       (unsigned long long)acknowledge->seqs[i]);
            return;
        }
        task_destroy(core, task);
    }
    core_touch(core, peer);
}
