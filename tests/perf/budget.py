#!/usr/bin/env python3
"""Who spends the instructions of a task: tables by process and part for docs/performance.md. Not a test.

    budget.py BUILD_DIRECTORY

Counted as in test_instructions.py, by the difference of two runs; the kernel's work is not among it.
"""

import collections
import os
import re
import sys

sys.dont_write_bytecode = True
import test_instructions as counting

PARTS = ("common", "proto", "transport", "broker/core", "broker", "worker", "client")
LIBRARIES = (("libcrypto", "OpenSSL"), ("libssl", "OpenSSL"), ("libprotobuf-c", "protobuf-c"), ("libc.so", "libc"),
             ("ld-linux", "libc"), ("vgpreload", "libc"))


def part_of(file, binary):
    for part in PARTS:
        if re.search(rf"/{part}/[^/]+\.[ch]$", file):
            return part
    for library, part in LIBRARIES:
        if library in os.path.basename(binary):
            return part
    return "other"


def read_parts(path):
    """{part: instructions} of one output file of callgrind."""
    names = {"ob": {}, "fl": {}}
    now = {"ob": "", "fl": ""}
    parts = collections.Counter()
    is_call = False
    for line in open(path, encoding="utf-8", errors="replace"):
        match = re.match(r"(c?)(ob|fl|fi|fe|fn)=(?:\((\d+)\))?\s*(.*)$", line)
        if match:
            kind = "ob" if match[2] == "ob" else "fl"
            if match[2] == "fn":
                continue
            name = names[kind].setdefault(match[3], match[4]) if match[4] or match[3] in names[kind] else match[4]
            if not match[1]:
                now[kind] = name
        elif line.startswith("calls="):
            is_call = True
        elif re.match(r"[+*\d-]\S* \d+$", line):
            if not is_call:
                parts[part_of(now["fl"], now["ob"])] += int(line.split()[1])
            is_call = False
    return parts


def print_table(by_column):
    columns = list(by_column)
    rows = sorted({part for parts in by_column.values() for part in parts},
                  key=lambda part: -sum(parts[part] for parts in by_column.values()))
    print(f"| instructions | {' | '.join(columns)} |")
    print("| --- |" + " ---: |" * len(columns))
    for part in rows:
        cells = [f"{by_column[column][part]:,.0f}" for column in columns]
        if any(cell not in ("0", "-0") for cell in cells):
            print(f"| {part} | {' | '.join(cells)} |")
    print("| sum | " + " | ".join(f"{sum(parts.values()):,.0f}" for parts in by_column.values()) + " |")


def difference(once, twice, tasks):
    return {name: collections.Counter({part: (twice[name][part] - once[name][part]) / tasks
                                       for part in twice[name]}) for name in twice}


def main():
    os.environ.update(counting.CPU)
    counting.read_count = read_parts
    counting.CountedCluster.count = lambda self, pattern: sum(
        map(read_parts, counting.glob.glob(os.path.join(self.directory, f"counts.{pattern}"))), collections.Counter())
    build, tasks = sys.argv[1], counting.ROUND_TRIPS
    trips = [counting.count_round_trips(build, count) for count in (tasks, 2 * tasks)]
    trips = [{name.split(".")[1]: parts for name, parts in counts.items()} for counts in trips]
    print("A TLS round trip:\n")
    print_table(difference(*trips, tasks))
    paths = []
    tasks = counting.PATH_TASKS
    with counting.c.Cluster(build) as pool:
        for count in (tasks, 2 * tasks):
            paths.append({path: counting.count_path(pool, path, count)[path] for path in counting.PATHS})
    print("\nA task in batches of 256:\n")
    print_table(difference(*paths, tasks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
