#include "worker/command_line.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "proto/limits.h"

enum option_number {
    OPTION_URL = 256,
    OPTION_CA,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_CRL,
    OPTION_NAME,
    OPTION_SLOTS,
    OPTION_MODULE,
    OPTION_LABEL,
    OPTION_MAX_TASKS,
    OPTION_MAX_PAYLOAD,
    OPTION_WINDOW,
    OPTION_DRAIN_GRACE_MS,
    OPTION_CANCEL_GRACE_MS,
    OPTION_RECONNECT_MS,
    OPTION_FORWARD_OUTPUT,
    OPTION_LOG_LEVEL,
    OPTION_READY_FD,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"url", required_argument, NULL, OPTION_URL},
    {"ca", required_argument, NULL, OPTION_CA},
    {"cert", required_argument, NULL, OPTION_CERT},
    {"key", required_argument, NULL, OPTION_KEY},
    {"crl", required_argument, NULL, OPTION_CRL},
    {"name", required_argument, NULL, OPTION_NAME},
    {"slots", required_argument, NULL, OPTION_SLOTS},
    {"module", required_argument, NULL, OPTION_MODULE},
    {"label", required_argument, NULL, OPTION_LABEL},
    {"max-tasks-per-executor", required_argument, NULL, OPTION_MAX_TASKS},
    {"max-payload", required_argument, NULL, OPTION_MAX_PAYLOAD},
    {"window", required_argument, NULL, OPTION_WINDOW},
    {"drain-grace-ms", required_argument, NULL, OPTION_DRAIN_GRACE_MS},
    {"cancel-grace-ms", required_argument, NULL, OPTION_CANCEL_GRACE_MS},
    {"reconnect-ms", required_argument, NULL, OPTION_RECONNECT_MS},
    {"forward-output", no_argument, NULL, OPTION_FORWARD_OUTPUT},
    {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
    {"ready-fd", required_argument, NULL, OPTION_READY_FD},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

const char *command_line_help(void)
{
    return "Usage: netpool-worker --url URL --module FILE.so [OPTION]...\n"
           "Runs the functions of the given modules for a netpool broker, in processes of their own, until it is "
           "told\n"
           "to stop.\n"
           "\n"
           "Where the broker is\n"
           "  --url URL               tls://HOST:PORT or ipc://PATH [$NETPOOL_URL]\n"
           "  --reconnect-ms N        give up when the broker was away for so long; 0 = never (0)\n"
           "\n"
           "Credentials (for tls; all PEM)\n"
           "  --ca FILE               certificates of the authority that the broker must be issued by [$NETPOOL_CA]\n"
           "  --cert FILE             the worker's certificate, then intermediates [$NETPOOL_CERT]\n"
           "  --key FILE              its private key, readable by the owner alone [$NETPOOL_KEY]\n"
           "  --crl FILE              revocation list; once given, a missing or stale list refuses the broker\n"
           "                          [$NETPOOL_CRL]\n"
           "  The files are read again for each new connection.\n"
           "\n"
           "What it offers\n"
           "  --module FILE           shared object with functions; may be given again\n"
           "  --slots N               executor processes, tasks that run at a time (the cores this process may use)\n"
           "  --label KEY=VALUE       what tasks can ask for, such as gpu=1; printable, without space or comma; may "
           "be\n"
           "                          given again\n"
           "  --name NAME             how status and failure records call it (HOST-PID); with tls the certificate's\n"
           "                          name counts instead\n"
           "\n"
           "Limits (SIZE takes the suffixes K, M, G for powers of 1024)\n"
           "  --max-payload SIZE      largest input or result (64M, at most 1G)\n"
           "  --window SIZE           inputs held at a time, in all (256M)\n"
           "  --max-tasks-per-executor N\n"
           "                          replace an executor process after so many tasks, whose ever they are; 0 =\n"
           "                          never (0)\n"
           "  --drain-grace-ms N      after SIGTERM, what runs may go on for so long (30000)\n"
           "  --cancel-grace-ms N     a cancelled function may go on for so long before it is killed (1000)\n"
           "\n"
           "Running\n"
           "  --forward-output        pass what functions print on to standard error; the last 4 KiB of a failed\n"
           "                          task's output are in its failure record either way\n"
           "  --log-level LEVEL       error, warning, info, debug or off, on standard error (info)\n"
           "  --ready-fd N            write an empty line to this descriptor once the broker has welcomed this\n"
           "                          worker and it has an executor, or a line that says why it cannot start, and\n"
           "                          close it\n"
           "  -h, --help              show this text\n"
           "      --version           show the version\n"
           "\n"
           "Signals: SIGTERM and SIGINT drain: tasks not started go back to the broker, those that run may finish\n"
           "within the grace, results are sent. A second signal ends at once; the broker gives what ran to others.\n"
           "A function that crashes, or runs past its deadline, costs its executor process, which is replaced.\n"
           "Exit status: 0 drained, 1 failed (a module or a file cannot be used, a second signal), 2 wrong usage,\n"
           "3 broker unreachable for --reconnect-ms, or refused for good.\n"
           "\n"
           "Example:\n"
           "  netpool ca issue pki --role worker --name w1\n"
           "  netpool-worker --url tls://broker.example.org:4747 --module ./primes.so --ca pki/ca.pem \\\n"
           "                 --cert pki/worker-w1.pem --key pki/worker-w1.key\n";
}

/* A decimal number with an optional suffix K, M or G, within [min, max]. */
static netpool_status parse_number(uint64_t *out, const char *name, const char *text, uint64_t min, uint64_t max,
                                   netpool_error *error)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool is_number = isdigit((unsigned char)text[0]) && errno == 0;
    unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    is_number = is_number && end[shift > 0 ? 1 : 0] == '\0';
    if (!is_number || number > (max >> shift) || (number << shift) < min) {
        return np_error_set(error, NETPOOL_INVALID, "--%s: '%s' is not a number from %llu to %llu", name, text,
                            (unsigned long long)min, (unsigned long long)max);
    }
    *out = number << shift;
    return NETPOOL_OK;
}

static netpool_status parse_ms(int64_t *out_ms, const char *name, const char *text, uint64_t min,
                               netpool_error *error)
{
    uint64_t number = 0;
    netpool_status status = parse_number(&number, name, text, min, INT32_MAX, error);
    if (status == NETPOOL_OK) {
        *out_ms = (int64_t)number;
    }
    return status;
}

static netpool_status parse_url(struct command_line *out, const char *text, netpool_error *error)
{
    netpool_status status = np_url_parse(&out->url, text, error);
    if (status == NETPOOL_OK && out->url.kind != NP_URL_TLS && out->url.kind != NP_URL_IPC) {
        return np_error_set(error, NETPOOL_INVALID, "--url: '%s' is no broker's; tls://HOST:PORT and ipc://PATH are",
                            text);
    }
    return status;
}

/* As tasks name labels in lists: "gpu=1,fast". */
static bool is_label(const char *text)
{
    const char *equals = strchr(text, '=');
    bool is_fit = equals != NULL && equals != text && strlen(text) <= NP_NAME_MAX;
    for (const char *c = text; is_fit && *c != '\0'; c++) {
        is_fit = *c > ' ' && *c <= '~' && *c != ',';
    }
    return is_fit;
}

static netpool_status add_label(struct command_line *out, const char *text, netpool_error *error)
{
    if (!is_label(text)) {
        return np_error_set(error, NETPOOL_INVALID,
                            "--label: '%.100s' is not of the form KEY=VALUE, up to %d printable characters without "
                            "space or comma",
                            text, NP_NAME_MAX);
    }
    if (out->supervisor.label_count == NP_LABELS_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "--label: more than %d labels", NP_LABELS_MAX);
    }
    out->labels[out->supervisor.label_count++] = text;
    return NETPOOL_OK;
}

static netpool_status set_name(struct command_line *out, const char *text, netpool_error *error)
{
    if (text[0] == '\0' || strlen(text) > NP_NAME_MAX) {
        return np_error_set(error, NETPOOL_INVALID, "--name: a name of 1 to %d bytes is needed", NP_NAME_MAX);
    }
    out->supervisor.name = text;
    return NETPOOL_OK;
}

static netpool_status set_log_level(struct command_line *out, const char *text, netpool_error *error)
{
    if (!np_log_level_parse(text, &out->log_level)) {
        return np_error_set(error, NETPOOL_INVALID, "--log-level: '%s' is not error, warning, info, debug or off",
                            text);
    }
    return NETPOOL_OK;
}

/* Options that are numbers. */
static netpool_status apply_number(struct command_line *out, int option, const char *name, const char *value,
                                   netpool_error *error)
{
    struct supervisor_options *supervisor = &out->supervisor;
    uint64_t number = 0;
    netpool_status status;
    switch (option) {
    case OPTION_SLOTS:
        status = parse_number(&number, name, value, 1, NP_SLOTS_MAX, error);
        supervisor->slots = (unsigned)number;
        return status;
    case OPTION_READY_FD:
        status = parse_number(&number, name, value, 0, INT_MAX, error);
        supervisor->ready_fd = (int)number;
        return status;
    case OPTION_MAX_TASKS:
        status = parse_number(&number, name, value, 0, UINT32_MAX, error);
        supervisor->max_tasks_per_executor = (uint32_t)number;
        return status;
    case OPTION_MAX_PAYLOAD:
        return parse_number(&supervisor->max_payload, name, value, 1, NP_PAYLOAD_MAX, error);
    case OPTION_WINDOW:
        return parse_number(&supervisor->window_bytes, name, value, 1, INT64_MAX, error);
    case OPTION_DRAIN_GRACE_MS:
        return parse_ms(&supervisor->drain_grace_ms, name, value, 1, error);
    case OPTION_CANCEL_GRACE_MS:
        return parse_ms(&supervisor->cancel_grace_ms, name, value, 1, error);
    case OPTION_RECONNECT_MS:
        return parse_ms(&supervisor->reconnect_ms, name, value, 0, error);
    default:
        return np_error_set(error, NETPOOL_INVALID, "--%s is not known", name);
    }
}

static netpool_status apply(struct command_line *out, int option, const char *name, const char *value,
                            netpool_error *error)
{
    switch (option) {
    case OPTION_URL:
        return parse_url(out, value, error);
    case OPTION_CA:
        out->files.ca = value;
        return NETPOOL_OK;
    case OPTION_CERT:
        out->files.cert = value;
        return NETPOOL_OK;
    case OPTION_KEY:
        out->files.key = value;
        return NETPOOL_OK;
    case OPTION_CRL:
        out->files.crl = value;
        return NETPOOL_OK;
    case OPTION_NAME:
        return set_name(out, value, error);
    case OPTION_MODULE:
        out->modules[out->supervisor.module_count++] = value;
        return NETPOOL_OK;
    case OPTION_LABEL:
        return add_label(out, value, error);
    case OPTION_FORWARD_OUTPUT:
        out->supervisor.forward_output = true;
        return NETPOOL_OK;
    case OPTION_LOG_LEVEL:
        return set_log_level(out, value, error);
    case 'h':
        out->help = true;
        return NETPOOL_OK;
    case OPTION_VERSION:
        out->version = true;
        return NETPOOL_OK;
    default:
        return apply_number(out, option, name, value, error);
    }
}

/* A container's share of the host's cores, where it has one. */
static unsigned count_cores(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cores > 0 ? (unsigned)cores : 1;
}

static netpool_status set_defaults(struct command_line *out, int argc, netpool_error *error)
{
    *out = (struct command_line){
        .log_level = NP_LOG_INFO,
        .url = {.kind = NP_URL_LOCAL},
        .files = {.ca = getenv("NETPOOL_CA"),
                  .cert = getenv("NETPOOL_CERT"),
                  .key = getenv("NETPOOL_KEY"),
                  .crl = getenv("NETPOOL_CRL")},
        .supervisor = {.name = "", .slots = count_cores(), .ready_fd = -1},
        .modules = calloc((size_t)argc, sizeof(char *)),
        .labels = calloc((size_t)argc, sizeof(char *)),
    };
    if (out->modules == NULL || out->labels == NULL) {
        return np_error_set(error, NETPOOL_NO_MEMORY, "out of memory");
    }
    out->supervisor.modules = out->modules;
    out->supervisor.labels = out->labels;
    return NETPOOL_OK;
}

/* What depends on several options. */
static netpool_status complete(struct command_line *out, netpool_error *error)
{
    if (out->help || out->version) {
        return NETPOOL_OK;
    }
    const char *url = getenv("NETPOOL_URL");
    if (out->url.kind == NP_URL_LOCAL && url != NULL && url[0] != '\0') {
        netpool_status status = parse_url(out, url, error);
        if (status != NETPOOL_OK) {
            return status;
        }
    }
    if (out->url.kind == NP_URL_LOCAL) {
        return np_error_set(error, NETPOOL_INVALID, "--url is needed: tls://HOST:PORT or ipc://PATH");
    }
    const struct tls_files *files = &out->files;
    const char *missing = files->ca == NULL ? "ca" : files->cert == NULL ? "cert" : files->key == NULL ? "key" : NULL;
    if (out->url.kind == NP_URL_TLS && missing != NULL) {
        return np_error_set(error, NETPOOL_INVALID, "--%s is needed to reach a broker over TLS", missing);
    }
    return NETPOOL_OK;
}

netpool_status command_line_parse(struct command_line *out, int argc, char **argv, netpool_error *error)
{
    netpool_status status = set_defaults(out, argc, error);
    opterr = 0;
    while (status == NETPOOL_OK) {
        int index = -1;
        int option = getopt_long(argc, argv, ":h", long_options, &index);
        if (option == -1) {
            break;
        }
        const char *word = argv[optind - 1];
        if (option == '?' || option == ':') {
            status = np_error_set(error, NETPOOL_INVALID,
                                  option == '?' ? "'%s' is not an option" : "%s needs a value", word);
        } else {
            status = apply(out, option, index >= 0 ? long_options[index].name : "help", optarg, error);
        }
    }
    if (status == NETPOOL_OK && optind < argc) {
        status = np_error_set(error, NETPOOL_INVALID, "'%s' is not an option", argv[optind]);
    }
    return status == NETPOOL_OK ? complete(out, error) : status;
}

void command_line_fini(struct command_line *command_line)
{
    free(command_line->modules);
    free(command_line->labels);
    command_line->modules = command_line->labels = NULL;
}
