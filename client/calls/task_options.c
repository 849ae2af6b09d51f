#include "client/calls/task_options.h"

#include <stdbool.h>
#include <string.h>

#include "client/dialogue/names.h"
#include "common/error.h"
#include "proto/limits.h"

enum { LANE_MAX = 128, RETRY_DELAY_MAX_MS = 60000 };

netpool_status task_check_reserved(const uint64_t *words, size_t count, netpool_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (words[i] != 0) {
            return np_error_set(error, NETPOOL_INVALID, "options.reserved must be zero");
        }
    }
    return NETPOOL_OK;
}

static netpool_status refuse_number(netpool_error *error, const char *option, unsigned number, unsigned most)
{
    return np_error_set(error, NETPOOL_INVALID, "options.%s %u is above %u", option, number, most);
}

static netpool_status check_task(const netpool_task_options *options, netpool_error *error)
{
    if (options->max_attempts > NP_ATTEMPTS_MAX) {
        return refuse_number(error, "max_attempts", options->max_attempts, NP_ATTEMPTS_MAX);
    }
    if (options->slots > NP_SLOTS_MAX) {
        return refuse_number(error, "slots", options->slots, NP_SLOTS_MAX);
    }
    if (options->retry_delay_ms > RETRY_DELAY_MAX_MS) {
        return refuse_number(error, "retry_delay_ms", options->retry_delay_ms, RETRY_DELAY_MAX_MS);
    }
    if (options->at_most_once && options->retry_failures) {
        return np_error_set(error, NETPOOL_INVALID,
                            "options.at_most_once and options.retry_failures exclude each other");
    }
    return TASK_CHECK_RESERVED(options, error);
}

netpool_status task_read_options(struct np_task_kind *out, const netpool_task_options *options, netpool_error *error)
{
    static const netpool_task_options none;
    options = options != NULL ? options : &none;
    netpool_status status = check_task(options, error);
    if (status != NETPOOL_OK) {
        return status;
    }
    *out = (struct np_task_kind){.timeout_ms = options->timeout_ms,
                                 .expiry_ms = options->expiry_ms,
                                 .max_attempts = options->max_attempts,
                                 .priority = options->priority,
                                 .at_most_once = options->at_most_once,
                                 .retry_failures = options->retry_failures,
                                 .retry_delay_ms = options->retry_delay_ms,
                                 .slots = options->slots};
    return NETPOOL_OK;
}

netpool_status task_hash_lane(uint64_t *out, const char *lane, netpool_error *error)
{
    size_t length = lane != NULL ? strnlen(lane, LANE_MAX + 1) : 0;
    if (lane != NULL && (length == 0 || length > LANE_MAX)) {
        return np_error_set(error, NETPOOL_INVALID, "options.lane '%.40s' has not 1 to %d bytes", lane, LANE_MAX);
    }
    uint64_t hash = lane != NULL ? names_hash(lane) : 0;
    *out = lane != NULL && hash == 0 ? 1 : hash;
    return NETPOOL_OK;
}

netpool_status task_check_name(const char *what, const char *name, netpool_error *error)
{
    size_t length = name != NULL ? strnlen(name, NP_NAME_MAX + 1) : 0;
    bool good = length <= NP_NAME_MAX;
    for (size_t i = 0; good && i < length; i++) {
        good = name[i] > ' ' && name[i] <= '~';
    }
    if (length == 0) {
        return np_error_set(error, NETPOOL_INVALID, "%s is %s", what, name == NULL ? "NULL" : "empty");
    }
    if (!good) {
        return np_error_set(error, NETPOOL_INVALID,
                            "%s '%.40s' is not 1 to %d printable ASCII characters without spaces", what, name,
                            NP_NAME_MAX);
    }
    return NETPOOL_OK;
}

netpool_status task_check_function(const char *function, netpool_error *error)
{
    return task_check_name("function name", function, error);
}

netpool_status task_check_input(netpool_bytes input, uint64_t limit, netpool_error *error)
{
    if (input.data == NULL && input.size > 0) {
        return np_error_set(error, NETPOOL_INVALID, "input.data is NULL but input.size is %zu", input.size);
    }
    if (input.size > limit) {
        return np_error_set(error, NETPOOL_TOO_LARGE, "input of %zu bytes is larger than the pool's limit of %llu",
                            input.size, (unsigned long long)limit);
    }
    return NETPOOL_OK;
}
