#include "client/dialogue/failure.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

enum { RECORDS_MAX = sizeof((netpool_failure *)0)->attempts / sizeof(netpool_attempt_record) };

static void copy_line(char *out, size_t size, const char *text)
{
    (void)np_text_copy(out, size, text);
    np_text_clean(out);
}

/* Line ends stay: a stack has one frame a line. */
static void copy_lines(char *out, size_t size, const char *text)
{
    (void)np_text_copy(out, size, text);
    for (char *line = out; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        bool is_last = line[length] == '\0';
        line[length] = '\0';
        np_text_clean(line);
        line[length] = is_last ? '\0' : '\n';
        line += length + (is_last ? 0 : 1);
    }
}

static void fill_record(netpool_attempt_record *out, const Np__Attempt *attempt)
{
    out->attempt = attempt->attempt;
    out->status = (netpool_status)attempt->status;
    out->pid = attempt->pid;
    out->signal = (int)attempt->signal;
    out->exit_code = (int)attempt->exit_code;
    copy_line(out->worker, sizeof out->worker, attempt->worker);
    copy_line(out->host, sizeof out->host, attempt->host);
    copy_line(out->message, sizeof out->message, attempt->message);
}

static void fill_from_broker(netpool_failure *out, uint64_t first_item, const Np__Failure *failure)
{
    out->item = first_item + failure->item;
    out->started = failure->started;
    out->signal = (int)failure->signal;
    out->exit_code = (int)failure->exit_code;
    copy_line(out->message, sizeof out->message, failure->message);
    copy_lines(out->stack, sizeof out->stack, failure->stack);
    size_t output = failure->error_output.len;
    if (output > sizeof out->error_output - 1) {
        output = sizeof out->error_output - 1;
    }
    if (output > 0) {
        memcpy(out->error_output, failure->error_output.data, output);
    }
    out->error_output[output] = '\0';
    out->error_output_truncated = failure->error_output_truncated;
    /* The last ones, when there are more than fit. */
    size_t skip = failure->n_attempts > RECORDS_MAX ? failure->n_attempts - RECORDS_MAX : 0;
    for (size_t i = skip; i < failure->n_attempts; i++) {
        fill_record(&out->attempts[out->attempt_count++], failure->attempts[i]);
    }
}

/* Words for an end that came without any of its own: from a broker or worker that had none, or a function that was
 * told to stop because of its task's deadline and knows only that. */
static void explain(netpool_failure *out, const struct np_task_kind *kind)
{
    if (out->status == NETPOOL_NO_SUCH_FUNCTION) {
        (void)snprintf(out->message, sizeof out->message, "no worker has a function '%s'", kind->function);
    } else if (out->status == NETPOOL_DEADLINE && kind->expiry_ms > 0 && kind->timeout_ms == 0) {
        (void)snprintf(out->message, sizeof out->message, "not finished within %llu ms of its submission (expiry_ms)",
                       (unsigned long long)kind->expiry_ms);
    } else if (out->status == NETPOOL_DEADLINE && kind->timeout_ms > 0 && kind->expiry_ms == 0) {
        (void)snprintf(out->message, sizeof out->message, "stopped after %llu ms (timeout_ms)",
                       (unsigned long long)kind->timeout_ms);
    } else {
        (void)snprintf(out->message, sizeof out->message, "%s", netpool_status_text(out->status));
    }
}

static bool is_bare(const netpool_failure *failure)
{
    return failure->message[0] == '\0' || strcmp(failure->message, netpool_status_text(failure->status)) == 0 ||
           (failure->status == NETPOOL_DEADLINE &&
            strcmp(failure->message, netpool_status_text(NETPOOL_CANCELLED)) == 0);
}

void failure_fill(netpool_failure *out, const struct np_task_kind *kind, uint64_t first_item,
                  const struct np_outcome *outcome)
{
    *out = (netpool_failure){
        .status = outcome->status, .attempt = outcome->attempt, .item = first_item, .pid = outcome->pid};
    copy_line(out->function, sizeof out->function, kind->function);
    copy_line(out->worker, sizeof out->worker, outcome->worker);
    copy_line(out->host, sizeof out->host, outcome->host);
    if (outcome->failure != NULL) {
        fill_from_broker(out, first_item, outcome->failure);
    } else if (outcome->reason != NULL) {
        copy_line(out->message, sizeof out->message, outcome->reason);
    }
    if (is_bare(out)) {
        explain(out, kind);
    }
}

netpool_failure *failure_new(const struct np_task_kind *kind, uint64_t first_item, const struct np_outcome *outcome)
{
    netpool_failure *failure = malloc(sizeof *failure);
    if (failure != NULL) {
        failure_fill(failure, kind, first_item, outcome);
    }
    return failure;
}
