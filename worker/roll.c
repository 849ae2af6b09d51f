#include "worker/roll.h"

#include <stdlib.h>
#include <string.h>

#include "worker/fatal.h"

void roll_add(struct roll *roll, const uint8_t *session, uint64_t epoch, uint64_t seq, uint32_t attempt)
{
    if (roll->count == roll->capacity) {
        roll->capacity = roll->capacity > 0 ? 2 * roll->capacity : 256;
        roll->entries = fatal_if_null(realloc(roll->entries, roll->capacity * sizeof *roll->entries));
    }
    struct roll_entry *entry = &roll->entries[roll->count++];
    *entry = (struct roll_entry){.epoch = epoch, .seq = seq, .attempt = attempt};
    memcpy(entry->session, session, NP_SESSION_SIZE);
}

void roll_fini(struct roll *roll)
{
    free(roll->entries);
    *roll = (struct roll){0};
}

static int compare_groups(const struct roll_entry *a, const struct roll_entry *b)
{
    int sessions = memcmp(a->session, b->session, NP_SESSION_SIZE);
    return sessions != 0 ? sessions : (a->epoch > b->epoch) - (a->epoch < b->epoch);
}

static int compare_entries(const void *left, const void *right)
{
    const struct roll_entry *a = left;
    const struct roll_entry *b = right;
    int groups = compare_groups(a, b);
    return groups != 0 ? groups : (a->seq > b->seq) - (a->seq < b->seq);
}

struct roll_columns {
    size_t count;
    uint64_t seqs[NP_BATCH_TASKS_MAX];
    uint32_t attempts[NP_BATCH_TASKS_MAX];
};

/* The columns of the group that starts at entries[from], up to a whole batch of it. */
static void fill(struct roll_columns *columns, const struct roll *roll, size_t from)
{
    columns->count = 0;
    for (size_t i = from; i < roll->count && columns->count < NP_BATCH_TASKS_MAX; i++) {
        if (compare_groups(&roll->entries[from], &roll->entries[i]) != 0) {
            return;
        }
        columns->seqs[columns->count] = roll->entries[i].seq;
        columns->attempts[columns->count++] = roll->entries[i].attempt;
    }
}

static void send_or_close(struct channel *channel, Np__Envelope *envelope)
{
    if (channel_send(channel, envelope, NULL, 0, CHANNEL_IN_ORDER) != NETPOOL_OK) {
        channel_close(channel, NETPOOL_NO_MEMORY, "out of memory");
    }
}

static void send_held(struct channel *channel, struct roll_entry *first, struct roll_columns *columns, bool end)
{
    (void)end;
    Np__Held held = NP__HELD__INIT;
    held.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = first->session};
    held.epoch = first->epoch;
    held.n_seqs = held.n_attempts = columns->count;
    held.seqs = columns->seqs;
    held.attempts = columns->attempts;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_HELD;
    envelope.held = &held;
    send_or_close(channel, &envelope);
}

static void send_returned(struct channel *channel, struct roll_entry *first, struct roll_columns *columns, bool end)
{
    Np__Returned returned = NP__RETURNED__INIT;
    returned.session = (ProtobufCBinaryData){.len = NP_SESSION_SIZE, .data = first->session};
    returned.n_seqs = returned.n_attempts = columns->count;
    returned.seqs = columns->seqs;
    returned.attempts = columns->attempts;
    returned.end = end;
    Np__Envelope envelope = NP__ENVELOPE__INIT;
    envelope.kind_case = NP__ENVELOPE__KIND_RETURNED;
    envelope.returned = &returned;
    send_or_close(channel, &envelope);
}

static void send_groups(struct roll *roll, struct channel *channel, bool end,
                        void (*send)(struct channel *, struct roll_entry *, struct roll_columns *, bool))
{
    if (roll->count == 0) {
        return;
    }
    qsort(roll->entries, roll->count, sizeof *roll->entries, compare_entries);
    struct roll_columns *columns = fatal_if_null(malloc(sizeof *columns));
    for (size_t at = 0; at < roll->count; at += columns->count) {
        fill(columns, roll, at);
        send(channel, &roll->entries[at], columns, end && at + columns->count == roll->count);
    }
    free(columns);
}

void roll_send_held(struct roll *roll, struct channel *channel)
{
    send_groups(roll, channel, false, send_held);
}

void roll_send_returned(struct roll *roll, struct channel *channel, bool end)
{
    if (roll->count > 0) {
        send_groups(roll, channel, end, send_returned);
    } else if (end) {
        struct roll_entry nobody = {0};
        struct roll_columns none = {.count = 0};
        send_returned(channel, &nobody, &none, true);
    }
}
