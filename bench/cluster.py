"""Processes of the benchmark: programs run to their end, and brokers with workers; all end with the runner."""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
READY_TIMEOUT_S = 20
STOP_TIMEOUT_S = 5
CLEAN_UP_S = 3
WORKERS = 2


class BenchError(Exception):
    """Something that was to be measured did not work; the text says what."""


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


@contextlib.contextmanager
def undisturbed():
    """No signal ends what stands in it halfway. Nothing may be started there: it would inherit that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_group(process):
    """Ends a process that leads its own group, and everything it started. One that still runs may clean up first."""
    try:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            wait_quietly(process, CLEAN_UP_S)
            time.sleep(CLEAN_UP_S / 10)  # its children hear of its end
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def wait_quietly(process, timeout_s):
    try:
        process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        pass


def run_program(command, environment, timeout_s):
    """(stdout, monotonic ns at the start) of a program that has to exit with 0 in time. What it leaves in its directory
    for temporary files goes with it."""
    with tempfile.TemporaryDirectory(prefix="netpool-bench-", ignore_cleanup_errors=True) as directory:
        started_ns = time.monotonic_ns()
        process = subprocess.Popen(command, env={**environment, "TMPDIR": directory}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise BenchError(f"did not end within {timeout_s:.0f} s") from None
        finally:
            end_group(process)
    if process.returncode != 0:
        raise BenchError(f"exit status {process.returncode}: {last_line(errors)}")
    return output, started_ns


class Cluster:
    """A broker on this host, over TLS on loopback or over ipc, and its workers."""

    def __init__(self, build, kind, worker_count=WORKERS, broker_options=()):
        self.build = build
        self.kind = kind
        self.worker_count = worker_count
        self.broker_options = list(broker_options)
        self.directory = Path(tempfile.mkdtemp(prefix="netpool-bench-"))
        self.processes = []
        self.url = None
        self.broker = None
        self.environment = dict(os.environ)

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def is_alive(self):
        return bool(self.processes) and all(process.poll() is None for process in self.processes)

    def stop(self):
        """Workers first, so that they say goodbye to a broker that is there."""
        with undisturbed():
            for process in reversed(self.processes):
                process.terminate()
                wait_quietly(process, STOP_TIMEOUT_S)
                end_group(process)
            self.processes = []
            shutil.rmtree(self.directory, ignore_errors=True)

    def simulate_workers(self, count):
        """So many more workers, all in one process, over TLS."""
        command = [self.build / "bench/bench_workers", self.url.rpartition(":")[2], str(count)]
        self._start_daemon("simulated", command, self._credentials("worker", "simulated"), READY_TIMEOUT_S + count / 10)

    def roles(self):
        """{role: pids} of what runs beside a program: its processes, and executors as children of supervisors."""
        workers = [process.pid for process in self.processes if process is not self.broker]
        return {"broker": [self.broker.pid], "supervisor": workers}

    def _start(self):
        broker = [self.build / "bin/netpool-broker", "--log-level", "warning", *self.broker_options]
        if self.kind == "ipc":
            broker += ["--ipc", str(self.directory / "run/broker")]
            credentials = {}
        else:
            self._make_certificates()
            broker += ["--listen", "127.0.0.1:0"]
            credentials = self._credentials("broker", "main")
        line, self.broker = self._start_daemon("broker", broker, credentials)
        match = re.match(r"listening (\S+)", line)
        if not match:
            raise BenchError(f"the broker says '{line}'")
        address = match.group(1)
        self.url = address if address.startswith("ipc://") else f"tls://{address}"
        for number in range(1, self.worker_count + 1):
            name = f"worker{number}"
            command = [self.build / "bin/netpool-worker", "--url", self.url, "--slots", "1", "--name", name,
                       "--module", self.build / "bench/bench_functions.so", "--log-level", "warning"]
            line, _ = self._start_daemon(name, command, self._credentials("worker", name) if self.kind != "ipc" else {})
            if line:
                raise BenchError(f"{name} says '{line}'")
        if self.kind != "ipc":
            self.environment.update(self._credentials("client", "bench"))

    def _make_certificates(self):
        netpool = self.build / "bin/netpool"
        pki = self.directory / "pki"
        commands = [[netpool, "ca", "init", pki]]
        names = [("broker", "main"), ("client", "bench")]
        names += [("worker", f"worker{number}") for number in range(1, self.worker_count + 1)] + [("worker", "simulated")]
        for role, name in names:
            host = ["--host", "127.0.0.1"] if role == "broker" else []
            commands.append([netpool, "ca", "issue", pki, "--role", role, "--name", name, *host])
        for command in commands:
            run_program(command, self.environment, READY_TIMEOUT_S)

    def _credentials(self, role, name):
        pki = self.directory / "pki"
        return {"NETPOOL_CA": str(pki / "ca.pem"), "NETPOOL_CERT": str(pki / f"{role}-{name}.pem"),
                "NETPOOL_KEY": str(pki / f"{role}-{name}.key")}

    def _start_daemon(self, name, command, credentials, timeout_s=READY_TIMEOUT_S):
        """Starts it and waits for the line it writes to its --ready-fd."""
        log = self.directory / f"{name}.log"
        ready, ready_write = os.pipe()
        with open(log, "wb") as errors:
            process = subprocess.Popen([*command, "--ready-fd", str(ready_write)], pass_fds=[ready_write],
                                       env={**self.environment, **credentials}, stdin=subprocess.DEVNULL,
                                       stdout=errors, stderr=errors, start_new_session=True)
        self.processes.append(process)
        os.close(ready_write)
        try:
            line = read_line(ready, timeout_s)
        finally:
            os.close(ready)
        if line is None:
            raise BenchError(f"{name} does not start: {last_line(log.read_text(errors='replace'))}")
        return line, process


def read_line(descriptor, timeout_s):
    """The line that a daemon writes; None when it ends or takes too long."""
    text = b""
    end = time.monotonic() + timeout_s
    while not text.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0, end - time.monotonic()))[0]:
            return None
        piece = os.read(descriptor, 4096)
        if not piece:
            return None
        text += piece
    return text.decode(errors="replace").strip()
