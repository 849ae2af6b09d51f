"""What processes use, read from /proc while a program runs phase by phase.

A phase is announced by the program (figures_tell): it prints {"begin": NAME}, waits, does it, prints {"end": NAME, ...}
and waits again. The processor time in between is that of the phase.
"""

import json
import os
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path

from cluster import BenchError, end_group, last_line

TIMEOUT_S = 180


def read(path):
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""  # it has ended


def children(pids):
    """Pids of those whose parent is one of these."""
    found = []
    for entry in os.listdir("/proc"):
        fields = read(f"/proc/{entry}/stat").rpartition(")")[2].split() if entry.isdigit() else []
        if fields and int(fields[1]) in pids:
            found.append(int(entry))
    return found


def with_families(roles):
    """A local pool has its supervisor below the client; executors, and what forks them, are below supervisors."""
    supervisors = roles.get("supervisor") or children(roles["client"])
    executors = generation = children(supervisors)
    while generation:
        generation = children(generation)
        executors = executors + generation
    return {**roles, "supervisor": supervisors, "executor": executors}


def used(pid):
    """Counter of one process so far: ns by thread, and user and kernel, which the kernel tells apart by ticks only."""
    threads = Counter()
    ticks = Counter()
    for task in os.listdir(f"/proc/{pid}/task") if os.path.isdir(f"/proc/{pid}/task") else []:
        stat = read(f"/proc/{pid}/task/{task}/stat").rpartition(")")[2].split()
        schedstat = read(f"/proc/{pid}/task/{task}/schedstat").split()
        if stat and schedstat:
            threads["main thread" if int(task) == pid else "other threads"] += int(schedstat[0])
            ticks += Counter(user=int(stat[11]), kernel=int(stat[12]))
    return threads, ticks


def sample(roles):
    """{role: (threads, ticks)} of all processes of the role."""
    result = {}
    for role, pids in roles.items():
        threads, ticks = Counter(), Counter()
        for pid in pids:
            more = used(pid)
            threads += more[0]
            ticks += more[1]
        result[role] = threads, ticks
    return result


def spent(before, after):
    """{role: {"ns", "user": share of it, "threads": ns by thread}} between two samples."""
    result = {}
    for role, (threads, ticks) in after.items():
        threads, ticks = threads - before[role][0], ticks - before[role][1]
        result[role] = {"ns": sum(threads.values()), "user": ticks["user"] / max(sum(ticks.values()), 1),
                        "threads": dict(threads)}
    return result


def memory(pids, name):
    """The largest VmRSS (now) or VmHWM (ever) of these, bytes."""
    sizes = [0]
    for pid in pids:
        sizes += [1024 * int(line.split()[1]) for line in read(f"/proc/{pid}/status").splitlines()
                  if line.startswith(name + ":")]
    return max(sizes)


def run_phases(command, environment, roles=None, timeout_s=TIMEOUT_S):
    """{phase: what the program says of it, with "spent" and "peak" (bytes) by role}. `roles` are the pids beside it."""
    phases = {}
    with tempfile.TemporaryDirectory(prefix="netpool-bench-", ignore_cleanup_errors=True) as directory:
        program = subprocess.Popen(list(map(str, command)), env={**environment, "TMPDIR": directory},
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True)
        watchdog = threading.Timer(timeout_s, end_group, [program])
        watchdog.start()
        try:
            everyone = before = None
            for line in program.stdout:
                said = json.loads(line)
                everyone = everyone or with_families({"client": [program.pid], **(roles or {})})
                now = sample(everyone)
                if "begin" in said:
                    before = now
                else:
                    peaks = {role: memory(pids, "VmHWM") for role, pids in everyone.items()}
                    phases[said["end"]] = {**said, "spent": spent(before, now), "peak": peaks}
                program.stdin.write("\n")
                program.stdin.flush()
            errors = program.stderr.read()
            program.wait()
        finally:
            watchdog.cancel()
            end_group(program)
            for stream in (program.stdin, program.stdout, program.stderr):
                stream.close()
    if program.returncode != 0:
        raise BenchError(f"{Path(command[0]).name}: exit status {program.returncode}: {last_line(errors)}")
    return phases
