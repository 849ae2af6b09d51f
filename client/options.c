#include "client/options.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/text.h"

enum { CONNECT_TIMEOUT_MS = 10000, RECONNECT_TIMEOUT_MS = 60000 };

static bool is_zero(const uint64_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (words[i] != 0) {
            return false;
        }
    }
    return true;
}

static unsigned usable_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
        return (unsigned)CPU_COUNT(&set);
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

/* *out becomes a copy of `text`, or of the environment's variable where that is NULL. */
static netpool_status copy_text(char **out, const char *text, const char *variable)
{
    if (text == NULL && variable != NULL) {
        text = getenv(variable);
    }
    if (text == NULL || text[0] == '\0') {
        return NETPOOL_OK;
    }
    *out = strdup(text);
    return *out != NULL ? NETPOOL_OK : NETPOOL_NO_MEMORY;
}

static netpool_status copy_modules(struct settings *settings, const char *const *modules)
{
    size_t count = 0;
    while (modules != NULL && modules[count] != NULL) {
        count++;
    }
    settings->modules = calloc(count + 1, sizeof *settings->modules);
    if (settings->modules == NULL) {
        return NETPOOL_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        settings->modules[i] = strdup(modules[i]);
        if (settings->modules[i] == NULL) {
            return NETPOOL_NO_MEMORY;
        }
    }
    return NETPOOL_OK;
}

static netpool_status copy_strings(struct settings *settings, const netpool_options *options)
{
    char host[NP_NAME_MAX + 1] = "";
    if (gethostname(host, sizeof host - 1) == 0) {
        (void)np_text_copy(settings->host, sizeof settings->host, host);
    }
    (void)np_text_copy(settings->name, sizeof settings->name,
                       options->name != NULL ? options->name : program_invocation_short_name);
    netpool_status status = copy_modules(settings, options->modules);
    if (status == NETPOOL_OK) {
        status = copy_text(&settings->ca, options->ca, "NETPOOL_CA");
    }
    if (status == NETPOOL_OK) {
        status = copy_text(&settings->cert, options->cert, "NETPOOL_CERT");
    }
    if (status == NETPOOL_OK) {
        status = copy_text(&settings->key, options->key, "NETPOOL_KEY");
    }
    if (status == NETPOOL_OK) {
        status = copy_text(&settings->crl, options->crl, NULL);
    }
    return status;
}

static netpool_status check_credentials(const struct settings *settings, netpool_error *error)
{
    const char *missing = settings->ca == NULL     ? "CA certificate (option ca or NETPOOL_CA)"
                          : settings->cert == NULL ? "certificate (option cert or NETPOOL_CERT)"
                          : settings->key == NULL  ? "key (option key or NETPOOL_KEY)"
                                                   : NULL;
    if (settings->url.kind != NP_URL_TLS || missing == NULL) {
        return NETPOOL_OK;
    }
    return np_error_set(error, NETPOOL_CREDENTIALS, "%s needs a %s", settings->url_text, missing);
}

static netpool_status check_options(const netpool_options *options, netpool_error *error)
{
    if (!is_zero(options->reserved, sizeof options->reserved / sizeof options->reserved[0])) {
        return np_error_set(error, NETPOOL_INVALID, "netpool_options: reserved fields must be zero");
    }
    if (options->start_method > NETPOOL_START_MODULE) {
        return np_error_set(error, NETPOOL_INVALID, "netpool_options: start_method %d is none of the list",
                            (int)options->start_method);
    }
    if (options->max_payload > NP_PAYLOAD_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "netpool_options: max_payload %llu is above %llu bytes",
                            (unsigned long long)options->max_payload, (unsigned long long)NP_PAYLOAD_MAX);
    }
    if (options->connect_timeout_ms < 0) {
        return np_error_set(error, NETPOOL_INVALID, "netpool_options: connect_timeout_ms %d is negative",
                            options->connect_timeout_ms);
    }
    return NETPOOL_OK;
}

netpool_status settings_init(struct settings *out, const char *url, const netpool_options *options,
                             netpool_error *error)
{
    static const netpool_options none;
    options = options != NULL ? options : &none;
    *out = (struct settings){.start_method = options->start_method};
    if (url == NULL) {
        url = getenv("NETPOOL_URL");
    }
    if (url == NULL || url[0] == '\0') {
        url = "local";
    }
    netpool_status status = check_options(options, error);
    if (status == NETPOOL_OK) {
        status = np_url_parse(&out->url, url, error);
    }
    if (status != NETPOOL_OK) {
        return status;
    }
    (void)np_text_copy(out->url_text, sizeof out->url_text, url);
    out->slots = out->url.count > 0 ? out->url.count : usable_cores();
    out->max_payload = options->max_payload > 0 ? options->max_payload : NP_PAYLOAD_DEFAULT;
    int connect_ms = options->connect_timeout_ms > 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    int reconnect_ms = options->reconnect_timeout_ms != 0 ? options->reconnect_timeout_ms : RECONNECT_TIMEOUT_MS;
    out->connect_timeout_ns = connect_ms * NP_NS_PER_MS;
    out->reconnect_timeout_ns = reconnect_ms < 0 ? NP_NEVER : reconnect_ms * NP_NS_PER_MS;
    if (out->start_method == NETPOOL_START_DEFAULT) {
        out->start_method = NETPOOL_START_FORK;
    }
    if (copy_strings(out, options) != NETPOOL_OK) {
        status = np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    } else {
        status = check_credentials(out, error);
    }
    if (status != NETPOOL_OK) {
        settings_fini(out);
    }
    return status;
}

void settings_fini(struct settings *settings)
{
    for (size_t i = 0; settings->modules != NULL && settings->modules[i] != NULL; i++) {
        free(settings->modules[i]);
    }
    free(settings->modules);
    free(settings->ca);
    free(settings->cert);
    free(settings->key);
    free(settings->crl);
    *settings = (struct settings){0};
}

netpool_status options_of_task(struct np_task_kind *out, const netpool_task_options *options, netpool_error *error)
{
    static const netpool_task_options none;
    options = options != NULL ? options : &none;
    if (!is_zero(options->reserved, sizeof options->reserved / sizeof options->reserved[0])) {
        return np_error_set(error, NETPOOL_INVALID, "netpool_task_options: reserved fields must be zero");
    }
    if (options->max_attempts > NP_ATTEMPTS_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "netpool_task_options: max_attempts %u is above %d",
                            options->max_attempts, NP_ATTEMPTS_MAX);
    }
    *out = (struct np_task_kind){.timeout_ms = options->timeout_ms,
                                 .expiry_ms = options->expiry_ms,
                                 .max_attempts = options->max_attempts,
                                 .priority = options->priority,
                                 .at_most_once = options->at_most_once};
    return NETPOOL_OK;
}

netpool_status options_check_function(const char *function, netpool_error *error)
{
    size_t length = function != NULL ? strnlen(function, NP_NAME_MAX + 1) : 0;
    bool good = length >= 1 && length <= NP_NAME_MAX;
    for (size_t i = 0; good && i < length; i++) {
        good = function[i] > ' ' && function[i] <= '~';
    }
    if (good) {
        return NETPOOL_OK;
    }
    return np_error_set(error, NETPOOL_INVALID,
                        "function name '%.40s' is not 1 to %d printable ASCII characters without spaces",
                        function != NULL ? function : "(null)", NP_NAME_MAX);
}
