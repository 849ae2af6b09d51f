#!/usr/bin/env python3
"""Instructions a task, as valgrind counts them, against what tests/perf/expected.json says.

    test_instructions.py BUILD_DIRECTORY [--update]

Each figure is the difference between a run with N and one with 2N tasks, over N: what starting and ending cost does
not count. `core`, `dialogue`, `channel` and `supervisor` are the parts that every task passes, `stream` and `submit` all
of the client library with its streams and futures, each alone in one process, in batches of 256; `block` is an item in a
map's block. `executor` is what an executor spends on a task when more wait. `round_trip.*` is what each process of a TLS pool spends on one task that is submitted and waited for alone, so
that what is batched does not depend on time; only whether an executor sleeps in between does. More than the margin above what is expected fails.

The counts are those of one compiler, one kind of build and one architecture; elsewhere the test is skipped.
"""

import glob
import json
import os
import platform
import re
import shutil
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "support"))
import cluster as c

EXPECTED = HERE / "expected.json"
PATHS = {"core": "perf_paths", "dialogue": "perf_paths", "stream": "perf_paths", "submit": "perf_paths",
         "channel": "perf_paths", "supervisor": "perf_worker", "block": "perf_worker"}  # and the program that has them
PATH_TASKS = 25600
TOGETHER = 256
ROUND_TRIPS = 1000
TIMEOUT_S = 120
# The same code on every machine: without these, libc and OpenSSL choose by what the processor has.
CPU = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-ERMS,-FSRM",
       "OPENSSL_ia32cap": "~0x1000000000000000:0"}


def why_not(expected):
    """Why nothing can be compared here; None when it can."""
    compiler = os.environ.get("NETPOOL_COMPILER", "GNU")
    build_type = os.environ.get("NETPOOL_BUILD_TYPE", "RelWithDebInfo")
    made_for = expected["made_for"]
    if os.environ.get("NETPOOL_SANITIZE"):
        return "sanitizers count, too"
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    for what, is_here in (("architecture", platform.machine()), ("compiler", compiler), ("build type", build_type)):
        if is_here != made_for[what]:
            return f"the {what} is {is_here}, the expected counts are for {made_for[what]}"
    return None


def valgrind(output):
    return ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={output}"]


def read_count(path):
    """Of one output file; 0 for one that is empty, of a process that was killed."""
    found = re.findall(r"^totals: (\d+)", Path(path).read_text(), re.MULTILINE)
    return sum(map(int, found))


class CountedCluster(c.Cluster):
    """Every program runs under valgrind and leaves counts.NAME.PID; a part that was asked for, counts.NAME.PID.1."""

    def start(self, name, argv, **more):
        output = os.path.join(self.directory, f"counts.{name.split()[0]}.%p")
        return super().start(name, valgrind(output) + argv, **more)

    def count(self, pattern):
        return sum(read_count(path) for path in glob.glob(os.path.join(self.directory, f"counts.{pattern}")))


def count_path(pool, path, tasks):
    output = os.path.join(pool.directory, f"counts.{path}.{tasks}")
    pool.run(*valgrind(output), pool.support(PATHS[path]), path, str(tasks), timeout_s=TIMEOUT_S)
    return {path: read_count(output)}


def count_cluster(build, tasks, together):
    """{process: instructions} of tasks that are submitted so many together and then waited for."""
    with CountedCluster(build) as pool:
        broker, url = pool.broker("tls://127.0.0.1:0", credentials=pool.certificate("broker", "main", ["127.0.0.1"]))
        worker = pool.worker("w", url, credentials=pool.certificate("worker", "w"), slots=1, module="perf_functions.so")
        files = pool.certificate("client", "c")
        client = pool.start("client", [pool.support("perf_client"), url, str(tasks), str(together)],
                            env={f"NETPOOL_{key.upper()}": path for key, path in files.items()})
        assert client.wait(TIMEOUT_S) == 0, "the client failed"
        for process in (worker, broker):
            process.signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_S) == 0, f"{process.name} failed"
        counts = {"client": pool.count("client.*"), "broker": pool.count("broker.*"),
                  "supervisor": pool.count(f"worker.{worker.pid}"), "executor": pool.count("worker.*.1")}
    assert all(counts.values()), f"no counts: {counts}"
    return counts


def count_round_trips(build, tasks):
    return {f"round_trip.{role}": count for role, count in count_cluster(build, tasks, 1).items()}


def count_executor(build, tasks):
    return {"executor": count_cluster(build, tasks, TOGETHER)["executor"]}


def measure(build):
    """{figure: instructions a task}"""
    figures = {}
    with c.Cluster(build) as pool:
        for path in PATHS:
            once, twice = (count_path(pool, path, tasks) for tasks in (PATH_TASKS, 2 * PATH_TASKS))
            figures[path] = (twice[path] - once[path]) / PATH_TASKS
    for count, most in ((count_round_trips, ROUND_TRIPS), (count_executor, PATH_TASKS)):
        once, twice = (count(build, tasks) for tasks in (most, 2 * most))
        for name in once:
            figures[name] = (twice[name] - once[name]) / most
    return figures


def compare(figures, expected):
    """Prints the table; what costs more than it may."""
    worse = []
    print(f"{'instructions a task':24} {'counted':>9} {'expected':>9} {'':>8}  margin")
    for name, figure in figures.items():
        margins = expected["margins_percent"]
        wanted, margin = expected["instructions"][name], margins.get(name, margins[name.split(".")[0]])
        change = 100 * (figure / wanted - 1)
        note = ""
        if change > margin:
            worse.append(name)
            note = "MORE"
        elif change < -margin:
            note = "less: --update makes it the new bound"
        print(f"{name:24} {figure:9.1f} {wanted:9.1f} {change:+7.1f}%  {margin} % {note}".rstrip())
    return worse


def test(build, is_update):
    expected = json.loads(EXPECTED.read_text())
    reason = why_not(expected)
    if reason:
        raise c.Skip(reason)
    os.environ.update(CPU)
    figures = measure(build)
    if is_update:
        expected["instructions"] = {name: round(figure, 1) for name, figure in figures.items()}
        EXPECTED.write_text(json.dumps(expected, indent=2) + "\n")
    worse = compare(figures, expected)
    if worse:
        raise SystemExit(f"""
{', '.join(worse)}: more instructions a task than expected.
Who spends them: valgrind --tool=callgrind {build}/tests/perf_paths core 51200; callgrind_annotate callgrind.out.PID
If the change is worth it, put the new counts into the same commit and say why there:
    {Path(__file__).relative_to(HERE.parent.parent)} {build} --update""")


def main():
    if len(sys.argv) < 2 or sys.argv[2:] not in ([], ["--update"]):
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    try:
        test(sys.argv[1], sys.argv[2:] == ["--update"])
    except c.Skip as reason:
        print(f"skipped: {reason}")
        return c.SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
