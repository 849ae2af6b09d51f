#!/usr/bin/env python3
"""Where the instructions and the time of a task go: tables by process and part for docs/performance.md. Not a test.

    budget.py BUILD [--time SECONDS] [--before BUILD] [--markdown]

Instructions are counted as in test_instructions.py, by the difference of two runs; the kernel's work is not among them.
--time adds processor time, user and kernel, from /proc (needs NETPOOL_BENCH=ON, and a quiet machine). Each cell says "before
-> after": before is what bench/budget-before.json says. --before measures it anew, from an earlier state's build with
today's bench/ and tests/perf, in turn with the other, and writes that file. --markdown writes into docs/performance.md.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
import test_instructions as counting

ROOT = counting.HERE.parent.parent
BEFORE = ROOT / "bench/budget-before.json"
PAGE = ROOT / "docs/performance.md"
ROUNDS = 3
NS_MAX = 10000  # what takes longer is written in microseconds
RECORDS = 2000
TOGETHER = 4096  # at most so many share a message
BATCHES = 10
ROLES = ("client", "broker", "supervisor", "executor")
PARTS = ("common", "proto", "transport", "broker/core", "broker", "worker", "client")
LIBRARIES = (("libcrypto", "OpenSSL"), ("libssl", "OpenSSL"), ("libprotobuf-c", "protobuf-c"), ("libc.so", "libc"),
             ("ld-linux", "libc"), ("vgpreload", "libc"))


def part_of(file, binary):
    for part in PARTS:
        if re.search(rf"/{part}/.+\.[ch]$", file):
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


def difference(once, twice, tasks):
    return {name: {part: (twice[name][part] - once[name][part]) / tasks for part in twice[name]} for name in twice}


def count_tls(pool, size, records):
    """Instructions of so many records; the credentials are made only once."""
    if not pool.has_authority:
        pool.certificate("broker", "main", ["127.0.0.1"])
        pool.certificate("client", "c")
    output = os.path.join(pool.directory, f"counts.tls.{size}.{records}")
    pool.run(*counting.valgrind(output), pool.support("perf_tls"), pool.authority, str(size), str(records),
             timeout_s=counting.TIMEOUT_S)
    return {f"TLS record, {size:,} B": read_parts(output)}


def count_instructions(build):
    """{table: {column: {part: instructions}}}"""
    os.environ.update(counting.CPU)
    counting.read_count = read_parts
    counting.CountedCluster.count = lambda self, pattern: sum(
        map(read_parts, counting.glob.glob(os.path.join(self.directory, f"counts.{pattern}"))), collections.Counter())
    tasks = counting.ROUND_TRIPS
    tables = {"a TLS round trip": difference(*(counting.count_cluster(build, n, 1) for n in (tasks, 2 * tasks)), tasks)}
    tasks = BATCHES * TOGETHER
    start = counting.count_cluster(build, TOGETHER, TOGETHER)
    runs = [counting.count_cluster(build, tasks + TOGETHER, TOGETHER) for _ in range(ROUNDS)]
    fullest = min(runs, key=lambda run: sum(parts.total() for parts in run.values()))
    tables[f"a task over TLS, {TOGETHER:,} submitted together"] = difference(start, fullest, tasks)
    alone = {}
    with counting.c.Cluster(build) as pool:
        for path in counting.PATHS:
            tasks = counting.PATH_TASKS
            alone |= difference(*(counting.count_path(pool, path, n) for n in (tasks, 2 * tasks)), tasks)
        for size in (100, 16384):
            alone |= difference(*(count_tls(pool, size, n) for n in (RECORDS, 2 * RECORDS)), RECORDS)
    tables["a part alone"] = alone
    return tables


def measure_time(builds, seconds):
    """[{case: {role: {user, kernel}, "elapsed"}}] of the builds."""
    done = subprocess.run([sys.executable, "-B", ROOT / "bench/shares.py", str(ROUNDS), str(seconds), *builds],
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def cell(before, after, write):
    after = write(after) if after is not None else "-"
    return f"{write(before)} -> {after}" if before is not None else after


def count_text(number):
    return f"{number:,.0f}" if abs(number) >= 0.5 else "0"


def us_text(ns):
    return f"{ns / 1000:.1f}"


def markdown_table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def instruction_table(title, before, after):
    """One row a part, the dearest first; the sums last."""
    columns = [{"sum": sum(parts.values()), **parts} for parts in after.values()]
    old = [{"sum": sum(before[name].values()), **before[name]} if name in before else None for name in after]
    parts = sorted({part for column in columns + old for part in column or {} if part != "sum"},
                   key=lambda part: -sum(column.get(part, 0) for column in columns))
    rows = [[part] + [cell(was.get(part, 0) if was else None, now.get(part, 0), count_text)
                      for was, now in zip(old, columns)] for part in parts + ["sum"]]
    return markdown_table([f"instructions, {title}", *after], [row for row in rows if set(row[1:]) - {"0", "0 -> 0"}])


def time_table(title, before, after):
    roles = [role for role in ROLES if role in after]
    unit, write = ("us", us_text) if after["elapsed"] >= NS_MAX else ("ns", count_text)
    rows = []
    for kind in ("user", "kernel"):
        old, new = ([case[role][kind] for role in roles] if case else [None] for case in (before, after))
        cells = [cell(was, now, write) for was, now in zip(old if before else [None] * len(roles), new)]
        rows.append([kind, *cells, cell(sum(old) if before else None, sum(new), write)])
    elapsed = cell(before["elapsed"] if before else None, after["elapsed"], write)
    rows.append(["elapsed"] + [""] * len(roles) + [elapsed])
    return markdown_table([f"{unit} of {title}", *roles, "all"], rows)


def as_markdown(before, after):
    parts = []
    for title, case in after.get("time", {}).items():
        parts.append(time_table(title, before.get("time", {}).get(title), case))
    for title, columns in after["instructions"].items():
        parts.append(instruction_table(title, before.get("instructions", {}).get(title, {}), columns))
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(prog="budget.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--time", type=float, metavar="SECONDS", help="also processor time, so long each")
    parser.add_argument("--before", metavar="BUILD", help="an earlier state's build, counted and measured, too")
    parser.add_argument("--markdown", action="store_true", help="write into docs/performance.md")
    arguments = parser.parse_args()
    before = json.loads(BEFORE.read_text()) if BEFORE.exists() else {}
    after = {"instructions": count_instructions(arguments.build)}
    if arguments.before:
        before["instructions"] = count_instructions(arguments.before)
    if arguments.time:
        times = measure_time([arguments.build] + ([arguments.before] if arguments.before else []), arguments.time)
        after["time"], *rest = times
        if rest:
            before["time"] = rest[0]
    if arguments.before:
        BEFORE.write_text(json.dumps(rounded(before), indent=1) + "\n")
    text = as_markdown(before, after)
    print(text)
    if arguments.markdown:
        sys.path.append(str(ROOT / "bench"))
        import report

        report.write_between_marks("budget", text, PAGE)
    return 0


def rounded(value):
    return {name: rounded(inner) for name, inner in value.items()} if isinstance(value, dict) else round(value, 1)


if __name__ == "__main__":
    sys.exit(main())
