#include "broker/core/progress.h"

#include <stdlib.h>

#include "broker/core/lease.h"
#include "broker/core/state.h"

static struct progress *first_due(const struct core *core)
{
    struct np_list *node = np_list_front(&core->progress);
    return node != NULL ? NP_CONTAINER(node, struct progress, node) : NULL;
}

int64_t progress_deadline(const struct core *core)
{
    const struct progress *first = first_due(core);
    return first != NULL ? first->due_ns : NP_NEVER;
}

void progress_drop(struct session *session)
{
    if (session->progress != NULL) {
        np_list_remove(&session->progress->node);
        np_table_fini(&session->progress->rows);
        free(session->progress);
        session->progress = NULL;
    }
}

/* The session's, begun now if there is none. NULL when out of memory. */
static struct progress *gather(struct core *core, struct session *session, int64_t now)
{
    if (session->progress == NULL) {
        struct progress *progress = malloc(sizeof *progress);
        if (progress == NULL) {
            return NULL;
        }
        progress->due_ns = now + PROGRESS_GATHER_NS;
        progress->session = session;
        progress->rows = (struct np_table){.seed = core->config.hash_seed};
        progress->count = 0;
        np_list_push_back(&core->progress, &progress->node);
        session->progress = progress;
    }
    return session->progress;
}

static void keep(struct progress *progress, uint64_t seq, uint64_t done, uint64_t total)
{
    size_t row = (uintptr_t)np_table_find(&progress->rows, seq);
    if (row == 0) {
        row = progress->count + 1;
        if (progress->count == NP_BATCH_TASKS_MAX ||
            np_table_put(&progress->rows, seq, (void *)(uintptr_t)row) != NETPOOL_OK) {
            return;
        }
        progress->count++;
        progress->seqs[row - 1] = seq;
    }
    progress->done[row - 1] = done;
    progress->total[row - 1] = total;
}

void progress_receive(struct core *core, struct worker *worker, const Np__Progress *progress, int64_t now)
{
    if (progress->session.len == 0) { /* well-formed only on its way to a client */
        peer_close(core, worker->peer, NETPOOL_PROTOCOL, "progress without a session");
        return;
    }
    struct session *session = session_find(core, progress->session.data);
    if (session == NULL || session->peer == NULL) {
        return;
    }
    for (size_t i = 0; i < progress->n_seqs; i++) {
        const struct task *task = np_table_find(&session->tasks, progress->seqs[i]);
        if (task == NULL || task->kind == NULL || !lease_is_held(core, task, worker, progress->epoch)) {
            continue;
        }
        struct progress *gathered = gather(core, session, now);
        if (gathered == NULL) {
            return;
        }
        keep(gathered, task->seq, progress->done[i], progress->total[i]);
    }
}

void progress_tick(struct core *core, int64_t now)
{
    NP_LIST_EACH(node, &core->progress) {
        struct progress *progress = NP_CONTAINER(node, struct progress, node);
        if (progress->due_ns > now) {
            break;
        }
        np_list_remove(&progress->node);
        core_touch_session(core, progress->session);
    }
}

/* Tasks that are not running any more have said more with their result. */
static void leave_out_ended(const struct session *session, struct progress *progress)
{
    size_t kept = 0;
    for (size_t i = 0; i < progress->count; i++) {
        const struct task *task = np_table_find(&session->tasks, progress->seqs[i]);
        if (task != NULL && (task->state == TASK_LEASED || task->state == TASK_CANCELLING)) {
            progress->seqs[kept] = progress->seqs[i];
            progress->done[kept] = progress->done[i];
            progress->total[kept++] = progress->total[i];
        }
    }
    progress->count = kept;
}

void progress_send_due(struct core *core, struct session *session, int64_t now)
{
    struct progress *gathered = session->progress;
    if (gathered == NULL || gathered->due_ns > now) {
        return;
    }
    bool is_slow = !np_list_is_empty(&session->undelivered); /* what could be sent has been */
    leave_out_ended(session, gathered);
    if (gathered->count > 0 && !is_slow) {
        Np__Progress progress = NP__PROGRESS__INIT;
        progress.n_seqs = progress.n_done = progress.n_total = gathered->count;
        progress.seqs = gathered->seqs;
        progress.done = gathered->done;
        progress.total = gathered->total;
        Np__Envelope envelope = NP__ENVELOPE__INIT;
        envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
        envelope.progress = &progress;
        core->output.send(core->output.context, session->peer->id, &envelope, NULL, 0, false);
    }
    progress_drop(session);
}
