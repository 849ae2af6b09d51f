#include "broker/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "proto/limits.h"

enum {
    DEFAULT_PENDING = 1024,
    DEFAULT_PENDING_PER_ADDRESS = 64,
    DELIVERY_BYTES = 4 * 1024 * 1024, /* results on their way to one client */
    SMALL_HOST_CORES = 4,             /* up to here one loop serves core and peers */
    THREADS_OF_LARGE_HOST = 2
};

enum option_number {
    OPTION_LISTEN = 256,
    OPTION_IPC,
    OPTION_CA,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_CRL,
    OPTION_GATEWAYS,
    OPTION_MAX_PAYLOAD,
    OPTION_MAX_MEMORY,
    OPTION_MAX_TASKS,
    OPTION_MAX_PENDING,
    OPTION_MAX_PENDING_PER_ADDRESS,
    OPTION_HANDSHAKE_MS,
    OPTION_HELLO_MS,
    OPTION_SESSION_GRACE_MS,
    OPTION_RECOVERY_MS,
    OPTION_LOG_LEVEL,
    OPTION_READY_FD,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"ipc", required_argument, NULL, OPTION_IPC},
    {"ca", required_argument, NULL, OPTION_CA},
    {"cert", required_argument, NULL, OPTION_CERT},
    {"key", required_argument, NULL, OPTION_KEY},
    {"crl", required_argument, NULL, OPTION_CRL},
    {"gateways", required_argument, NULL, OPTION_GATEWAYS},
    {"max-payload", required_argument, NULL, OPTION_MAX_PAYLOAD},
    {"max-memory", required_argument, NULL, OPTION_MAX_MEMORY},
    {"max-tasks", required_argument, NULL, OPTION_MAX_TASKS},
    {"max-pending", required_argument, NULL, OPTION_MAX_PENDING},
    {"max-pending-per-address", required_argument, NULL, OPTION_MAX_PENDING_PER_ADDRESS},
    {"handshake-timeout-ms", required_argument, NULL, OPTION_HANDSHAKE_MS},
    {"hello-timeout-ms", required_argument, NULL, OPTION_HELLO_MS},
    {"session-grace-ms", required_argument, NULL, OPTION_SESSION_GRACE_MS},
    {"recovery-ms", required_argument, NULL, OPTION_RECOVERY_MS},
    {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
    {"ready-fd", required_argument, NULL, OPTION_READY_FD},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

const char *options_help(void)
{
    return "Usage: netpool-broker [OPTION]...\n"
           "Hands the tasks of netpool clients to netpool workers and the results back.\n"
           "\n"
           "Where peers find it (one of the two at least; without either: --listen 127.0.0.1:4747)\n"
           "  --listen HOST:PORT      serve TLS 1.3 there; 0.0.0.0:PORT or [::]:PORT for every address,\n"
           "                          port 0 for any that is free\n"
           "  --ipc PATH              serve processes of the same user on this host through this socket; its\n"
           "                          directory is made with mode 0700 if missing and must not be open to others\n"
           "\n"
           "Credentials (for --listen; all PEM)\n"
           "  --ca FILE               certificates of the authority that peers must be issued by [$NETPOOL_CA]\n"
           "  --cert FILE             the broker's certificate, then intermediates [$NETPOOL_CERT]\n"
           "  --key FILE              its private key, readable by the owner alone [$NETPOOL_KEY]\n"
           "  --crl FILE              revocation list; once given, a missing or stale list refuses every peer\n"
           "                          [$NETPOOL_CRL]\n"
           "\n"
           "Limits (SIZE takes the suffixes K, M, G for powers of 1024)\n"
           "  --max-payload SIZE      largest payload or result (64M, at most 1G)\n"
           "  --max-memory SIZE       payloads and results held in all (4G); clients are slowed before that\n"
           "  --max-tasks N           tasks held in all (8M)\n"
           "  --max-pending N         connections that are not through handshake and hello (1024); more wait\n"
           "  --max-pending-per-address N   of them from one address (64); more are refused\n"
           "  --handshake-timeout-ms N      from connect to authenticated (5000)\n"
           "  --hello-timeout-ms N          from authenticated to the first message (5000)\n"
           "  --session-grace-ms N    a client whose link broke may come back for so long (10000)\n"
           "  --recovery-ms N         after its start the broker waits so long for workers that still hold tasks of\n"
           "                          its predecessor (5000)\n"
           "\n"
           "Running\n"
           "  --gateways N            threads for TLS peers; 0 = the core's own thread serves them (0 on hosts of "
           "up\n"
           "                          to 4 cores, else 2)\n"
           "  --log-level LEVEL       error, warning, info, debug or off, on standard error (info)\n"
           "  --ready-fd N            write the line `listening HOST:PORT`, `listening ipc://PATH` or, with both,\n"
           "                          `listening HOST:PORT ipc://PATH` to this descriptor once peers can connect,\n"
           "                          and close it\n"
           "  -h, --help              show this text\n"
           "      --version           show the version\n"
           "\n"
           "Signals: SIGTERM and SIGINT say goodbye to every peer and end the broker; SIGHUP reads the files of\n"
           "--ca, --cert, --key and --crl again, keeps the old ones if anything is wrong with the new, and cuts "
           "peers\n"
           "whose certificate has been revoked.\n"
           "Exit status: 0 after SIGTERM or SIGINT, 1 if it could not start, 2 for wrong usage.\n"
           "\n"
           "Example:\n"
           "  netpool ca init pki && netpool ca issue pki --role broker --name main --host broker.example.org\n"
           "  netpool-broker --listen 0.0.0.0:4747 --ca pki/ca.pem --cert pki/broker-main.pem \\\n"
           "                 --key pki/broker-main.key\n";
}

/* A decimal number with an optional suffix K, M or G, within [min, max]. */
static netpool_status parse_number(uint64_t *out, const char *name, const char *text, uint64_t min, uint64_t max,
                                   netpool_error *error)
{
    static const char suffixes[] = "KMG";
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && errno == 0;
    unsigned shift = 0;
    const char *suffix = *end == '\0' ? NULL : strchr(suffixes, *end);
    if (is_number && suffix != NULL && end[1] == '\0') {
        shift = 10 * (unsigned)(suffix - suffixes + 1);
    } else if (*end != '\0') {
        is_number = false;
    }
    if (!is_number || number > (max >> shift) || (number << shift) < min) {
        return np_error_set(error, NETPOOL_INVALID, "--%s: '%s' is not a number from %llu to %llu", name, text,
                            (unsigned long long)min, (unsigned long long)max);
    }
    *out = number << shift;
    return NETPOOL_OK;
}

static netpool_status parse_unsigned(unsigned *out, const char *name, const char *text, unsigned min, unsigned max,
                                     netpool_error *error)
{
    uint64_t number = 0;
    netpool_status status = parse_number(&number, name, text, min, max, error);
    if (status == NETPOOL_OK) {
        *out = (unsigned)number;
    }
    return status;
}

static netpool_status parse_ms(int64_t *out_ns, const char *name, const char *text, netpool_error *error)
{
    uint64_t number = 0;
    netpool_status status = parse_number(&number, name, text, 1, INT32_MAX, error);
    if (status == NETPOOL_OK) {
        *out_ns = (int64_t)number * NP_NS_PER_MS;
    }
    return status;
}

static netpool_status parse_listen(struct options *options, const char *text, netpool_error *error)
{
    char url[sizeof options->listen.host + 16];
    int size = snprintf(url, sizeof url, "tls://%s", text);
    if (size < 0 || (size_t)size >= sizeof url || np_url_parse(&options->listen, url, NULL) != NETPOOL_OK) {
        return np_error_set(error, NETPOOL_INVALID, "--listen: '%s' is not of the form HOST:PORT or [V6]:PORT", text);
    }
    options->server.host = options->listen.host;
    options->server.port = options->listen.port;
    return NETPOOL_OK;
}

static netpool_status parse_log_level(struct options *options, const char *text, netpool_error *error)
{
    if (!np_log_level_parse(text, &options->log_level)) {
        return np_error_set(error, NETPOOL_INVALID, "--log-level: '%s' is not error, warning, info, debug or off",
                            text);
    }
    return NETPOOL_OK;
}

/* Options that are numbers or forms of their own; names and files are taken in apply. */
static netpool_status apply_checked(struct options *options, int option, const char *name, const char *value,
                                    netpool_error *error)
{
    struct core_config *core = &options->server.core;
    struct gateway_config *gateway = &options->server.gateway;
    unsigned fd = 0;
    netpool_status status;
    switch (option) {
    case OPTION_LISTEN:
        return parse_listen(options, value, error);
    case OPTION_GATEWAYS:
        return parse_unsigned(&options->server.gateways, name, value, 0, 64, error);
    case OPTION_MAX_PAYLOAD:
        return parse_number(&core->max_payload, name, value, 1, NP_PAYLOAD_MAX, error);
    case OPTION_MAX_MEMORY:
        return parse_number(&core->max_memory, name, value, 1, INT64_MAX, error);
    case OPTION_MAX_TASKS:
        return parse_number(&core->max_tasks, name, value, 1, UINT32_MAX, error);
    case OPTION_MAX_PENDING:
        return parse_unsigned(&gateway->max_pending, name, value, 1, INT_MAX, error);
    case OPTION_MAX_PENDING_PER_ADDRESS:
        return parse_unsigned(&gateway->admission.max_per_address, name, value, 1, INT_MAX, error);
    case OPTION_HANDSHAKE_MS:
        return parse_ms(&gateway->admission.timeout_ns, name, value, error);
    case OPTION_HELLO_MS:
        return parse_ms(&gateway->peers.hello_timeout_ns, name, value, error);
    case OPTION_SESSION_GRACE_MS:
        return parse_ms(&core->session_grace_ns, name, value, error);
    case OPTION_RECOVERY_MS:
        return parse_ms(&core->recovery_ns, name, value, error);
    case OPTION_LOG_LEVEL:
        return parse_log_level(options, value, error);
    case OPTION_READY_FD:
        status = parse_unsigned(&fd, name, value, 0, INT_MAX, error);
        options->ready_fd = (int)fd;
        return status;
    default:
        return np_error_set(error, NETPOOL_INVALID, "--%s is not known", name);
    }
}

static netpool_status apply(struct options *options, int option, const char *name, const char *value,
                            netpool_error *error)
{
    switch (option) {
    case OPTION_IPC:
        options->server.ipc_path = value;
        return NETPOOL_OK;
    case OPTION_CA:
        options->server.files.ca = value;
        return NETPOOL_OK;
    case OPTION_CERT:
        options->server.files.cert = value;
        return NETPOOL_OK;
    case OPTION_KEY:
        options->server.files.key = value;
        return NETPOOL_OK;
    case OPTION_CRL:
        options->server.files.crl = value;
        return NETPOOL_OK;
    case 'h':
        options->help = true;
        return NETPOOL_OK;
    case OPTION_VERSION:
        options->version = true;
        return NETPOOL_OK;
    default:
        return apply_checked(options, option, name, value, error);
    }
}

/* NULL when unset or empty. */
static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    return value == NULL || value[0] == '\0' ? NULL : value;
}

static void set_defaults(struct options *options)
{
    *options = (struct options){.log_level = NP_LOG_INFO, .ready_fd = -1};
    options->server.files = (struct tls_files){.ca = from_environment("NETPOOL_CA"),
                                               .cert = from_environment("NETPOOL_CERT"),
                                               .key = from_environment("NETPOOL_KEY"),
                                               .crl = from_environment("NETPOOL_CRL")};
    options->server.gateways = sysconf(_SC_NPROCESSORS_ONLN) > SMALL_HOST_CORES ? THREADS_OF_LARGE_HOST : 0;
    options->server.gateway.max_pending = DEFAULT_PENDING;
    options->server.gateway.admission.max_per_address = DEFAULT_PENDING_PER_ADDRESS;
    options->server.core.max_payload = NP_PAYLOAD_DEFAULT;
    options->server.core.delivery_bytes = DELIVERY_BYTES;
}

/* What depends on several options. */
static netpool_status complete(struct options *options, netpool_error *error)
{
    struct server_config *server = &options->server;
    if (server->host == NULL && server->ipc_path == NULL) {
        netpool_status status = parse_listen(options, "127.0.0.1:" NP_URL_DEFAULT_PORT, error);
        if (status != NETPOOL_OK) {
            return status;
        }
    }
    if (server->ipc_path != NULL &&
        (server->ipc_path[0] == '\0' || strlen(server->ipc_path) >= sizeof(options->listen.path))) {
        return np_error_set(error, NETPOOL_INVALID, "--ipc: a path of 1 to %zu bytes is needed",
                            sizeof options->listen.path - 1);
    }
    const struct tls_files *files = &server->files;
    const char *missing = files->ca == NULL ? "ca" : files->cert == NULL ? "cert" : files->key == NULL ? "key" : NULL;
    if (server->host != NULL && missing != NULL) {
        return np_error_set(error, NETPOOL_INVALID, "--%s is needed to serve TLS peers; `netpool ca` makes the files",
                            missing);
    }
    server->gateway.peers.max_payload = server->core.max_payload;
    server->gateway.peers.delivery_bytes = server->core.delivery_bytes;
    return NETPOOL_OK;
}

netpool_status options_parse(struct options *out, int argc, char **argv, netpool_error *error)
{
    set_defaults(out);
    opterr = 0;
    for (;;) {
        int index = -1;
        int option = getopt_long(argc, argv, ":h", long_options, &index);
        if (option == -1) {
            break;
        }
        if (option == '?' || option == ':') {
            return np_error_set(error, NETPOOL_INVALID, "%s: %s", argv[optind - 1],
                                option == ':' ? "a value is needed" : "no such option");
        }
        netpool_status status = apply(out, option, index < 0 ? "help" : long_options[index].name, optarg, error);
        if (status != NETPOOL_OK) {
            return status;
        }
    }
    if (optind < argc) {
        return np_error_set(error, NETPOOL_INVALID, "'%s': no arguments are taken but options", argv[optind]);
    }
    return out->help || out->version ? NETPOOL_OK : complete(out, error);
}
