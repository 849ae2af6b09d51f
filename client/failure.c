#include "client/failure.h"

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
    out->signal = (int)failure->signal;
    out->exit_code = (int)failure->exit_code;
    copy_line(out->message, sizeof out->message, failure->message);
    (void)np_text_copy(out->stack, sizeof out->stack, failure->stack);
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
    bool is_bare = out->message[0] == '\0' || strcmp(out->message, netpool_status_text(outcome->status)) == 0;
    if (is_bare && outcome->status == NETPOOL_NO_SUCH_FUNCTION) {
        (void)snprintf(out->message, sizeof out->message, "no worker has a function '%s'", kind->function);
    } else if (is_bare) {
        (void)snprintf(out->message, sizeof out->message, "%s", netpool_status_text(outcome->status));
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
