"""The peer for one-shot executors that are plain commands: GNU parallel with two jobs at a time.

    peer_parallel.py SECONDS

Counts the lines of echo commands from the first on, so that what parallel needs to start is not counted.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

JOBS = 2
WARM_UP = 20


def feed(stream):
    """Inputs for as long as anybody takes them."""
    try:
        for number in itertools.count():
            stream.write(b"%d\n" % number)
    except (BrokenPipeError, ValueError):
        pass


def measure_rate(seconds, directory):
    command = ["parallel", "--will-cite", "--ungroup", "--jobs", str(JOBS), "echo"]
    environment = {**os.environ, "PARALLEL_HOME": directory, "PARALLEL_SHELL": "/bin/sh"}
    parallel = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    feeder = threading.Thread(target=feed, args=(parallel.stdin,), daemon=True)
    feeder.start()
    for _ in range(WARM_UP):
        if not parallel.stdout.readline():
            sys.exit("parallel ended early")
    done = 0
    start = time.monotonic_ns()
    now = start
    while now - start < seconds * 1e9:
        if not parallel.stdout.readline():
            sys.exit("parallel ended early")
        done += 1
        now = time.monotonic_ns()
    parallel.kill()
    parallel.wait()
    return done * 1e9 / (now - start)


def main():
    with tempfile.TemporaryDirectory(prefix="netpool-bench-") as directory:
        rate = measure_rate(float(sys.argv[1]), directory)
    print(json.dumps({"case": "parallel", "measure": "one_shot", "unit": "tasks/s", "value": rate}), flush=True)
    os._exit(0)  # the feeder may still hold its end of the pipe


if __name__ == "__main__":
    main()
