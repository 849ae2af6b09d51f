#include "client/options.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/calls/task_options.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/text.h"

enum { CONNECT_TIMEOUT_MS = 10000, RECONNECT_TIMEOUT_MS = 60000 };

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

static netpool_status copy_preparation(struct settings *settings, const netpool_options *options)
{
    settings->max_tasks_per_executor = options->max_tasks_per_executor;
    if (options->initializer_input.size > 0) {
        settings->initializer_input = malloc(options->initializer_input.size);
        if (settings->initializer_input == NULL) {
            return NETPOOL_NO_MEMORY;
        }
        memcpy(settings->initializer_input, options->initializer_input.data, options->initializer_input.size);
        settings->initializer_input_size = options->initializer_input.size;
    }
    return copy_text(&settings->initializer, options->initializer, NULL);
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
    return status == NETPOOL_OK ? copy_preparation(settings, options) : status;
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

static netpool_status check_initializer(const netpool_options *options, netpool_error *error)
{
    const netpool_bytes *input = &options->initializer_input;
    if (input->data == NULL && input->size > 0) {
        return np_error_set(error, NETPOOL_INVALID, "options.initializer_input.data is NULL but its size is %zu",
                            input->size);
    }
    if (input->size > NP_PREPARE_MAX) {
        return np_error_set(error, NETPOOL_TOO_LARGE, "options.initializer_input of %zu bytes is larger than %d",
                            input->size, NP_PREPARE_MAX);
    }
    if (options->initializer == NULL) {
        return input->size == 0
                   ? NETPOOL_OK
                   : np_error_set(error, NETPOOL_INVALID, "options.initializer_input without options.initializer");
    }
    return task_check_name("options.initializer", options->initializer, error);
}

static netpool_status check_options(const netpool_options *options, netpool_error *error)
{
    if (options->start_method > NETPOOL_START_MODULE) {
        return np_error_set(error, NETPOOL_INVALID, "options.start_method %d is none of the list",
                            (int)options->start_method);
    }
    if (options->max_payload > NP_PAYLOAD_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "options.max_payload %llu is above %llu bytes",
                            (unsigned long long)options->max_payload, (unsigned long long)NP_PAYLOAD_MAX);
    }
    if (options->connect_timeout_ms < 0) {
        return np_error_set(error, NETPOOL_INVALID, "options.connect_timeout_ms %d is negative",
                            options->connect_timeout_ms);
    }
    netpool_status status = TASK_CHECK_RESERVED(options, error);
    return status == NETPOOL_OK ? check_initializer(options, error) : status;
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
    free(settings->initializer);
    free(settings->initializer_input);
    *settings = (struct settings){0};
}
