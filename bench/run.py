#!/usr/bin/env python3
"""The benchmark: floors, peers and netpool side by side, in turn, several rounds; medians, spreads and ratios.

A case that fails in any round has no figure, and the exit status is 1. Needs a build with NETPOOL_BENCH=ON.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True  # the source tree stays as it is

import plot
import report
import scaling
import sizes
from cluster import ENDING_SIGNALS, BenchError, Cluster, run_program
from measures import DEBIAN_PYTHON, GOALS, MEASURES, NETPOOL

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
SECONDS = 0.5
QUICK_ROUNDS = 2
QUICK_SECONDS = 0.1
BUDGET_S = 350
QUICK_BUDGET_S = 55
PROGRAM_TIMEOUT_S = 45
QUICK_PROGRAM_TIMEOUT_S = 15
SEARCH_PATH = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
VERSIONS = {  # name in the report: command, what to read from it
    "OpenSSL": (["openssl", "version"], r"OpenSSL (\S+)"),
    "gearmand": (["/usr/sbin/gearmand", "--version"], r"gearmand (\S+)"),
    "Dask": ([DEBIAN_PYTHON, "-c", "import distributed; print(distributed.__version__)"], r"(\d[\d.]*)"),
    "OpenMPI": (["mpirun", "--version"], r"Open MPI\) (\S+)"),
    "GNU parallel": (["parallel", "--version"], r"GNU parallel (\S+)"),
}


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE",
                        help="only these measures, whole (" + ", ".join(measure.name for measure in MEASURES) +
                             ") or one contender of each (tls, local, Gearman, ...)")
    parser.add_argument("--json", action="store_true", help="everything as JSON on stdout, the table on stderr")
    parser.add_argument("--rounds", type=int, help=f"rounds ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="under a minute: shorter, fewer rounds, no long queues")
    parser.add_argument("--seconds", type=float, help=f"of one measurement ({SECONDS})")
    parser.add_argument("--markdown", action="store_true",
                        help="also write the table into docs/performance.md and the picture docs/performance.svg")
    parser.add_argument("--sizes", action="store_true",
                        help="instead: cost against the length of queues, the number of workers and the size of payloads")
    parser.add_argument("--scaling", action="store_true",
                        help="instead: what docs/scaling.md needs to know of one broker")
    parser.add_argument("--from", dest="source", metavar="FILE", help="measure nothing, take an earlier run's JSON")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build directory (build)")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    if arguments.seconds is not None and not arguments.seconds > 0:
        parser.error("--seconds: more than 0")
    names = {name for measure in MEASURES for name in [measure.name] + [c.name for c in measure.contenders]}
    for case in arguments.cases:
        if case not in names:
            parser.error(f"no case '{case}'; there are: {'; '.join(sorted(names))}")
    if arguments.markdown and (arguments.cases or arguments.quick) and not (arguments.sizes or arguments.scaling):
        parser.error("--markdown: only with all cases, the tables of the others would be lost")
    return arguments


def require_all_cases(result):
    """The page shows one run: what is not in this one would be lost from it."""
    there = {(measure["name"], row["name"]) for measure in result["measures"] for row in measure["contenders"]}
    lost = [f"{measure.name} of {contender.name}" for measure, contender in select_contenders([])
            if (measure.name, contender.name) not in there]
    if lost:
        raise SystemExit(f"--markdown: nothing was written, {len(lost)} cases are not in this result: {lost[0]}, ...")


def describe_machine():
    """What the figures depend on; nothing that names the machine."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory_kib = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text()).group(1))
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory_kib / 1048576, 1),
            "kernel": re.match(r"[\d.]+", platform.release()).group(0), "architecture": platform.machine(),
            "versions": {"Python": platform.python_version(), **installed_versions()}}


def installed_versions():
    """{name: version} of what is there."""
    versions = {}
    for name, (command, pattern) in VERSIONS.items():
        try:
            text = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
        except OSError:
            continue
        match = re.search(pattern, text)
        if match:
            versions[name] = match.group(1)
    return versions


def select_contenders(cases):
    """[(measure, contender)] in the order of one round."""
    return [(measure, contender) for measure in MEASURES for contender in measure.contenders
            if not cases or measure.name in cases or contender.name in cases]


class Runner:
    """One whole run. Figures are kept by (measure, contender), one value a turn: {(round, turn of it): value}."""

    def __init__(self, build, seconds, timeout_s):
        self.build = build
        self.seconds = seconds
        self.timeout_s = timeout_s
        self.clusters = {}
        self.figures = {}
        self.failures = {}
        self.missing = {}

    def stop(self):
        for cluster in self.clusters.values():
            cluster.stop()
        self.clusters = {}

    def run_round(self, number, pairs):
        due = [(measure, contender) for measure, contender in pairs if number < (contender.rounds or number + 1)]
        for turn in range(max((contender.turns for _, contender in due), default=0)):
            for measure, contender in due:
                if turn < contender.turns:
                    self._run_turn((number, turn), measure, contender)

    def _run_turn(self, when, measure, contender):
        key = (measure.name, contender.name)
        if key in self.failures or key in self.missing:
            return
        reason = self._missing(contender)
        if reason:
            self.missing[key] = reason
            return
        try:
            self.figures.setdefault(key, {})[when] = self._run(measure, contender)
        except BenchError as error:
            self.failures[key] = f"round {when[0] + 1}: {error}"

    def _missing(self, contender):
        """Why it cannot run; None when it can. What needs a Debian package is not built without that package."""
        if not all(shutil.which(need, path=SEARCH_PATH) or Path(need).is_dir() for need in contender.needs):
            return "not installed"
        needed = [self._program(contender)]
        if contender.pool:
            needed += [self.build / "bin" / name for name in ("netpool", "netpool-broker", "netpool-worker")]
        if all(path.exists() for path in needed):
            return None
        return "not built" if contender.kind == NETPOOL or not contender.needs else "not installed"

    def _program(self, contender):
        name = contender.command[0]
        return ROOT / "bench/peers" / name if name.endswith(".py") else self.build / "bench" / name

    def _run(self, measure, contender):
        if contender.pool == "bare":
            with Cluster(self.build, "tls", worker_count=0) as cluster:
                return self._run_program(measure, contender, cluster)
        return self._run_program(measure, contender, self._cluster(contender.pool) if contender.pool else None)

    def _cluster(self, kind):
        cluster = self.clusters.get(kind)
        if cluster is not None and not cluster.is_alive():
            del self.clusters[kind]
            cluster.stop()
            raise BenchError("the broker or a worker ended during the run")
        if cluster is None:
            cluster = Cluster(self.build, kind).__enter__()
            self.clusters[kind] = cluster
        return cluster

    def _run_program(self, measure, contender, cluster):
        values = {"seconds": self.seconds, "url": cluster.url if cluster else "",
                  "broker_pid": cluster.broker.pid if cluster else ""}
        arguments = [argument.format(**values) for argument in contender.command[1:]]
        program = [str(self._program(contender))]
        if program[0].endswith(".py"):
            program[:0] = [DEBIAN_PYTHON if DEBIAN_PYTHON in contender.needs else sys.executable, "-B"]
        environment = cluster.environment if cluster else dict(os.environ)
        output, started_ns = run_program(program + arguments, environment, self.timeout_s)
        return read_figure(output, measure, started_ns)


def read_figure(output, measure, started_ns):
    lines = output.splitlines()
    try:
        figure = json.loads(lines[0]) if len(lines) == 1 else None
    except ValueError:
        figure = None
    if not isinstance(figure, dict) or not isinstance(figure.get("value"), (int, float)):
        raise BenchError(f"expected one line of JSON, got {output!r:.200}")
    if figure["unit"] == "ns":
        figure["value"] = (figure["value"] - started_ns) / 1e6
    if not figure["value"] > 0:
        raise BenchError(f"not a figure: {figure['value']}")
    return {name: figure[name] for name in ("value", "p50", "p99") if name in figure}


def summarize(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def collect_measures(runner, pairs):
    """The measures that were selected, in order, each with its contenders' figures."""
    measures = {}
    for measure, contender in pairs:
        fields = ("name", "title", "unit", "higher_is_better", "baseline")
        entry = measures.setdefault(measure.name, {name: getattr(measure, name) for name in fields})
        entry.setdefault("contenders", [])
        key = (measure.name, contender.name)
        row = {"name": contender.name, "kind": contender.kind}
        if key in runner.failures:
            row["failed"] = runner.failures[key]
        elif key in runner.missing:
            row["missing"] = runner.missing[key]
        elif runner.figures.get(key):
            figures = runner.figures[key]
            row["turns"] = [[number + 1, turn + 1] for number, turn in sorted(figures)]
            row.update(summarize([figures[when]["value"] for when in sorted(figures)]))
            p99 = [figure["p99"] for figure in figures.values() if "p99" in figure]
            if p99:
                row["p99"] = statistics.median(p99)
            ratios = round_ratios(runner, key, (measure.name, measure.baseline))
            if ratios:
                row["ratio"] = statistics.median(ratios)
        else:
            row["missing"] = "not measured"
        entry["contenders"].append(row)
    return list(measures.values())


def round_ratios(runner, key, reference_key):
    """One against the other, turn by turn: what the machine did to both in that turn cancels out."""
    if key in runner.failures or reference_key in runner.failures:
        return []
    mine, reference = runner.figures.get(key, {}), runner.figures.get(reference_key, {})
    return [mine[when]["value"] / reference[when]["value"] for when in sorted(mine.keys() & reference.keys())]


def judge_goal(runner, goal):
    """The goal with its ratio turn by turn, or without one when a side has no figure."""
    entry = {"measure": goal.measure, "subject": goal.subject, "comparison": goal.comparison, "factor": goal.factor,
             "reference": goal.reference, "origin": goal.origin}
    key = (goal.measure, goal.subject)
    if goal.reference:
        ratios = round_ratios(runner, key, (goal.measure, goal.reference))
    else:
        figures = {} if key in runner.failures else runner.figures.get(key, {})
        ratios = [figure["value"] for figure in figures.values()]
    if not ratios:
        entry["verdict"] = "not measured"
        return entry
    entry.update(summarize(ratios))
    entry["verdict"] = "met" if meets(goal, entry["median"]) else "missed"
    if meets(goal, entry["min"]) != meets(goal, entry["max"]):
        entry["verdict"] += " (not in every turn)"
    return entry


def meets(goal, value):
    return value >= goal.factor if goal.comparison == ">=" else value <= goal.factor


def stamp(result, started):
    """What every result begins with."""
    return {"date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": describe_machine(),
            "took_s": round(time.monotonic() - started, 1), **result}


def collect(runner, pairs, rounds, started):
    selected = {(measure.name, contender.name) for measure, contender in pairs}
    goals = [judge_goal(runner, goal) for goal in GOALS if (goal.measure, goal.subject) in selected and
             (goal.reference is None or (goal.measure, goal.reference) in selected)]
    return stamp({"rounds": rounds, "seconds": runner.seconds, "measures": collect_measures(runner, pairs),
                  "goals": goals}, started)


def measure_all(arguments):
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    budget_s = QUICK_BUDGET_S if arguments.quick else BUDGET_S
    pairs = [(measure, contender) for measure, contender in select_contenders(arguments.cases)
             if contender.in_quick or not arguments.quick]
    started = time.monotonic()
    runner = Runner(arguments.build.resolve(), seconds,
                    QUICK_PROGRAM_TIMEOUT_S if arguments.quick else PROGRAM_TIMEOUT_S + 10 * seconds)
    last_s = 0
    done = 0
    try:
        for number in range(rounds):
            round_started = time.monotonic()
            if done and arguments.rounds is None and round_started - started + last_s > budget_s:
                print(f"stopped after {done} rounds: another would take longer than {budget_s} s", file=sys.stderr)
                break
            print(f"round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
            # Every second round backwards, so that a machine that slows down favours nobody.
            runner.run_round(number, pairs if number % 2 == 0 else pairs[::-1])
            last_s = time.monotonic() - round_started
            done += 1
        return collect(runner, pairs, done, started)
    finally:
        runner.stop()


def end_by_signal(number, _):
    """The first one ends the run; from then on nothing disturbs the cleaning up."""
    for each in ENDING_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def run_other(arguments, part):
    """Cost against size, or what scaling.md needs: `part` is the module that measures, writes and draws it."""
    started = time.monotonic()
    if arguments.source:
        result = json.loads(Path(arguments.source).read_text())
    else:
        seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
        rounds = arguments.rounds or (1 if arguments.quick else part.ROUNDS)
        result = stamp(part.measure(arguments.build.resolve(), seconds, rounds, summarize), started)
    if arguments.json:
        json.dump(result, sys.stdout, indent=1)
        print()
    print(part.as_text(result), file=sys.stderr if arguments.json else sys.stdout)
    if arguments.markdown:
        part.write_pages(result, ROOT / "docs")
    return 0


def main():
    arguments = parse_arguments()
    for number in ENDING_SIGNALS:
        signal.signal(number, end_by_signal)
    if arguments.sizes or arguments.scaling:
        return run_other(arguments, sizes if arguments.sizes else scaling)
    if arguments.source:
        result = json.loads(Path(arguments.source).read_text())
    else:
        result = measure_all(arguments)
    if arguments.json:
        json.dump(result, sys.stdout, indent=1)
        print()
    print(report.as_text(result), file=sys.stderr if arguments.json else sys.stdout)
    if arguments.markdown:
        require_all_cases(result)
        report.write_between_marks("bench", report.as_markdown(result), ROOT / "docs/performance.md")
        (ROOT / "docs/performance.svg").write_text(plot.as_svg(result))
    failed = [row for measure in result["measures"] for row in measure["contenders"] if "failed" in row]
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        os._exit(1)  # whoever read the table left; Python would complain about it at exit
