#include "worker/progress.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "worker/fatal.h"

#define PROGRESS_NS (200 * NP_NS_PER_MS)

enum { BACKLOG_MAX = 256 * 1024 }; /* bytes; a link with more on its way has no room for what will be old at once */

struct row {
    struct slot *slot;
    uint64_t done;
    uint64_t total;
};

/* The values of the call that runs; false when there is none, or nothing new. */
static bool read_progress(struct slot *slot, struct row *out)
{
    if (!slot_is_running(slot)) {
        return false;
    }
    const struct task *head = slot_head(slot);
    const struct call_state *call = &slot->share->call;
    out->slot = slot;
    out->total = atomic_load(&call->total);
    out->done = atomic_load(&call->done);
    /* If the executor has started another task meanwhile, the values may be that one's. */
    return slot_is_running(slot) && slot->started == head->number + 1 && !head->batch->is_initializer &&
           !head->is_cancelled && (out->done != slot->seen_done || out->total != slot->seen_total);
}

static const struct batch *batch_of(const struct row *row)
{
    return slot_head(row->slot)->batch;
}

static int compare_rows(const void *left, const void *right)
{
    const struct batch *a = batch_of(left);
    const struct batch *b = batch_of(right);
    int sessions = memcmp(a->session, b->session, NP_SESSION_SIZE);
    return sessions != 0 ? sessions : (a->epoch > b->epoch) - (a->epoch < b->epoch);
}

struct columns {
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    uint64_t done[NP_BATCH_TASKS_MAX];
    uint64_t total[NP_BATCH_TASKS_MAX];
};

/* Sends the first rows, those of one session and epoch; returns their number. */
static size_t send_group(struct channel *channel, const struct row *rows, size_t count, struct columns *columns)
{
    const struct batch *batch = batch_of(&rows[0]);
    size_t used = 0;
    for (; used < count && used < NP_BATCH_TASKS_MAX && compare_rows(&rows[0], &rows[used]) == 0; used++) {
        struct slot *slot = rows[used].slot;
        columns->seqs[used] = slot_head(slot)->seq;
        columns->done[used] = slot->seen_done = rows[used].done;
        columns->total[used] = slot->seen_total = rows[used].total;
    }
    Np__Progress progress = NP__PROGRESS__INIT;
    progress.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = (uint8_t *)(uintptr_t)batch->session};
    progress.epoch = batch->epoch;
    progress.n_seqs = progress.n_done = progress.n_total = used;
    progress.seqs = columns->seqs;
    progress.done = columns->done;
    progress.total = columns->total;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_PROGRESS;
    envelope.progress = &progress;
    if (channel_send(channel, &envelope, NULL, 0, CHANNEL_IN_ORDER) != NETPOOL_OK) {
        channel_close(channel, NETPOOL_NO_MEMORY, "out of memory");
    }
    return used;
}

static void send_rows(struct channel *channel, struct row *rows, size_t count)
{
    struct columns *columns = fatal_if_null(malloc(sizeof *columns));
    qsort(rows, count, sizeof *rows, compare_rows);
    for (size_t at = 0; at < count;) {
        at += send_group(channel, rows + at, count - at, columns);
    }
    free(columns);
}

void progress_turn(struct executors *executors, struct channel *channel, int64_t now)
{
    if (now < executors->progress_at) {
        return;
    }
    executors->progress_at = NP_NEVER;
    if (channel == NULL || executors->busy == 0) {
        return;
    }
    struct row *rows = fatal_if_null(malloc(executors->slot_count * sizeof *rows));
    size_t count = 0;
    for (unsigned i = 0; i < executors->slot_count; i++) {
        count += read_progress(&executors->slots[i], &rows[count]) ? 1 : 0;
    }
    if (count > 0) {
        executors->progress_at = now + PROGRESS_NS;
        if (channel_backlog(channel) <= BACKLOG_MAX) {
            send_rows(channel, rows, count);
        }
    }
    free(rows);
}
