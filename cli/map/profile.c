#include "cli/map/profile.h"

#include <inttypes.h>
#include <stdio.h>

#define FEW_TASKS 20 /* an executor */
#define BUSY 0.8     /* of the executors' time: there is little to win but by more of them */

/* "12.3 us" */
static void format_time(char *text, size_t size, double ns)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    size_t unit = 0;
    while (ns >= 1000 && unit + 1 < sizeof units / sizeof *units) {
        ns /= 1000;
        unit++;
    }
    (void)snprintf(text, size, ns < 100 && unit > 0 ? "%.1f %s" : "%.0f %s", ns, units[unit]);
}

static void show_row(const char *name, uint64_t ns, uint64_t sum_ns, uint64_t tasks)
{
    char all[32];
    char one[32];
    format_time(all, sizeof all, (double)ns);
    format_time(one, sizeof one, (double)ns / (double)tasks);
    fprintf(stderr, "    %-14s %12s %12s %7.1f %%\n", name, all, one,
            sum_ns > 0 ? 100 * (double)ns / (double)sum_ns : 0.0);
}

void profile_advise(char *text, size_t size, const netpool_profile *profile)
{
    const double tasks = profile->tasks > 0 ? (double)profile->tasks : 1;
    const double executors = profile->executors > 0 ? profile->executors : 1;
    const double busy =
        profile->wall_ns > 0 ? (double)profile->compute_ns / ((double)profile->wall_ns * executors) : 0;
    char compute[32];
    format_time(compute, sizeof compute, (double)profile->compute_ns / tasks);
    if (profile->tasks < FEW_TASKS * (uint64_t)profile->executors) {
        (void)snprintf(text, size, "That are too few tasks to say more.");
    } else if (busy >= BUSY) {
        (void)snprintf(text, size,
                       "The executors computed %.0f %% of the time: more of them, or a faster function, help.",
                       100 * (busy < 1 ? busy : 1));
    } else if (profile->suggested_chunk > profile->chunk) {
        (void)snprintf(
            text, size,
            "A task computes for %s, too little for its way: put the work of about %zu lines into one line, or "
            "use netpool_map with a chunk of %zu.",
            compute, profile->suggested_chunk, profile->suggested_chunk);
    } else {
        (void)snprintf(
            text, size,
            "The executors computed %.0f %% of the time, though a task, %s, is long enough: they waited for "
            "input, for output to be read, or for the last tasks.",
            100 * busy, compute);
    }
}

void profile_show(const netpool_profile *profile)
{
    char wall[32];
    char advice[256];
    format_time(wall, sizeof wall, (double)profile->wall_ns);
    fprintf(stderr, "profile: %" PRIu64 " tasks (%" PRIu64 " failed) in %s on %u executor%s\n", profile->tasks,
            profile->failed, wall, profile->executors, profile->executors == 1 ? "" : "s");
    if (profile->tasks == 0) {
        return;
    }
    const uint64_t sum_ns = profile->serialize_ns + profile->transfer_ns + profile->queue_ns + profile->compute_ns;
    fprintf(stderr, "    %-14s %12s %12s %9s\n", "", "all tasks", "a task", "share");
    show_row("serialization", profile->serialize_ns, sum_ns, profile->tasks);
    show_row("transfer", profile->transfer_ns, sum_ns, profile->tasks);
    show_row("queue", profile->queue_ns, sum_ns, profile->tasks);
    show_row("compute", profile->compute_ns, sum_ns, profile->tasks);
    fprintf(stderr, "    %-14s %9.1f KiB there, %.1f KiB back\n", "bytes", (double)profile->bytes_in / 1024,
            (double)profile->bytes_out / 1024);
    fprintf(stderr, "    %-14s %12zu", "lines a task", profile->chunk);
    if (profile->suggested_chunk > 0) {
        fprintf(stderr, ", suggested %zu", profile->suggested_chunk);
    }
    profile_advise(advice, sizeof advice, profile);
    fprintf(stderr, "\n    %s\n", advice);
}
