/*
 * The broker's core alone, in this process, with simulated workers: what one task costs it, and what a queued one
 * needs. No links, no encoding.
 *
 *     bench_core QUEUED WORKERS COUNT
 *
 * Prints {"ns":of processor time a task,"bytes":of heap a queued task}.
 */
#include <stdio.h>

#include "bench/figures.h"
#include "tests/sim/throughput.h"

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: bench_core QUEUED WORKERS COUNT\n");
        return 2;
    }
    struct throughput_load load = {.queued = (size_t)figures_positive(argv[1], "tasks queued"),
                                   .workers = (size_t)figures_positive(argv[2], "workers"),
                                   .count = (size_t)figures_positive(argv[3], "tasks")};
    struct throughput_cost cost = throughput_measure(&load);
    printf("{\"ns\":%.6g,\"bytes\":%.6g}\n", cost.ns, cost.bytes);
    return 0;
}
