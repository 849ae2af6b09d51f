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
#include "cli/map/profile.h"
#include "cli/map/progress.h"
#include "cli/map/settings.h"
#include "client/netpool.h"

#define IN_FLIGHT_DEFAULT ((size_t)4096)
#define LOOK_INTERVAL_MS PROGRESS_INTERVAL_MS /* while nothing comes: for signals and the bar */

struct map {
    const struct map_settings *settings;
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

/* Where a crash was, one frame a line, below the line that tells of it. */
static void print_stack(const char *stack)
{
    while (*stack != '\0') {
        int size = (int)strcspn(stack, "\n");
        (void)fprintf(stderr, "    %.*s\n", size, stack);
        stack += size + (stack[size] == '\n' ? 1 : 0);
    }
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
    if (result->failure != NULL) {
        print_stack(result->failure->stack);
    }
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
    if (progress_is_due(&map->progress)) {
        struct feed_state state = feed_look(map->feed);
        double running = 0;
        netpool_stream_get_progress(map->stream, NULL, &running);
        progress_update(&map->progress, map->done, running, map->failed, state.lines, state.bytes, state.at_end);
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
    const struct map_settings *settings = map->settings;
    netpool_stream_options options = {
        .unordered = settings->is_unordered, .in_flight = IN_FLIGHT_DEFAULT, .task = settings->task};
    if (options.in_flight < 2 * settings->chunk) {
        options.in_flight = 2 * settings->chunk; /* one chunk is computed while the next one is gathered */
    }
    netpool_status status = netpool_stream_open(map->pool, settings->function, &options, &map->stream);
    if (status != NETPOOL_OK) {
        complain("%s: %s%s", settings->function,
                 status == NETPOOL_INVALID ? netpool_last_error() : netpool_status_text(status),
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
    if (settings->has_profile) {
        netpool_profile profile;
        netpool_stream_get_profile(map->stream, &profile);
        profile_show(&profile);
    }
}

static int run_map(const struct map_settings *settings, int input_fd)
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
    struct map_settings settings = {.modules = calloc((size_t)argc + 1, sizeof *settings.modules)};
    int input_fd = STDIN_FILENO;
    int exit_code = CLI_USAGE;
    if (settings.modules == NULL) {
        complain("out of memory");
        return CLI_POOL;
    }
    enum map_parsed parsed = map_settings_parse(&settings, argc, argv);
    if (parsed == MAP_PARSED_HELP) {
        exit_code = help_print(help_map);
    } else if (parsed == MAP_PARSED) {
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
