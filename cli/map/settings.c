#include "cli/map/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "common/url.h"
#include "proto/limits.h"

#define VERB "map"
#define CHUNK_MAX 100000
#define TIMEOUT_MS_MAX 1000000000000 /* some 30 years */

static const struct option options[] = {
    {"url", required_argument, NULL, 'u'},
    {"module", required_argument, NULL, 'm'},
    {"procs", required_argument, NULL, 'p'},
    {"chunk", required_argument, NULL, 'c'},
    {"unordered", no_argument, NULL, 'U'},
    {"labels", required_argument, NULL, 'l'},
    {"priority", required_argument, NULL, 'P'},
    {"max-attempts", required_argument, NULL, 'a'},
    {"timeout-ms", required_argument, NULL, 't'},
    {"profile", no_argument, NULL, 'f'},
    {"ca", required_argument, NULL, 'A'},
    {"cert", required_argument, NULL, 'C'},
    {"key", required_argument, NULL, 'K'},
    {"crl", required_argument, NULL, 'R'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool parse_priority(const char *text, int *out)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (text[0] == '\0' || *end != '\0' || errno != 0 || number < -INT_MAX || number > INT_MAX) {
        complain_usage(VERB, "--priority '%s' is not a number from %d to %d", text, -INT_MAX, INT_MAX);
        return false;
    }
    *out = (int)number;
    return true;
}

static enum map_parsed parse_options(struct map_settings *settings, int argc, char **argv)
{
    uint64_t number;
    int option;
    optind = 1;
    while ((option = next_option(argc, argv, "u:m:p:c:Ul:h", options)) != -1) {
        switch (option) {
        case 'u':
            settings->url = optarg;
            break;
        case 'm':
            settings->modules[settings->module_count++] = optarg;
            break;
        case 'p':
            if (!parse_count(VERB, "--procs", optarg, 1, NP_URL_MAX_EXECUTORS, &settings->procs)) {
                return MAP_PARSED_WRONG;
            }
            break;
        case 'c':
            if (!parse_count(VERB, "--chunk", optarg, 0, CHUNK_MAX, &settings->chunk)) {
                return MAP_PARSED_WRONG;
            }
            break;
        case 'U':
            settings->is_unordered = true;
            break;
        case 'l':
            settings->task.labels = optarg;
            break;
        case 'P':
            if (!parse_priority(optarg, &settings->task.priority)) {
                return MAP_PARSED_WRONG;
            }
            break;
        case 'a':
            if (!parse_count(VERB, "--max-attempts", optarg, 1, NP_ATTEMPTS_MAX, &number)) {
                return MAP_PARSED_WRONG;
            }
            settings->task.max_attempts = (unsigned)number;
            break;
        case 't':
            if (!parse_count(VERB, "--timeout-ms", optarg, 1, TIMEOUT_MS_MAX, &settings->task.timeout_ms)) {
                return MAP_PARSED_WRONG;
            }
            break;
        case 'f':
            settings->has_profile = true;
            break;
        case 'A':
            settings->pool.ca = optarg;
            break;
        case 'C':
            settings->pool.cert = optarg;
            break;
        case 'K':
            settings->pool.key = optarg;
            break;
        case 'R':
            settings->pool.crl = optarg;
            break;
        case 'h':
            return MAP_PARSED_HELP;
        default:
            return MAP_PARSED_WRONG;
        }
    }
    return MAP_PARSED;
}

/* Fills in what follows from options and operands together. CLI_DONE or CLI_USAGE. */
static int settle(struct map_settings *settings, int argc, char **argv)
{
    netpool_error error = {0};
    struct np_url url;
    if (optind >= argc) {
        return complain_usage(VERB, "FUNCTION is missing");
    }
    if (argc - optind > 2) {
        return complain_usage(VERB, "'%s' is one operand too many", argv[optind + 2]);
    }
    settings->function = argv[optind];
    if (settings->function[0] == '\0' || strlen(settings->function) > NP_NAME_MAX) {
        return complain_usage(VERB, "FUNCTION '%.32s' is not a name of 1 to %d characters", settings->function,
                              NP_NAME_MAX);
    }
    settings->file = optind + 1 < argc && strcmp(argv[optind + 1], "-") != 0 ? argv[optind + 1] : NULL;
    if (settings->procs > 0 && settings->url != NULL) {
        return complain_usage(VERB, "--procs %" PRIu64 " means --url local:%" PRIu64 ": give one of the two",
                              settings->procs, settings->procs);
    }
    if (settings->procs > 0) {
        snprintf(settings->procs_url, sizeof settings->procs_url, "local:%" PRIu64, settings->procs);
        settings->url = settings->procs_url;
    } else if (settings->url == NULL) {
        const char *from_environment = getenv("NETPOOL_URL");
        settings->url = from_environment != NULL && from_environment[0] != '\0' ? from_environment : "local";
    }
    if (np_url_parse(&url, settings->url, &error) != NETPOOL_OK) {
        return complain_usage(VERB, "%s", error.message);
    }
    bool is_remote = url.kind == NP_URL_IPC || url.kind == NP_URL_TLS;
    if (is_remote && settings->module_count > 0) {
        return complain_usage(VERB, "--module is for pools of this command; the workers of %s have theirs",
                              settings->url);
    }
    if (!is_remote && settings->module_count == 0) {
        return complain_usage(VERB, "the pool '%s' has no functions without --module FILE.so", settings->url);
    }
    settings->pool.modules = settings->module_count > 0 ? settings->modules : NULL;
    settings->pool.name = "netpool map";
    return CLI_DONE;
}

enum map_parsed map_settings_parse(struct map_settings *settings, int argc, char **argv)
{
    enum map_parsed parsed = parse_options(settings, argc, argv);
    if (parsed == MAP_PARSED && settle(settings, argc, argv) != CLI_DONE) {
        return MAP_PARSED_WRONG;
    }
    return parsed;
}
