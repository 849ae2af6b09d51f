#include "cli/map/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define LINE_SIZE 256

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void progress_start(struct progress *progress, int input_fd)
{
    struct stat input;
    *progress = (struct progress){.shown = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO)};
    if (!progress->shown) {
        return;
    }
    progress->start_ns = now_ns();
    if (fstat(input_fd, &input) == 0 && S_ISREG(input.st_mode)) {
        progress->total_bytes = (uint64_t)input.st_size;
    }
}

static void format_bar(char *bar, double share)
{
    size_t filled = (size_t)(share * BAR_WIDTH + 0.5);
    for (size_t i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < filled ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
}

void progress_format(char *line, size_t size, uint64_t done, double running, uint64_t total, bool total_is_exact,
                     uint64_t failed, int64_t elapsed_ns, unsigned columns)
{
    double seconds = (double)elapsed_ns / 1e9;
    double reached = (double)done + running;
    double rate = reached / seconds;
    int used;
    if (total > 0) {
        char bar[BAR_WIDTH + 1];
        double share = reached < (double)total ? reached / (double)total : 1;
        format_bar(bar, share);
        used = snprintf(line, size, "[%s] %3.0f %%  %" PRIu64 " of %s%" PRIu64 " lines  %.0f/s", bar, share * 100,
                        done, total_is_exact ? "" : "~", total, rate);
    } else {
        used = snprintf(line, size, "%" PRIu64 " lines  %.0f/s", done, rate);
    }
    if (failed > 0 && (size_t)used < size) {
        used += snprintf(line + used, size - (size_t)used, "  %" PRIu64 " failed", failed);
    }
    if ((double)total > reached && rate > 0 && (size_t)used < size) {
        snprintf(line + used, size - (size_t)used, "  %.0f s left", ((double)total - reached) / rate);
    }
    if (columns > 1 && columns <= size) {
        line[columns - 1] = '\0'; /* a full last column would wrap */
    }
}

static void write_text(const char *text, size_t size)
{
    ssize_t written = write(STDERR_FILENO, text, size);
    (void)written; /* an ornament: when the terminal is gone, the work goes on */
}

bool progress_is_due(const struct progress *progress)
{
    return progress->shown && now_ns() - progress->drawn_ns >= PROGRESS_INTERVAL_MS * INT64_C(1000000);
}

void progress_update(struct progress *progress, uint64_t done, double running, uint64_t failed, uint64_t lines_read,
                     uint64_t bytes_read, bool at_end)
{
    int64_t now = now_ns();
    struct winsize window = {0};
    ioctl(STDERR_FILENO, TIOCGWINSZ, &window);
    uint64_t total = 0;
    if (at_end) {
        total = lines_read;
    } else if (bytes_read > 0 && progress->total_bytes > 0) { /* as if the rest had lines like those read */
        total = (uint64_t)((double)lines_read / (double)bytes_read * (double)progress->total_bytes);
    }
    char text[LINE_SIZE] = "\r\x1b[K";
    size_t lead = strlen(text);
    progress_format(text + lead, sizeof text - lead, done, running, total, at_end, failed,
                    now - progress->start_ns + 1, window.ws_col);
    write_text(text, strlen(text));
    progress->drawn_ns = now;
    progress->drawn = true;
}

void progress_clear(struct progress *progress)
{
    if (progress->drawn) {
        write_text("\r\x1b[K", 4);
        progress->drawn = false;
        progress->drawn_ns = 0;
    }
}
