"""A stream that is fed for long keeps the memory of the program, the broker and the workers flat (A6)."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import cluster as c
import command as k

# AddressSanitizer keeps freed memory for a while, up to so much.
os.environ["ASAN_OPTIONS"] = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=1")))

SLACK_KB = 4096  # an allocator's and the kernel's, over all processes


def resident_kb(pid):
    """Of a process and everything below it; memory that they share is counted once for each, always alike."""
    total = 0
    for each in [pid, *c.descendants(pid)]:
        try:
            with open(f"/proc/{each}/status", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
        except FileNotFoundError:
            pass
    return total


def stays_flat(commands, url, count, order, others, environment=None):
    """others: {name: pid} of the processes to watch beside the program."""
    feed = commands.popen(url, str(count), order, env=environment, program=commands.support("stream_feed"),
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    watched = {"program": feed.pid, **others}
    sizes = {name: [] for name in watched}
    for tenth in range(1, 11):
        line = feed.stdout.readline()
        assert line == f"tenth {tenth}\n".encode(), f"{line!r} instead of tenth {tenth}; exit status {feed.poll()}"
        for name, pid in watched.items():
            sizes[name].append(resident_kb(pid))
        feed.stdin.write(b"\n")
        feed.stdin.flush()
    feed.stdin.close()
    assert feed.wait(timeout=60) == 0
    print(f"{url} {order}: {sizes} KiB")
    for name, seen in sizes.items():
        early = max(seen[:3])
        assert max(seen[3:]) <= early * 1.1 + SLACK_KB, f"{name} grows: {seen} KiB"


def a6_ten_million_items_through_local_keep_memory_flat(build):
    count = 200_000 if k.SANITIZED else 10_000_000
    with k.Commands(build) as commands:
        for order in ("ordered", "unordered"):
            stays_flat(commands, "local:2", count, order, {})


def a6_a_million_items_through_tls_keep_memory_flat(build):
    count = 100_000 if k.SANITIZED else 1_000_000
    with k.Commands(build) as commands:
        host = ("127.0.0.1",)
        broker, url = commands.broker("tls://127.0.0.1:0", credentials=commands.certificate("broker", "main", host))
        worker = commands.worker("w1", url, commands.certificate("worker", "w1"), module="pool_functions.so")
        files = commands.certificate("client", "feed")
        environment = {f"NETPOOL_{key.upper()}": path for key, path in files.items()}
        for order in ("ordered", "unordered"):
            stays_flat(commands, url, count, order, {"broker": broker.pid, "worker": worker.pid}, environment)


TESTS = [value for name, value in list(globals().items()) if name.startswith("a6_")]

if __name__ == "__main__":
    sys.exit(c.main(TESTS))
