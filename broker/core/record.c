#include "broker/core/record.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core/state.h"
#include "common/text.h"

#define RECORD_MESSAGE_MAX 255 /* bytes of an attempt's message */
#define TAG_ATTEMPTS 0x4a      /* Failure.attempts: field 9, length-delimited */

/* Room for `size` more bytes at the end, or NULL. */
static uint8_t *grow(struct core *core, struct task *task, size_t size)
{
    struct task_extra *extra = task_need_extra(task);
    if (extra == NULL || extra->record_size + size > RECORD_MAX) {
        return NULL;
    }
    uint8_t *record = realloc(extra->record, extra->record_size + size);
    if (record == NULL) {
        return NULL;
    }
    extra->record = record;
    record += extra->record_size;
    extra->record_size += (uint32_t)size;
    session_add_record_bytes(core, task->session, (int64_t)size);
    return record;
}

static size_t put_varint(uint8_t *out, size_t value)
{
    size_t size = 0;
    while (value >= 0x80) {
        out[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[size++] = (uint8_t)value;
    return size;
}

void record_attempt(struct core *core, struct task *task, netpool_status status, const struct origin *origin,
                    uint32_t pid, const Np__Failure *failure, const char *message)
{
    char text[RECORD_MESSAGE_MAX + 1];
    (void)np_text_copy(text, sizeof text,
                       failure != NULL && failure->message[0] != '\0' ? failure->message : message);
    Np__Attempt attempt = NP__ATTEMPT__INIT;
    attempt.attempt = task->attempt;
    attempt.status = (uint32_t)status;
    attempt.worker = (char *)origin->name;
    attempt.host = (char *)origin->host;
    attempt.pid = pid;
    attempt.signal = failure != NULL ? failure->signal : 0;
    attempt.exit_code = failure != NULL ? failure->exit_code : 0;
    attempt.message = text;

    uint8_t prefix[8] = {TAG_ATTEMPTS};
    size_t size = np__attempt__get_packed_size(&attempt);
    size_t prefix_size = 1 + put_varint(prefix + 1, size);
    uint8_t *out = grow(core, task, prefix_size + size);
    if (out != NULL) {
        memcpy(out, prefix, prefix_size);
        np__attempt__pack(&attempt, out + prefix_size);
        if (status == NETPOOL_LOST) {
            task->extra->last_loss = task->extra->record_size - (uint32_t)(prefix_size + size);
        } else {
            task->extra->last_loss = UINT32_MAX;
        }
    }
}

void record_failure(struct core *core, struct task *task, const Np__Failure *failure)
{
    Np__Failure own = *failure;
    own.index = 0;
    own.n_attempts = 0;
    own.attempts = NULL;
    uint8_t *out = grow(core, task, np__failure__get_packed_size(&own));
    if (out != NULL) {
        np__failure__pack(&own, out);
    }
}

void record_started(struct core *core, struct task *task)
{
    Np__Failure failure = NP__FAILURE__INIT;
    failure.started = true;
    record_failure(core, task, &failure);
}

void record_forget_loss(struct core *core, struct task *task)
{
    if (task->extra != NULL && task->extra->last_loss != UINT32_MAX) {
        uint32_t size = task->extra->record_size - task->extra->last_loss;
        task->extra->record_size = task->extra->last_loss;
        session_add_record_bytes(core, task->session, -(int64_t)size);
        task->extra->last_loss = UINT32_MAX;
    }
}

void record_drop(struct core *core, struct task *task)
{
    if (task->extra != NULL && task->extra->record != NULL) {
        session_add_record_bytes(core, task->session, -(int64_t)task->extra->record_size);
        free(task->extra->record);
        task->extra->record = NULL;
        task->extra->record_size = 0;
        task->extra->last_loss = UINT32_MAX;
    }
}
