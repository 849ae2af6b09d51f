"""Processes of the benchmark: programs run to their end, and brokers with workers; all end with the runner."""

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

READY_TIMEOUT_S = 20
STOP_TIMEOUT_S = 5
WORKERS = 2


class BenchError(Exception):
    """Something that was to be measured did not work; the text says what."""


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def end_group(process):
    """Ends a process that leads its own group, and everything it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run_program(command, environment, timeout_s):
    """(stdout, monotonic ns at the start) of a program that has to exit with 0 in time."""
    started_ns = time.monotonic_ns()
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
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

    def __init__(self, build, kind, worker_count=WORKERS):
        self.build = build
        self.kind = kind
        self.worker_count = worker_count
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
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(timeout=STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                pass
            end_group(process)
        self.processes = []
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self):
        broker = [self.build / "bin/netpool-broker", "--log-level", "warning"]
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
        names += [("worker", f"worker{number}") for number in range(1, self.worker_count + 1)]
        for role, name in names:
            host = ["--host", "127.0.0.1"] if role == "broker" else []
            commands.append([netpool, "ca", "issue", pki, "--role", role, "--name", name, *host])
        for command in commands:
            run_program(command, self.environment, READY_TIMEOUT_S)

    def _credentials(self, role, name):
        pki = self.directory / "pki"
        return {"NETPOOL_CA": str(pki / "ca.pem"), "NETPOOL_CERT": str(pki / f"{role}-{name}.pem"),
                "NETPOOL_KEY": str(pki / f"{role}-{name}.key")}

    def _start_daemon(self, name, command, credentials):
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
            line = read_line(ready)
        finally:
            os.close(ready)
        if line is None:
            raise BenchError(f"{name} does not start: {last_line(log.read_text(errors='replace'))}")
        return line, process


def read_line(descriptor):
    """The line that a daemon writes; None when it ends or takes too long."""
    text = b""
    end = time.monotonic() + READY_TIMEOUT_S
    while not text.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0, end - time.monotonic()))[0]:
            return None
        piece = os.read(descriptor, 4096)
        if not piece:
            return None
        text += piece
    return text.decode(errors="replace").strip()
