/*
 * How well the adaptive chunks of netpool_map do: the time of a map with chunk 0 against the best of all fixed chunk
 * sizes, found by a sweep in the same run.
 *
 *     bench_chunks URL KIND
 *
 * KIND says what an item takes: 100ns, 10us (computing), 10ms (sleeping), mixed (computing: 90 % 2 us, 9 % 100 us,
 * 1 % 5 ms, shuffled by a fixed seed). The value is a ratio: 1 as good as the best, 1.1 a tenth slower. Each size
 * runs in turn, round by round, and counts with its median; after the first round only sizes near the best go on.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/figures.h"
#include "client/netpool.h"

enum { ROUNDS = 5, SIZES_MAX = 24 };
#define NEAR_THE_BEST 1.5

struct workload {
    const char *kind;
    size_t count; /* items */
    const char *function;
    uint64_t (*item_ns)(uint64_t *random);
};

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016). */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static uint64_t takes_100ns(uint64_t *random)
{
    (void)random;
    return 100;
}

static uint64_t takes_10us(uint64_t *random)
{
    (void)random;
    return 10000;
}

static uint64_t takes_10ms(uint64_t *random)
{
    (void)random;
    return 10000000;
}

static uint64_t takes_mixed(uint64_t *random)
{
    uint64_t percent = (next_random(random) >> 33) % 100;
    return percent < 90 ? 2000 : percent < 99 ? 100000 : 5000000;
}

static const struct workload workloads[] = {
    {"100ns", 4000000, "spin_ns", takes_100ns},
    {"10us", 40000, "spin_ns", takes_10us},
    {"10ms", 100, "sleep_ns", takes_10ms},
    {"mixed", 6000, "spin_ns", takes_mixed},
};

struct candidate {
    size_t chunk; /* 0: adaptive */
    double seconds[ROUNDS];
    int rounds;
};

static double map_once(netpool *pool, const struct workload *workload, const uint64_t *in, size_t chunk)
{
    const netpool_map_options options = {.chunk = chunk};
    netpool_error error;
    uint64_t start_ns = figures_now_ns();
    if (netpool_map(pool, workload->function, in, workload->count, sizeof *in, NULL, 0, &options, &error) !=
        NETPOOL_OK) {
        figures_die("map: %s", error.message);
    }
    return (double)(figures_now_ns() - start_ns) / FIGURES_NS_PER_S;
}

static int compare_seconds(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;
    return (*left > *right) - (*left < *right);
}

static double median_of(struct candidate *candidate)
{
    qsort(candidate->seconds, (size_t)candidate->rounds, sizeof(double), compare_seconds);
    return candidate->seconds[candidate->rounds / 2];
}

/* The adaptive one first, then powers of two up to an even share of two executors. */
static size_t list_candidates(struct candidate *candidates, size_t count)
{
    size_t used = 1;
    for (size_t chunk = count > 100000 ? 16 : 1; chunk <= count / 2 && used < SIZES_MAX; chunk *= 2) {
        candidates[used++].chunk = chunk;
    }
    return used;
}

static double fastest(struct candidate *candidates, size_t from, size_t to, size_t *chunk)
{
    double best = 0;
    for (size_t i = from; i < to; i++) {
        double seconds = median_of(&candidates[i]);
        if (candidates[i].rounds == ROUNDS || from == 0) {
            if (best == 0 || seconds < best) {
                best = seconds;
                *chunk = candidates[i].chunk;
            }
        }
    }
    return best;
}

static double ratio_of(netpool *pool, const struct workload *workload, const uint64_t *in)
{
    struct candidate candidates[SIZES_MAX] = {0};
    size_t used = list_candidates(candidates, workload->count);
    size_t chunk = 0;
    double limit = 0;
    (void)map_once(pool, workload, in, 0); /* warms up */
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < used; i++) {
            struct candidate *candidate = &candidates[i];
            if (round == 0 || i == 0 || candidate->seconds[0] <= limit) {
                candidate->seconds[candidate->rounds++] = map_once(pool, workload, in, candidate->chunk);
            }
        }
        if (round == 0) {
            limit = NEAR_THE_BEST * fastest(candidates, 0, used, &chunk);
        }
    }
    double best = fastest(candidates, 1, used, &chunk);
    double adaptive = median_of(&candidates[0]);
    fprintf(stderr, "%s: adaptive %.4f s, best fixed %.4f s with chunks of %zu\n", workload->kind, adaptive, best,
            chunk);
    return adaptive / best;
}

int main(int argc, char **argv)
{
    netpool *pool = NULL;
    netpool_error error;
    uint64_t random = 20261121;
    if (argc != 3) {
        fprintf(stderr, "usage: bench_chunks URL KIND\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
        const struct workload *workload = &workloads[i];
        if (strcmp(workload->kind, argv[2]) != 0) {
            continue;
        }
        if (netpool_open(&pool, argv[1], NULL, &error) != NETPOOL_OK) {
            figures_die("%s", error.message);
        }
        uint64_t *in = calloc(workload->count, sizeof *in);
        if (in == NULL) {
            figures_die("out of memory");
        }
        for (size_t item = 0; item < workload->count; item++) {
            in[item] = workload->item_ns(&random);
        }
        figures_print(argv[2], "chunks", "x", ratio_of(pool, workload, in));
        free(in);
        netpool_close(&pool);
        return 0;
    }
    figures_die("no kind '%s'", argv[2]);
}
