#!/usr/bin/env python3
"""Processor time of a task, by process, user and kernel: what tests/perf/budget.py puts beside the instructions.

    shares.py ROUNDS SECONDS BUILD...

Prints JSON, one entry a build, which are measured in turn: {case: {role: {"user": ns, "kernel": ns}, "elapsed": ns}},
medians of the rounds.
"""

import json
import statistics
import sys
from pathlib import Path

sys.dont_write_bytecode = True

import sizes
from cluster import Cluster

CASES = {  # name: pool, mode and size of bench_sizes, phase
    "a task of 16 B in a stream, 16,384 under way, tls": ("tls", "stream", 16384, "rate"),
    "a task of 16 B in a stream, 16,384 under way, local": ("local", "stream", 16384, "rate"),
    "a round trip, tls": ("tls", "payload", 16, "trips"),
    "a round trip, local": ("local", "payload", 16, "trips"),
}


def measure(build, case, seconds):
    pool, mode, size, phase = CASES[case]
    if pool == "local":
        figures = sizes.run_sizes(build, mode, size, seconds)[phase]
    else:
        with Cluster(build, pool) as cluster:
            figures = sizes.run_sizes(build, mode, size, seconds, cluster)[phase]
    count = figures["count"]
    row = {role: {"user": spent["ns"] * spent["user"] / count, "kernel": spent["ns"] * (1 - spent["user"]) / count}
           for role, spent in figures["spent"].items()}
    return {**row, "elapsed": 1e9 / figures["rate"]}


def middle(rows):
    """The median of each figure."""
    if not isinstance(rows[0], dict):
        return statistics.median(rows)
    return {name: middle([row[name] for row in rows]) for name in rows[0]}


def main():
    rounds, seconds, builds = int(sys.argv[1]), float(sys.argv[2]), [Path(path).resolve() for path in sys.argv[3:]]
    rows = [{case: [] for case in CASES} for _ in builds]
    for _ in range(rounds):
        for case in CASES:
            for kept, build in zip(rows, builds):
                kept[case].append(measure(build, case, seconds))
    json.dump([middle([dict(zip(kept, one)) for one in zip(*kept.values())]) for kept in rows], sys.stdout)


if __name__ == "__main__":
    main()
