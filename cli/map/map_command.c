/* `netpool map`: lines in, results out, in constant memory. One thread feeds the stream, this one takes from it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/map/feed.h"
#include "cli/map/interrupt.h"
#include "cli/map/output.h"
#include "cli/map/progress.h"
#include "client/netpool.h"
#include "common/url.h"
#include "proto/limits.h"

#define VERB "map"
#define CHUNK_MAX 100000
#define IN_FLIGHT_DEFAULT ((size_t)4096)
#define LOOK_INTERVAL_MS PROGRESS_INTERVAL_MS /* while nothing comes: for signals and the bar */

struct settings {
    const char *url;
    netpool_options pool;
    const char **modules; /* NULL-terminated */
    size_t module_count;
    uint64_t procs; /* 0: not given */
    uint64_t chunk;
    bool is_unordered;
    const char *function;
    const char *file; /* NULL: standard input */
};

struct map {
    const struct settings *settings;
    netpool *pool;
    netpool_stream *stream;
    struct feed *feed;
    struct output output;
    struct progress progress;
    uint64_t done;
    uint64_t failed;
    bool is_output_broken;
    int exit_code;
    int die_of; /* signal to end by, 0: none */
};

/* Lets the loop go on, or not. */
enum verdict { GO_ON, STOP };

static enum verdict output_failed(struct map *map, netpool_status status)
{
    map->is_output_broken = true;
    if (status == NETPOOL_SYSTEM && errno == EPIPE) {
        map->die_of = SIGPIPE;
    } else if (interrupt_signal() == 0) {
        progress_clear(&map->progress);
        complain("writing the results: %s", status == NETPOOL_SYSTEM ? strerror(errno) : netpool_status_text(status));
        map->exit_code = CLI_TASK_FAILED;
    }
    return STOP;
}

static enum verdict task_failed(struct map *map, uint64_t index, const netpool_result *result)
{
    const char *message = result->failure != NULL && result->failure->message[0] != '\0'
                              ? result->failure->message
                              : netpool_status_text(result->status);
    progress_clear(&map->progress);
    map->failed++;
    map->exit_code = CLI_TASK_FAILED;
    if (result->status == NETPOOL_NO_SUCH_FUNCTION && map->failed == map->done) {
        complain("%s: %s: no line was processed", map->settings->function, message);
        return STOP; /* every other line would say the same */
    }
    complain("line %" PRIu64 ": %s: %s: %s", feed_line_of(map->feed, index), map->settings->function,
             netpool_status_name(result->status), message);
    if (result->status == NETPOOL_UNREACHABLE || result->status == NETPOOL_REFUSED) {
        map->exit_code = CLI_POOL;
        return STOP; /* the pool is gone for good */
    }
    return GO_ON;
}

static enum verdict take_result(struct map *map, uint64_t index, const netpool_result *result)
{
    map->done++;
    if (result->status != NETPOOL_OK) {
        return task_failed(map, index, result);
    }
    netpool_status status = output_line(&map->output, (netpool_bytes){result->data, result->size});
    return status == NETPOOL_OK ? GO_ON : output_failed(map, status);
}

static void show_progress(struct map *map)
{
    if (map->progress.shown) {
        struct feed_state state = feed_look(map->feed);
        progress_update(&map->progress, map->done, map->failed, state.lines, state.bytes, state.at_end);
    }
}

static void take_results(struct map *map)
{
    enum verdict verdict = GO_ON;
    while (verdict == GO_ON && interrupt_signal() == 0) {
        uint64_t index;
        netpool_result result;
        netpool_status status = netpool_stream_next(map->stream, 0, &index, &result);
        if (status == NETPOOL_TIMEOUT) { /* nothing more is ready: what is, must not wait */
            netpool_status flushed = output_flush(&map->output);
            if (flushed != NETPOOL_OK) {
                output_failed(map, flushed);
                return;
            }
            show_progress(map);
            status = netpool_stream_next(map->stream, LOOK_INTERVAL_MS, &index, &result);
        }
        if (status == NETPOOL_OK) {
            verdict = take_result(map, index, &result);
            show_progress(map);
        } else if (status == NETPOOL_CLOSED) {
            verdict = STOP;
        } else if (status != NETPOOL_TIMEOUT) {
            complain("%s: %s", map->settings->function, netpool_status_text(status));
            map->exit_code = CLI_POOL;
            verdict = STOP;
        }
    }
}

/* Everything from the open pool and input on. */
static void run_stream(struct map *map, int input_fd, int wake_fd)
{
    const struct settings *settings = map->settings;
    netpool_stream_options options = {.unordered = settings->is_unordered, .in_flight = IN_FLIGHT_DEFAULT};
    if (options.in_flight < 2 * settings->chunk) {
        options.in_flight = 2 * settings->chunk; /* one chunk is computed while the next one is gathered */
    }
    netpool_status status = netpool_stream_open(map->pool, settings->function, &options, &map->stream);
    if (status != NETPOOL_OK) {
        complain("%s: %s%s", settings->function, netpool_status_text(status),
                 status == NETPOOL_REFUSED ? ": only a certificate of role client may submit tasks" : "");
        map->exit_code = exit_code_of(status);
        return;
    }
    struct feed_options feed = {.stream = map->stream,
                                .function = settings->function,
                                .input = settings->file != NULL ? settings->file : "standard input",
                                .fd = input_fd,
                                .wake_fd = wake_fd,
                                .chunk = settings->chunk};
    map->feed = feed_start(&feed);
    if (map->feed == NULL) {
        complain("starting a thread: %s", strerror(errno));
        map->exit_code = CLI_POOL;
        return;
    }
    progress_start(&map->progress, input_fd);
    take_results(map);
    progress_clear(&map->progress);
    interrupt_wake(); /* the feed may wait for input that nobody wants any more */
    bool failed = false;
    feed_stop(&map->feed, &failed);
    if (failed && map->exit_code == CLI_DONE) {
        map->exit_code = CLI_TASK_FAILED;
    }
    netpool_status flushed = map->is_output_broken ? NETPOOL_OK : output_flush(&map->output);
    if (flushed != NETPOOL_OK) {
        output_failed(map, flushed);
    }
}

static int run_map(const struct settings *settings, int input_fd)
{
    struct map map = {.settings = settings, .output = {.fd = STDOUT_FILENO}, .exit_code = CLI_DONE};
    netpool_error error = {0};
    if (netpool_open(&map.pool, settings->url, &settings->pool, &error) != NETPOOL_OK) {
        return complain_pool(&error);
    }
    int wake_fd = interrupt_catch();
    if (wake_fd < 0) {
        complain("eventfd: %s", strerror(errno));
        map.exit_code = CLI_POOL;
    } else {
        run_stream(&map, input_fd, wake_fd);
    }
    if (interrupt_signal() != 0) {
        map.die_of = interrupt_signal();
    }
    netpool_stream_close(&map.stream);
    output_fini(&map.output);
    if (map.die_of != 0) {
        netpool_terminate(&map.pool);
        interrupt_die_of(map.die_of);
    }
    netpool_close(&map.pool);
    return map.exit_code;
}

static const struct option options[] = {
    {"url", required_argument, NULL, 'u'},
    {"module", required_argument, NULL, 'm'},
    {"procs", required_argument, NULL, 'p'},
    {"chunk", required_argument, NULL, 'c'},
    {"unordered", no_argument, NULL, 'U'},
    {"ca", required_argument, NULL, 'A'},
    {"cert", required_argument, NULL, 'C'},
    {"key", required_argument, NULL, 'K'},
    {"crl", required_argument, NULL, 'R'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

enum parsed { PARSED, PARSED_HELP, PARSED_WRONG };

static enum parsed parse_options(struct settings *settings, int argc, char **argv)
{
    int option;
    optind = 1;
    while ((option = next_option(argc, argv, "u:m:p:c:Uh", options)) != -1) {
        switch (option) {
        case 'u':
            settings->url = optarg;
            break;
        case 'm':
            settings->modules[settings->module_count++] = optarg;
            break;
        case 'p':
            if (!parse_count(VERB, "--procs", optarg, 1, NP_URL_MAX_EXECUTORS, &settings->procs)) {
                return PARSED_WRONG;
            }
            break;
        case 'c':
            if (!parse_count(VERB, "--chunk", optarg, 0, CHUNK_MAX, &settings->chunk)) {
                return PARSED_WRONG;
            }
            break;
        case 'U':
            settings->is_unordered = true;
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
            return PARSED_HELP;
        default:
            return PARSED_WRONG;
        }
    }
    return PARSED;
}

/* Fills in what follows from options and operands together. CLI_DONE or CLI_USAGE. */
static int settle(struct settings *settings, int argc, char **argv, char *procs_url, size_t procs_url_size)
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
        snprintf(procs_url, procs_url_size, "local:%" PRIu64, settings->procs);
        settings->url = procs_url;
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

/* -1 after saying why not. */
static int open_input(const char *path)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) { /* opens, but cannot be read */
        close(fd);
        fd = -1;
        errno = EISDIR;
    }
    if (fd < 0) {
        complain("%s: %s", path, strerror(errno));
    }
    return fd;
}

int map_command(int argc, char **argv)
{
    struct settings settings = {.modules = calloc((size_t)argc + 1, sizeof *settings.modules)};
    char procs_url[32];
    int input_fd = STDIN_FILENO;
    int exit_code = CLI_USAGE;
    if (settings.modules == NULL) {
        complain("out of memory");
        return CLI_POOL;
    }
    enum parsed parsed = parse_options(&settings, argc, argv);
    if (parsed == PARSED_HELP) {
        exit_code = help_print(help_map);
    } else if (parsed == PARSED && settle(&settings, argc, argv, procs_url, sizeof procs_url) == CLI_DONE) {
        if (settings.file != NULL) {
            input_fd = open_input(settings.file);
        }
        if (input_fd >= 0) {
            exit_code = run_map(&settings, input_fd);
        }
    }
    free(settings.modules);
    return exit_code;
}
