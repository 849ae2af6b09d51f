#!/usr/bin/env python3
"""Cost against size (bench/sizes.py): what is judged, what is written, and that every axis can be measured."""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import cluster as c
from test_bench import Tree

del sys.modules["cluster"]  # the benchmark has another module of that name
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench"))
import sizes
import watch
from pathlib import Path

TRIP = sizes.Figure("trip", "trip", "us", is_whole=True, floor="floor_trip")
AXIS = sizes.Axis("test", "size", (1, 2, 4, 8, 16), (TRIP, sizes.Figure("floor_trip", "floor", "us", is_judged=False)))
LINEAR = [1, 2, 4, 8, 16]


def summary(values):
    return {"median": sorted(values)[len(values) // 2], "min": min(values), "max": max(values), "values": values}


def verdict_of(trips, floor):
    return sizes.judge(AXIS, TRIP, [{"size": size, "trip": summary([trip]), "floor_trip": summary([low])}
                                    for size, trip, low in zip(AXIS.sizes, trips, floor)])


def sizes_forgives_a_step_that_the_floor_takes_too(_):
    verdict = verdict_of([1, 2, 8, 16, 32], LINEAR)
    assert not verdict["is_linear"] and not verdict["is_linear_beyond"], verdict
    assert verdict["step"] == verdict["beyond"] == 2 and verdict["at"] == "4", verdict
    verdict = verdict_of([1, 2, 8, 16, 32], [1, 2, 8, 16, 32])
    assert not verdict["is_linear"] and verdict["is_linear_beyond"], verdict
    assert verdict["floor_step"] == 2 and verdict["beyond"] == 1, verdict


def sizes_counts_a_step_that_the_floor_takes_elsewhere(_):
    verdict = verdict_of([1, 2, 8, 16, 32], [1, 2, 4, 16, 32])
    assert not verdict["is_linear_beyond"] and verdict["beyond_at"] == "4", verdict


def sizes_asks_no_more_because_a_floor_does_better(_):
    verdict = verdict_of(LINEAR, [1, 1, 1, 1, 1])
    assert verdict["is_linear"] and verdict["is_linear_beyond"] and verdict["beyond"] == 1, verdict


def sizes_writes_tables_and_a_picture(build):
    """Every figure of the result is 2, a floor's 4, in two rounds."""
    axes = {}
    for axis in sizes.AXES:
        names = {figure.name: figure for figure in axis.figures}
        axes[axis.name] = [{"size": size, **{name: summary([4.0, 4.0] if name.startswith("floor") else [2.0, 2.0])
                                             for name in names}} for size in axis.sizes]
    with Tree(build) as tree:
        with open(tree.path("sizes.json"), "w", encoding="ascii") as file:
            machine = {"cpu": "none", "cores": 1, "memory_gib": 1, "kernel": "1", "architecture": "none", "versions": {}}
            json.dump({"date": "today", "machine": machine, "rounds": 2, "seconds": 1, "took_s": 1, "axes": axes}, file)
        status, output, errors = tree.run("--sizes", "--markdown", "--from", tree.path("sizes.json"))
        assert status == 0 and "beyond the floor" in output, errors
        page = open(tree.path("docs/performance.md"), encoding="utf-8").read()
        assert "| 64 MiB | 2 (2 - 2) | 4 (4 - 4) | 0.5 | 2 (2 - 2) | 4 (4 - 4) | 0.5 |" in page
        assert "stroke-dasharray" in open(tree.path("docs/sizes.svg"), encoding="utf-8").read()


def sizes_measures_every_axis(build):
    build = Path(build).resolve()
    if not (build / "bench/bench_sizes").exists():
        raise c.Skip("a build without the benchmark")
    for axis in sizes.AXES:
        point = sizes.MEASURES[axis.name](build, axis.sizes[1], 0.01)
        assert {figure.name for figure in axis.figures} == set(point), (axis.name, point)
        assert all(value > 0 for value in point.values()), (axis.name, point)


def sizes_measures_often_enough(build):
    """However short it is to be: until it is warm, then so often as a median needs."""
    floor = Path(build).resolve() / "bench/floor_copy"
    if not floor.exists():
        raise c.Skip("a build without the benchmark")
    for size, least in ((16, 100), (sizes.MIB, 100), (16 * sizes.MIB, 20)):
        phases = watch.run_phases([floor, size, 0.000001], dict(os.environ))
        assert phases["trips"]["count"] == least and phases["rate"]["count"] == 24, phases


TESTS = [value for name, value in list(globals().items()) if name.startswith("sizes_")]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
