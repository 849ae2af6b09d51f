"""The peers from Python: multiprocessing.Pool and concurrent.futures.ProcessPoolExecutor with two processes.

    peer_python.py pool|executor MODE SECONDS

MODE: round_trip, rate_16, rate_16_map, map8, echo_1m, start, one_shot (pool only: a process a task). Prints one JSON line, as every program of the benchmark.
"""

import collections
import concurrent.futures
import json
import multiprocessing
import sys
import time

PROCESSES = 2
PAYLOAD = b"sixteen bytes..."
MIB = 1024 * 1024


def noop(payload):
    return None


def echo(payload):
    return payload


def square8(number):
    return number * number & 0xFFFFFFFFFFFFFFFF


class PoolPeer:
    """multiprocessing.Pool: apply, imap, map."""

    name = "pool"

    def __init__(self, tasks_per_process=None):
        self.pool = multiprocessing.Pool(PROCESSES, maxtasksperchild=tasks_per_process)

    def call(self, function, argument):
        return self.pool.apply(function, (argument,))

    def submit(self, function, argument):
        return self.pool.apply_async(function, (argument,))

    def wait(self, future):
        return future.get()

    def each(self, function, arguments):
        """One item a task."""
        for _ in self.pool.imap(function, arguments, chunksize=1):
            pass

    def map(self, function, arguments):
        """Default chunks."""
        return self.pool.map(function, arguments)

    def close(self):
        self.pool.terminate()
        self.pool.join()


class ExecutorPeer:
    """concurrent.futures.ProcessPoolExecutor: submit, map (whose default chunk is one item)."""

    name = "executor"

    def __init__(self):
        self.executor = concurrent.futures.ProcessPoolExecutor(PROCESSES)

    def call(self, function, argument):
        return self.executor.submit(function, argument).result()

    def submit(self, function, argument):
        return self.executor.submit(function, argument)

    def wait(self, future):
        return future.result()

    def each(self, function, arguments):
        for _ in self.executor.map(function, arguments, chunksize=1):
            pass

    def map(self, function, arguments):
        return list(self.executor.map(function, arguments))

    def close(self):
        self.executor.shutdown()


def print_figure(peer, mode, unit, value, **more):
    print(json.dumps({"case": peer.name, "measure": mode, "unit": unit, "value": value, **more}), flush=True)


def measure_round_trip(peer, mode, seconds):
    for _ in range(50):
        peer.call(noop, PAYLOAD)
    times = []
    now = time.monotonic_ns()
    end = now + seconds * 1e9
    while now < end:
        start = now
        peer.call(noop, PAYLOAD)
        now = time.monotonic_ns()
        times.append((now - start) / 1e3)
    times.sort()
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print_figure(peer, mode, "us", p50, p50=p50, p99=p99)


def rate_of(run, arguments_of, first_count, seconds):
    """Items a second of run(arguments), with as many items as fill about that time."""
    count = first_count
    while True:
        arguments = arguments_of(count)
        start = time.monotonic_ns()
        run(arguments)
        elapsed = (time.monotonic_ns() - start) / 1e9
        if elapsed >= seconds * 0.5:
            return count / elapsed
        count = min(int(count * seconds / max(elapsed, 1e-3)), count * 20) + 1


def measure_rate(peer, mode, seconds):
    run = (lambda items: peer.map(noop, items)) if mode == "rate_16_map" else (lambda items: peer.each(noop, items))
    print_figure(peer, mode, "tasks/s", rate_of(run, lambda count: [PAYLOAD] * count, 1000, seconds))


def measure_map8(peer, mode, seconds):
    rate = rate_of(lambda items: peer.map(square8, items), lambda count: list(range(count)), 1000, seconds)
    print_figure(peer, mode, "items/s", rate)


def measure_echo(peer, mode, seconds):
    """Four payloads of 1 MiB on their way at any time, as in the other programs."""
    blob = bytes(MIB)
    pending = collections.deque(peer.submit(echo, blob) for _ in range(4))
    done = 0
    start = time.monotonic_ns()
    while time.monotonic_ns() - start < seconds * 1e9:
        if len(peer.wait(pending.popleft())) != MIB:
            sys.exit("an echo of the wrong size")
        pending.append(peer.submit(echo, blob))
        done += 1
    elapsed = (time.monotonic_ns() - start) / 1e9
    for future in pending:
        peer.wait(future)
    print_figure(peer, mode, "MiB/s", done / elapsed)


def measure_start(peer, mode, seconds):
    """The moment of the first result; the runner knows when it started the program."""
    peer.call(noop, PAYLOAD)
    print_figure(peer, mode, "ns", time.monotonic_ns())


def measure_one_shot(peer, mode, seconds):
    """A process a task."""
    print_figure(peer, mode, "tasks/s", rate_of(lambda items: peer.each(noop, items), lambda count: [PAYLOAD] * count,
                                                20, seconds))


MEASURES = {
    "round_trip": measure_round_trip,
    "rate_16": measure_rate,
    "rate_16_map": measure_rate,
    "map8": measure_map8,
    "echo_1m": measure_echo,
    "start": measure_start,
    "one_shot": measure_one_shot,
}


def main():
    if sys.argv[2] == "one_shot":
        peer = PoolPeer(tasks_per_process=1)
    else:
        peer = {"pool": PoolPeer, "executor": ExecutorPeer}[sys.argv[1]]()
    try:
        MEASURES[sys.argv[2]](peer, sys.argv[2], float(sys.argv[3]))
    finally:
        peer.close()


if __name__ == "__main__":
    main()
