/*
 * The peer from C land: Gearman, with its own job server on a free loopback port (clear text), a client of
 * libgearman and two workers. The job server and the workers are children of this program and end with it.
 *
 *     peer_gearman MODE [SECONDS]      MODE: round_trip, rate_16, concurrent_20k, queued_1k, queued_20k
 *
 * queued_N: N background jobs wait when the workers come. concurrent_20k: one client waits for 20,000 tasks at once,
 * to the end (some 15 s, whatever SECONDS says).
 */
#include <errno.h>
#include <libgearman-1.0/gearman.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/figures.h"
#include "bench/floors/party.h"

#define HOST "127.0.0.1"
#define SERVER_TRIES 5
#define SERVER_START_S 5
#define WORKER_COUNT 2
#define TIMES_MAX 100000
#define WARM_UP 100
#define BATCH 1000        /* concurrent tasks; the best of 100, 500, 1,000, 5,000 */
#define SUBMIT_BATCH 1000 /* background jobs submitted at once */
#define CONCURRENT 20000

/* Shared with the workers: what each has done, and when. */
struct tally {
    atomic_uint_fast64_t done;
    atomic_uint_fast64_t first_ns;
    atomic_uint_fast64_t last_ns;
};

struct stage {
    uint16_t port;
    pid_t server;
    pid_t workers[WORKER_COUNT];
    struct tally *tallies; /* WORKER_COUNT of them */
};

struct worker_start {
    const struct stage *stage;
    struct tally *tally;
};

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_nsec = ms * 1000000};
    nanosleep(&pause, NULL);
}

static void run_server(void *argument)
{
    const struct stage *stage = argument;
    char port[16];
    snprintf(port, sizeof port, "%u", stage->port);
    execlp("gearmand", "gearmand", "--listen", HOST, "--port", port, "--log-file", "none", (char *)NULL);
    execl("/usr/sbin/gearmand", "gearmand", "--listen", HOST, "--port", port, "--log-file", "none", (char *)NULL);
    figures_die("gearmand: %s", strerror(errno));
}

static gearman_client_st *client_new(const struct stage *stage)
{
    gearman_client_st *client = gearman_client_create(NULL);
    if (client == NULL || gearman_failed(gearman_client_add_server(client, HOST, stage->port))) {
        figures_die("gearman: no client");
    }
    return client;
}

/* gearmand has no way of saying that it listens, so it is asked until it answers. False: it ended (port taken?). */
static bool server_answers(const struct stage *stage)
{
    uint64_t end_ns = figures_now_ns() + (uint64_t)(SERVER_START_S * FIGURES_NS_PER_S);
    while (figures_now_ns() < end_ns) {
        gearman_client_st *client = client_new(stage);
        bool answers = gearman_success(gearman_client_echo(client, "ready", 5));
        gearman_client_free(client);
        if (answers) {
            return true;
        }
        if (waitpid(stage->server, NULL, WNOHANG) != 0) {
            return false;
        }
        pause_ms(5);
    }
    figures_die("gearmand does not answer on port %u", stage->port);
}

static void start_server(struct stage *stage)
{
    for (int i = 0; i < SERVER_TRIES; i++) {
        close(party_listen(&stage->port));
        stage->server = party_start(run_server, stage);
        if (server_answers(stage)) {
            return;
        }
    }
    figures_die("gearmand: does not start");
}

static void *serve_noop(gearman_job_st *job, void *context, size_t *result_size, gearman_return_t *status)
{
    struct tally *tally = context;
    (void)job;
    uint64_t now_ns = figures_now_ns();
    if (atomic_load_explicit(&tally->done, memory_order_relaxed) == 0) {
        atomic_store(&tally->first_ns, now_ns);
    }
    atomic_store(&tally->last_ns, now_ns);
    atomic_fetch_add(&tally->done, 1);
    *result_size = 0;
    *status = GEARMAN_SUCCESS;
    return NULL;
}

static void run_worker(void *argument)
{
    const struct worker_start *start = argument;
    gearman_worker_st *worker = gearman_worker_create(NULL);
    if (worker == NULL || gearman_failed(gearman_worker_add_server(worker, HOST, start->stage->port)) ||
        gearman_failed(gearman_worker_add_function(worker, "noop", 0, serve_noop, start->tally))) {
        figures_die("gearman: no worker");
    }
    while (gearman_success(gearman_worker_work(worker))) {
    }
    figures_die("gearman worker: %s", gearman_worker_error(worker));
}

static void start_workers(struct stage *stage)
{
    for (int i = 0; i < WORKER_COUNT; i++) {
        struct worker_start start = {.stage = stage, .tally = &stage->tallies[i]};
        stage->workers[i] = party_start(run_worker, &start);
    }
}

static void round_trip(gearman_client_st *client, const char *payload, size_t size)
{
    size_t result_size = 0;
    gearman_return_t status = GEARMAN_SUCCESS;
    free(gearman_client_do(client, "noop", NULL, payload, size, &result_size, &status));
    if (gearman_failed(status)) {
        figures_die("gearman: %s", gearman_client_error(client));
    }
}

static void measure_round_trip(const struct stage *stage, double seconds)
{
    static const char payload[16] = "sixteen bytes..";
    gearman_client_st *client = client_new(stage);
    struct figures_times times;
    figures_times_init(&times, TIMES_MAX);
    for (int i = 0; i < WARM_UP; i++) {
        round_trip(client, payload, sizeof payload);
    }
    uint64_t now_ns = figures_now_ns();
    uint64_t end_ns = now_ns + (uint64_t)(seconds * FIGURES_NS_PER_S);
    while (now_ns < end_ns) {
        uint64_t start_ns = now_ns;
        round_trip(client, payload, sizeof payload);
        now_ns = figures_now_ns();
        figures_times_add(&times, now_ns - start_ns);
    }
    figures_print_times("gearman", "round_trip", &times);
    figures_times_fini(&times);
    gearman_client_free(client);
}

static void run_batch(gearman_client_st *client, size_t count)
{
    static const char payload[16] = "sixteen bytes..";
    for (size_t i = 0; i < count; i++) {
        gearman_return_t status = GEARMAN_SUCCESS;
        gearman_task_st *task =
            gearman_client_add_task(client, NULL, NULL, "noop", NULL, payload, sizeof payload, &status);
        if (task == NULL || gearman_failed(status)) {
            figures_die("gearman: %s", gearman_client_error(client));
        }
    }
    if (gearman_failed(gearman_client_run_tasks(client))) {
        figures_die("gearman: %s", gearman_client_error(client));
    }
    gearman_client_task_free_all(client);
}

/* Tasks a second with BATCH of them under way at once. */
static double measure_rate(const struct stage *stage, double seconds)
{
    gearman_client_st *client = client_new(stage);
    run_batch(client, BATCH);
    uint64_t start_ns = figures_now_ns();
    uint64_t end_ns = start_ns + (uint64_t)(seconds * FIGURES_NS_PER_S);
    uint64_t done = 0;
    while (figures_now_ns() < end_ns) {
        run_batch(client, BATCH);
        done += BATCH;
    }
    double rate = (double)done * FIGURES_NS_PER_S / (double)(figures_now_ns() - start_ns);
    gearman_client_free(client);
    return rate;
}

static double measure_concurrent(const struct stage *stage)
{
    gearman_client_st *client = client_new(stage);
    uint64_t start_ns = figures_now_ns();
    run_batch(client, CONCURRENT);
    double rate = CONCURRENT * FIGURES_NS_PER_S / (double)(figures_now_ns() - start_ns);
    gearman_client_free(client);
    return rate;
}

static void submit_background(const struct stage *stage, size_t count)
{
    static const char payload[16] = "sixteen bytes..";
    gearman_client_st *client = client_new(stage);
    for (size_t i = 0; i < count; i++) {
        gearman_return_t status = GEARMAN_SUCCESS;
        gearman_client_add_task_background(client, NULL, NULL, "noop", NULL, payload, sizeof payload, &status);
        if (gearman_failed(status)) {
            figures_die("gearman: %s", gearman_client_error(client));
        }
        if ((i + 1) % SUBMIT_BATCH == 0) {
            if (gearman_failed(gearman_client_run_tasks(client))) {
                figures_die("gearman: %s", gearman_client_error(client));
            }
            gearman_client_task_free_all(client);
        }
    }
    gearman_client_free(client);
}

/* The rate at which a queue of that length begins to empty once the workers come. */
static double measure_queued(struct stage *stage, size_t count, double seconds)
{
    uint64_t done = 0;
    uint64_t first_ns = UINT64_MAX;
    uint64_t last_ns = 0;
    submit_background(stage, count);
    uint64_t end_ns = figures_now_ns() + (uint64_t)(seconds * FIGURES_NS_PER_S);
    start_workers(stage);
    while (figures_now_ns() < end_ns && done < count) {
        pause_ms(2);
        done = 0;
        for (int i = 0; i < WORKER_COUNT; i++) {
            done += atomic_load(&stage->tallies[i].done);
        }
    }
    for (int i = 0; i < WORKER_COUNT; i++) {
        uint64_t tally_first_ns = atomic_load(&stage->tallies[i].first_ns);
        uint64_t tally_last_ns = atomic_load(&stage->tallies[i].last_ns);
        first_ns = tally_first_ns != 0 && tally_first_ns < first_ns ? tally_first_ns : first_ns;
        last_ns = tally_last_ns > last_ns ? tally_last_ns : last_ns;
    }
    if (done < 2 || last_ns <= first_ns) {
        figures_die("gearman: nothing was done in %g s with %zu queued", seconds, count);
    }
    return (double)(done - 1) * FIGURES_NS_PER_S / (double)(last_ns - first_ns);
}

static void measure(struct stage *stage, const char *mode, double seconds)
{
    bool is_queued = strncmp(mode, "queued_", 7) == 0;
    if (!is_queued) {
        start_workers(stage);
    }
    if (strcmp(mode, "round_trip") == 0) {
        measure_round_trip(stage, seconds);
    } else if (strcmp(mode, "rate_16") == 0) {
        figures_print("gearman", mode, "tasks/s", measure_rate(stage, seconds));
    } else if (strcmp(mode, "concurrent_20k") == 0) {
        figures_print("gearman", mode, "tasks/s", measure_concurrent(stage));
    } else if (strcmp(mode, "queued_1k") == 0) {
        figures_print("gearman", mode, "tasks/s", measure_queued(stage, 1000, seconds));
    } else if (strcmp(mode, "queued_20k") == 0) {
        figures_print("gearman", mode, "tasks/s", measure_queued(stage, 20000, seconds));
    } else {
        figures_die("gearman: no mode '%s'", mode);
    }
}

int main(int argc, char **argv)
{
    double seconds = figures_positive(argc > 2 ? argv[2] : "0.5", "seconds");
    struct stage stage = {.port = 0};
    stage.tallies =
        mmap(NULL, WORKER_COUNT * sizeof *stage.tallies, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (stage.tallies == MAP_FAILED) {
        figures_die("mmap: %s", strerror(errno));
    }
    start_server(&stage);
    measure(&stage, argc > 1 ? argv[1] : "round_trip", seconds);
    for (int i = 0; i < WORKER_COUNT; i++) {
        party_end(stage.workers[i]);
    }
    party_end(stage.server);
    return 0;
}
