"""Brokers, workers and jobs as real processes, for the tests of faults and of several hosts.

Everything a Cluster starts ends with it: by pid, also when the test fails, and by the kernel should the test itself be
killed. Lines that a process prints are stamped on the monotonic clock as they come. Nothing here sleeps to wait for
something that a line, a pipe or an exit status tells; `until` polls what only a file or a status can tell.
"""

import collections
import ctypes
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

SKIPPED = 77
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Skip(Exception):
    """This machine lacks what the test needs."""


def die_with_the_test():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def until(condition, timeout_s, what, interval_s=0.02):
    """The first true value of condition(), asked again and again."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(interval_s)


Line = collections.namedtuple("Line", "stamp text")  # seconds on the monotonic clock


class Process:
    """A program, its lines on both outputs and its end."""

    def __init__(self, name, argv, env=None, pass_fds=(), cwd=None):
        self.name = name
        self.lines = []
        self.changed = threading.Condition()
        self.open_outputs = 2
        self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env=env, pass_fds=pass_fds, cwd=cwd, preexec_fn=die_with_the_test,
                                      text=True, errors="replace")
        self.pid = self.popen.pid
        for stream in (self.popen.stdout, self.popen.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for text in stream:
            with self.changed:
                self.lines.append(Line(time.monotonic(), text.rstrip("\n")))
                self.changed.notify_all()
        with self.changed:
            self.open_outputs -= 1
            self.changed.notify_all()

    def expect(self, pattern, timeout_s, since=0.0):
        """Waits for a line that matches, printed at or after the stamp `since`."""
        deadline = time.monotonic() + timeout_s
        expression = re.compile(pattern)
        looked_at = 0
        with self.changed:
            while True:
                for line in self.lines[looked_at:]:
                    if line.stamp >= since and expression.search(line.text):
                        return line
                looked_at = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or self.open_outputs == 0:
                    why = "its outputs were closed" if left > 0 else f"not within {timeout_s} s"
                    raise AssertionError(f"{self.name}: no line matches {pattern!r}: {why}")
                self.changed.wait(left)

    def wait(self, timeout_s):
        """Exit status, negative for a signal; all lines have been read then."""
        try:
            status = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {timeout_s} s") from None
        with self.changed:
            self.changed.wait_for(lambda: self.open_outputs == 0, 10)
        return status

    def is_running(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.is_running():
            os.kill(self.pid, number)

    def text(self):
        with self.changed:
            return "\n".join(line.text for line in self.lines)

    def end(self):
        for step in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
            self.signal(step)
            if step != signal.SIGCONT:
                try:
                    self.popen.wait(5)
                    return
                except subprocess.TimeoutExpired:
                    pass


def children_by_parent():
    children = collections.defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                children[int(fields[1])].append(int(entry))
    return children


def descendants(pid):
    """Pids below this one, parents before children."""
    children = children_by_parent()
    found = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


class Ledger:
    """What the ledger module noted: which task ran when, where, how often."""

    Entry = collections.namedtuple("Entry", "what id attempt pid stamp")

    def __init__(self, directory):
        self.path = os.path.join(directory, "ledger")

    def entries(self):
        try:
            with open(self.path, encoding="ascii") as file:
                text = file.read()
        except FileNotFoundError:
            return []
        entries = []
        for line in text.splitlines():
            if not line.endswith(" ."):
                continue  # half a line of one that was killed, or is being written
            what, task, attempt, pid, stamp, _ = line.split()
            entries.append(self.Entry(what, int(task), int(attempt), int(pid), int(stamp) / 1e9))
        return entries

    def size(self):
        try:
            return os.path.getsize(self.path)
        except FileNotFoundError:
            return 0

    def executions(self):
        """Starts by task id."""
        return collections.Counter(entry.id for entry in self.entries() if entry.what == "S")

    def running_at(self, stamp):
        """Ids of tasks that were running then."""
        running = set()
        for entry in self.entries():
            if entry.stamp <= stamp:
                (running.add if entry.what == "S" else running.discard)(entry.id)
        return running


class Cluster:
    """A directory, certificates and processes of one test. Use it in a with statement."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.processes = []
        self.cleanups = []
        self.directory = tempfile.mkdtemp(prefix="netpool-test-")
        self.authority = os.path.join(self.directory, "authority")
        self.has_authority = False
        os.mkdir(os.path.join(self.directory, "work"))
        self.ledger = Ledger(os.path.join(self.directory, "work"))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        failed = kind is not None and not issubclass(kind, Skip)
        for process in reversed(self.processes):
            process.end()
        for cleanup in reversed(self.cleanups):
            cleanup()
        if failed:
            for process in self.processes:
                text = process.text()
                print(f"--- {process.name} (pid {process.pid}, exit {process.popen.poll()})\n{text[-6000:]}",
                      file=sys.stderr)
        shutil.rmtree(self.directory, ignore_errors=True)

    def program(self, name):
        path = os.path.join(self.build, "bin", name)
        if not os.path.exists(path):
            raise AssertionError(f"{path} is missing: build it first")
        return path

    def support(self, name):
        for place in ("tests", "bin", "lib", "tests/support", "tests/modules"):
            path = os.path.join(self.build, place, name)
            if os.path.exists(path):
                return path
        raise AssertionError(f"{name} is missing under {self.build}: build it first")

    def start(self, name, argv, env=None, netns=None, pass_fds=()):
        prefix = ["ip", "netns", "exec", netns] if netns else []
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NETPOOL_")}
        environment["PATH"] = os.path.join(self.build, "bin") + os.pathsep + environment.get("PATH", "")
        environment.update(env or {})
        process = Process(name, prefix + argv, environment, pass_fds, cwd=self.directory)
        self.processes.append(process)
        return process

    def run(self, *argv, timeout_s=100, netns=None):
        prefix = ["ip", "netns", "exec", netns] if netns else []
        done = subprocess.run(prefix + list(argv), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout_s, check=False, cwd=self.directory)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _start_and_wait_ready(self, name, argv, netns, timeout_s):
        """Starts a daemon with --ready-fd and returns (process, what it wrote there)."""
        reader, writer = os.pipe()
        try:
            process = self.start(name, argv + ["--ready-fd", str(writer)], netns=netns, pass_fds=(writer,))
        finally:
            os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as file:
            thread_result = []
            thread = threading.Thread(target=lambda: thread_result.append(file.read()), daemon=True)
            thread.start()
            thread.join(timeout_s)
            if thread.is_alive():
                raise AssertionError(f"{name} is not ready within {timeout_s} s")
        return process, thread_result[0]

    # Certificates

    def certificate(self, role, name, hosts=()):
        """Options --ca, --cert, --key of a certificate made now."""
        if not self.has_authority:
            self.run(self.program("netpool"), "ca", "init", self.authority)
            self.has_authority = True
        host_options = [option for host in hosts for option in ("--host", host)]
        self.run(self.program("netpool"), "ca", "issue", self.authority, "--role", role, "--name", name, *host_options)
        return self.credentials(role, name)

    def credentials(self, role, name):
        return {"ca": os.path.join(self.authority, "ca.pem"),
                "cert": os.path.join(self.authority, f"{role}-{name}.pem"),
                "key": os.path.join(self.authority, f"{role}-{name}.key")}

    @staticmethod
    def credential_options(files):
        return [option for key, path in files.items() for option in (f"--{key}", path)]

    # Programs

    def broker(self, *urls, credentials=None, options=(), netns=None):
        """(process, URL by which it is reached). The URLs say where it listens; one of each kind at most."""
        argv = [self.program("netpool-broker")]
        for url in urls:
            kind, _, where = url.partition("://")
            argv += ["--ipc" if kind == "ipc" else "--listen", where]
        argv += self.credential_options(credentials or {}) + list(options)
        process, said = self._start_and_wait_ready("broker", argv, netns, 60)
        if not said.startswith("listening "):
            raise AssertionError(f"broker is not ready: {said.strip()!r}\n{process.text()}")
        where = said.split()[1]
        return process, where if where.startswith("ipc://") else f"tls://{where}"

    def worker(self, name, url, credentials=None, slots=2, options=(), netns=None, module="ledger.so"):
        argv = [self.program("netpool-worker"), "--url", url, "--name", name, "--slots", str(slots),
                "--module", self.support(module)]
        argv += self.credential_options(credentials or {}) + list(options)
        process, said = self._start_and_wait_ready(f"worker {name}", argv, netns, 60)
        if said != "\n":
            raise AssertionError(f"worker {name} is not ready: {said.strip()!r}\n{process.text()}")
        return process

    def job(self, url, count, *options, credentials=None, netns=None, name="job"):
        env = {f"NETPOOL_{key.upper()}": path for key, path in (credentials or {}).items()}
        argv = [self.support("job"), "--url", url, "--count", str(count), "--directory", os.path.dirname(self.ledger.path),
                *options]
        return self.start(name, argv, env=env, netns=netns)

    def report(self, job, timeout_s, status=0):
        """Waits for a job's end and returns what it reports."""
        code = job.wait(timeout_s)
        reports = [line.text for line in job.lines if line.text.startswith("{")]
        assert reports, f"{job.name} ended with {code} and without a report"
        report = json.loads(reports[-1])
        print(f"{job.name}: {report}")
        assert code == status, f"{job.name} ended with {code}, expected {status}: {report}"
        return report

    def all_right(self, job, timeout_s):
        report = self.report(job, timeout_s)
        assert report["ok"] == report["count"] and report["wrong"] == 0 and report["duplicates"] == 0, report
        return report

    def status(self, url, credentials=None, netns=None):
        options = self.credential_options(credentials or {})
        return json.loads(self.run(self.program("netpool"), "status", "--json", "--url", url, *options, netns=netns))


def seed():
    """Of every random choice a test makes; NETPOOL_SEED replays it."""
    value = int(os.environ.get("NETPOOL_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {value} (replay with NETPOOL_SEED={value})")
    return value


def main(tests):
    """PROGRAM BUILD_DIRECTORY TEST: runs one of the module's functions; or lists them."""
    by_name = {test.__name__: test for test in tests}
    if len(sys.argv) != 3 or sys.argv[2] not in by_name:
        print("usage: PROGRAM BUILD_DIRECTORY TEST, TEST one of:", *by_name, sep="\n  ", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    try:
        by_name[sys.argv[2]](sys.argv[1])
    except Skip as reason:
        print(f"skipped: {sys.argv[2]}: {reason}")
        return SKIPPED
    except Exception:  # whatever it is, it is the test's failure
        traceback.print_exc()
        return 1
    print(f"passed: {sys.argv[2]}")
    return 0
