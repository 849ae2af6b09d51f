/* `netpool status`: one snapshot of a pool, as a table or as JSON. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/json.h"
#include "client/netpool.h"
#include "common/url.h"

#define VERB "status"
#define ANSWER_TIMEOUT_MS 10000

static uint64_t slots_of(const netpool_info *info)
{
    uint64_t slots = 0;
    for (size_t i = 0; i < info->worker_count; i++) {
        slots += info->workers[i].slots;
    }
    return slots;
}

/* "gpu=1,fast" as a list. */
static void write_json_labels(struct json *json, const char *labels)
{
    json_open(json, "labels", '[');
    while (*labels != '\0') {
        char label[sizeof((netpool_worker_info *)0)->labels];
        size_t size = strcspn(labels, ",");
        snprintf(label, sizeof label, "%.*s", (int)size, labels);
        json_text(json, NULL, label);
        labels += size + (labels[size] == ',');
    }
    json_close(json, ']');
}

static void write_json_worker(struct json *json, const netpool_worker_info *worker)
{
    json_open(json, NULL, '{');
    json_text(json, "name", worker->name);
    json_text(json, "host", worker->host);
    json_text(json, "address", worker->address);
    json_text(json, "state", worker->state);
    json_number(json, "slots", worker->slots);
    json_number(json, "held", worker->held);
    json_number(json, "done", worker->done);
    json_number(json, "failed", worker->failed);
    write_json_labels(json, worker->labels);
    json_close(json, '}');
}

static void write_json_client(struct json *json, const netpool_client_info *client)
{
    json_open(json, NULL, '{');
    json_text(json, "name", client->name);
    json_text(json, "host", client->host);
    json_text(json, "address", client->address);
    json_bool(json, "connected", client->connected);
    json_number(json, "queued", client->queued);
    json_number(json, "running", client->running);
    json_number(json, "done", client->done);
    json_number(json, "memory_bytes", client->memory_bytes);
    json_close(json, '}');
}

static void write_json(const netpool_info *info)
{
    struct json json = {.out = stdout};
    json_open(&json, NULL, '{');
    json_text(&json, "broker", info->broker);
    json_text(&json, "software", info->software);
    json_number(&json, "uptime_ms", info->uptime_ms);
    json_number(&json, "queued", info->queued);
    json_number(&json, "running", info->running);
    json_number(&json, "done", info->done);
    json_number(&json, "failed", info->failed);
    json_number(&json, "cancelled", info->cancelled);
    json_number(&json, "retried", info->retried);
    json_number(&json, "late", info->late);
    json_number(&json, "refused", info->refused);
    json_number(&json, "memory_bytes", info->memory_bytes);
    json_number(&json, "slots", slots_of(info));
    json_open(&json, "workers", '[');
    for (size_t i = 0; i < info->worker_count; i++) {
        write_json_worker(&json, &info->workers[i]);
    }
    json_close(&json, ']');
    json_number(&json, "client_count", info->client_count);
    json_open(&json, "clients", '[');
    for (size_t i = 0; i < info->client_rows; i++) {
        write_json_client(&json, &info->clients[i]);
    }
    json_close(&json, ']');
    json_open(&json, "waiting", '[');
    for (size_t i = 0; i < info->waiting_count; i++) {
        json_text(&json, NULL, info->waiting[i]);
    }
    json_close(&json, ']');
    json_close(&json, '}');
    putchar('\n');
}

static void write_duration(uint64_t duration_ms)
{
    uint64_t seconds = duration_ms / 1000;
    if (seconds >= 86400) {
        printf("%" PRIu64 " d %" PRIu64 " h", seconds / 86400, seconds / 3600 % 24);
    } else if (seconds >= 3600) {
        printf("%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
    } else if (seconds >= 60) {
        printf("%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
    } else {
        printf("%" PRIu64 " s", seconds);
    }
}

static void write_workers(const netpool_info *info)
{
    if (info->worker_count > 0) {
        printf("\n%-20s %-16s %-22s %-9s %6s %6s %10s %8s  %s\n", "WORKER", "HOST", "ADDRESS", "STATE", "SLOTS",
               "HELD", "DONE", "FAILED", "LABELS");
    }
    for (size_t i = 0; i < info->worker_count; i++) {
        const netpool_worker_info *worker = &info->workers[i];
        printf("%-20s %-16s %-22s %-9s %6u %6u %10" PRIu64 " %8" PRIu64 "  %s\n", worker->name, worker->host,
               worker->address, worker->state, worker->slots, worker->held, worker->done, worker->failed,
               worker->labels[0] != '\0' ? worker->labels : "-");
    }
}

static void write_clients(const netpool_info *info)
{
    if (info->client_rows > 0) {
        printf("\n%-20s %-16s %-22s %-9s %8s %8s %10s %10s\n", "CLIENT", "HOST", "ADDRESS", "STATE", "QUEUED",
               "RUNNING", "DONE", "KIB");
    }
    for (size_t i = 0; i < info->client_rows; i++) {
        const netpool_client_info *client = &info->clients[i];
        printf("%-20s %-16s %-22s %-9s %8" PRIu64 " %8" PRIu64 " %10" PRIu64 " %10" PRIu64 "\n", client->name,
               client->host, client->address, client->connected ? "connected" : "away", client->queued,
               client->running, client->done, client->memory_bytes / 1024);
    }
}

static void write_table(const netpool_info *info)
{
    printf("broker    %s, %s, up ", info->broker, info->software);
    write_duration(info->uptime_ms);
    printf("\ntasks     %" PRIu64 " queued, %" PRIu64 " running; %" PRIu64 " done, %" PRIu64 " failed, %" PRIu64
           " cancelled, %" PRIu64 " retried\n",
           info->queued, info->running, info->done, info->failed, info->cancelled, info->retried);
    if (info->late > 0 || info->refused > 0) {
        printf("dropped   %" PRIu64 " late results, %" PRIu64 " from workers without the lease\n", info->late,
               info->refused);
    }
    printf("memory    %.1f MiB in tasks\n", (double)info->memory_bytes / (1024.0 * 1024.0));
    printf("peers     %zu worker%s with %" PRIu64 " slots, %zu client%s\n", info->worker_count,
           info->worker_count == 1 ? "" : "s", slots_of(info), info->client_count,
           info->client_count == 1 ? "" : "s");
    if (info->waiting_count > 0) {
        printf("waiting   for a worker that can serve them: see netpool status --why\n");
    }
    write_workers(info);
    write_clients(info);
}

/* What no worker can serve, and nothing else. */
static void write_why(const netpool_info *info)
{
    for (size_t i = 0; i < info->waiting_count; i++) {
        printf("%s\n", info->waiting[i]);
    }
    if (info->waiting_count == 0) {
        bool is_admin = info->client_rows > 0 || info->client_count == 0; /* others count themselves */
        printf(is_admin ? "no task waits for a worker that is not there\n"
                        : "what other programs wait for is shown to a certificate of role admin\n");
    }
}

static int show(const char *url, const netpool_options *options, void (*write)(const netpool_info *info))
{
    netpool *pool = NULL;
    netpool_info *info = NULL;
    netpool_error error = {0};
    int exit_code;
    if (netpool_open(&pool, url, options, &error) != NETPOOL_OK) {
        return complain_pool(&error);
    }
    if (netpool_get_info(pool, &info, ANSWER_TIMEOUT_MS, &error) != NETPOOL_OK) {
        exit_code = complain_pool(&error);
        goto cleanup;
    }
    write(info);
    exit_code = CLI_DONE;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("writing the status: %s", strerror(errno));
        exit_code = CLI_TASK_FAILED;
    }
cleanup:
    netpool_info_free(&info);
    netpool_terminate(&pool);
    return exit_code;
}

static const struct option options[] = {
    {"url", required_argument, NULL, 'u'},
    {"json", no_argument, NULL, 'j'},
    {"why", no_argument, NULL, 'w'},
    {"ca", required_argument, NULL, 'A'},
    {"cert", required_argument, NULL, 'C'},
    {"key", required_argument, NULL, 'K'},
    {"crl", required_argument, NULL, 'R'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

int status_command(int argc, char **argv)
{
    const char *url = getenv("NETPOOL_URL");
    netpool_options pool = {.name = "netpool status"};
    netpool_error error = {0};
    struct np_url parsed;
    bool as_json = false;
    bool why = false;
    int option;

    optind = 1;
    while ((option = next_option(argc, argv, "u:jwh", options)) != -1) {
        switch (option) {
        case 'u':
            url = optarg;
            break;
        case 'j':
            as_json = true;
            break;
        case 'w':
            why = true;
            break;
        case 'A':
            pool.ca = optarg;
            break;
        case 'C':
            pool.cert = optarg;
            break;
        case 'K':
            pool.key = optarg;
            break;
        case 'R':
            pool.crl = optarg;
            break;
        case 'h':
            return help_print(help_status);
        default:
            return CLI_USAGE;
        }
    }
    if (optind < argc) {
        return complain_usage(VERB, "'%s' is one operand too many", argv[optind]);
    }
    if (url == NULL || url[0] == '\0') {
        return complain_usage(VERB, "no pool: give --url or set NETPOOL_URL");
    }
    if (np_url_parse(&parsed, url, &error) != NETPOOL_OK) {
        return complain_usage(VERB, "%s", error.message);
    }
    if (parsed.kind == NP_URL_LOCAL || parsed.kind == NP_URL_THREADS) {
        return complain_usage(VERB, "a pool '%s' lives inside its program and has no status elsewhere", url);
    }
    return show(url, &pool, as_json ? write_json : why ? write_why : write_table);
}
