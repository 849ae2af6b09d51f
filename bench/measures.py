"""What is measured, by which programs, and what it is to reach. Only data: bench/run.py does the running."""

from dataclasses import dataclass

NETPOOL = "netpool"
FLOOR = "floor"
PEER = "peer"
DEBIAN_PYTHON = "/usr/bin/python3"  # the one that Debian's Python packages are for


@dataclass(frozen=True)
class Contender:
    """One program in one measure. In `command`, {seconds}, {url}, {broker_pid} and {module} are filled in."""

    name: str
    kind: str
    command: tuple
    pool: str = None  # tls, ipc: a broker and two workers; bare: a fresh TLS broker without workers; None: none
    rounds: int = None  # at most; None: all
    turns: int = 1  # times a round, alternating with the others that have as many: where single figures differ too much
    in_quick: bool = True
    needs: tuple = ()  # programs and paths of Debian packages; where one is missing, so is the contender


@dataclass(frozen=True)
class Measure:
    name: str
    title: str
    unit: str
    higher_is_better: bool
    contenders: tuple
    baseline: str = None  # the contender that the others are set in relation to


@dataclass(frozen=True)
class Goal:
    """`subject` of `measure` against `factor` times a reference, or an absolute bound."""

    measure: str
    subject: str
    comparison: str  # ">=" or "<="
    factor: float
    reference: str = None
    # "design": what netpool is built to reach; "contract": what users are promised; "first": a step on the way; "own":
    # this benchmark's
    origin: str = "design"


def floor(name, program, mode, **more):
    command = (program, mode, "{seconds}") if mode else (program, "{seconds}")
    return Contender(name, FLOOR, command, **more)


def python(name, peer, mode):
    return Contender(name, PEER, ("peer_python.py", peer, mode, "{seconds}"))


def gearman(mode, name="Gearman", **more):
    return Contender(name, PEER, ("peer_gearman", mode, "{seconds}"), needs=("gearmand",), **more)


def dask(name, mode):
    """Three rounds at most: it takes seconds to start."""
    return Contender(name, PEER, ("peer_dask.py", mode, "{seconds}"), rounds=3, in_quick=False,
                     needs=(DEBIAN_PYTHON, "/usr/lib/python3/dist-packages/distributed"))


def mpi(transport):
    return floor(f"MPI, {'loopback TCP' if transport == 'tcp' else 'shared memory'}", "floor_mpi", transport,
                 needs=("mpirun",))


def netpool(url, mode, name=None, **more):
    pool = url if url in ("tls", "ipc") else None
    target = "{url}" if pool else url
    label = name or url.split(":")[0]
    return Contender(label, NETPOOL, ("bench_netpool", target, mode, "{seconds}"), pool=pool, **more)


def everywhere(mode):
    return (netpool("tls", mode), netpool("ipc", mode), netpool("local:2", mode), netpool("threads:2", mode))


MEASURES = (
    Measure("rate_16", "no-op tasks, 16 B, one client", "tasks/s", True, (
        floor("tls relay", "floor_tls_relay", "rate_16"),
        floor("zmq relay", "floor_zmq_relay", "rate_16"),
        *everywhere("rate_16"),
        netpool("tls", "submit_16", name="tls, a future each"),
        gearman("rate_16"),
        python("Pool.imap", "pool", "rate_16"),
        python("Executor.map", "executor", "rate_16"),
        dask("Dask client.map", "rate_16"),
    ), baseline="zmq relay"),
    Measure("rate_1k", "no-op tasks, 1 KiB, one client", "tasks/s", True, (
        floor("tls relay", "floor_tls_relay", "rate_1k"),
        floor("zmq relay", "floor_zmq_relay", "rate_1k"),
        *everywhere("rate_1k"),
    ), baseline="zmq relay"),
    Measure("round_trip", "round trip of one no-op task, 16 B", "us", False, (
        floor("socketpair", "floor_socketpair", None),
        mpi("shared"),
        mpi("tcp"),
        floor("tls relay", "floor_tls_relay", "round_trip"),
        floor("zmq relay", "floor_zmq_relay", "round_trip"),
        *everywhere("round_trip"),
        gearman("round_trip"),
        python("Pool.apply", "pool", "round_trip"),
        python("Executor.submit", "executor", "round_trip"),
        dask("Dask client.submit", "round_trip"),
    ), baseline="tls relay"),
    Measure("map8", "map of 8-byte items, default chunks", "items/s", True, (
        *everywhere("map8"),
        python("Pool.map", "pool", "map8"),
        python("Executor.map", "executor", "map8"),
        dask("Dask bag.map", "map8"),
    ), baseline="Pool.map"),
    Measure("chunks", "map with adaptive chunks against the best fixed size", "x the best's time", False, tuple(
        Contender(f"{url.split(':')[0]}, {kind} items", NETPOOL, ("bench_chunks", "{url}" if url == "tls" else url, kind),
                  pool="tls" if url == "tls" else None, rounds=1, in_quick=False)
        for url in ("local:2", "tls") for kind in ("100ns", "10us", "10ms", "mixed")
    )),
    Measure("echo_1m", "1 MiB there and back, four under way", "MiB/s", True, (
        floor("tls relay", "floor_tls_relay", "echo_1m", turns=4),
        netpool("tls", "echo_1m", turns=4),
        floor("zmq relay", "floor_zmq_relay", "echo_1m"),
        *everywhere("echo_1m")[1:],
        python("Pool.apply_async", "pool", "echo_1m"),
        python("Executor.submit", "executor", "echo_1m"),
    ), baseline="tls relay"),
    Measure("start", "program start to first result", "ms", False, (
        netpool("local:2", "start"),
        netpool("threads:2", "start"),
        netpool("tls", "start"),
        python("Pool.apply", "pool", "start"),
        python("Executor.submit", "executor", "start"),
    ), baseline="Pool.apply"),
    Measure("one_shot", "an executor a task", "tasks/s", True, (
        floor("fork, exit, wait", "floor_fork", None),
        *everywhere("one_shot"),
        python("Pool, one task each", "pool", "one_shot"),
        Contender("GNU parallel echo", PEER, ("peer_parallel.py", "{seconds}"), needs=("parallel",)),
    ), baseline="fork, exit, wait"),
    Measure("queued", "no-op tasks, 16 B, with a long queue", "tasks/s", True, (
        netpool("tls", "queued_1k", name="tls, 1,000 queued"),
        netpool("tls", "queued_100k", name="tls, 100,000 queued"),
        netpool("tls", "queued_1m", name="tls, 1,000,000 queued", in_quick=False),
        gearman("queued_1k", name="Gearman, 1,000 queued"),
        gearman("queued_20k", name="Gearman, 20,000 queued"),
        gearman("concurrent_20k", name="Gearman, 20,000 awaited", rounds=1, in_quick=False),
    ), baseline="tls, 1,000 queued"),
    Measure("scale", "tasks that sleep for 1 ms, local", "tasks/s", True, tuple(
        netpool(f"local:{count}", "scale_1ms", name=f"{count} worker{'s' if count > 1 else ''}")
        for count in (1, 2, 4, 8)
    ), baseline="1 worker"),
    Measure("task_memory", "broker memory per queued 16 B task", "bytes", False, (
        Contender("tls", NETPOOL, ("bench_memory", "{url}", "{broker_pid}", "tasks", "1000000"), pool="bare",
                  rounds=3, in_quick=False),
    )),
    Measure("peer_memory", "broker memory per idle TLS client", "bytes", False, (
        Contender("tls", NETPOOL, ("bench_memory", "{url}", "{broker_pid}", "peers", "800"), pool="bare",
                  rounds=3, in_quick=False),
    )),
)

GOALS = (
    Goal("rate_16", "tls", ">=", 0.5, "zmq relay", origin="first"),
    Goal("rate_16", "tls", ">=", 1.5, "zmq relay"),
    Goal("round_trip", "tls", "<=", 3, "tls relay", origin="first"),
    Goal("round_trip", "tls", "<=", 1.5, "tls relay"),
    Goal("round_trip", "local", "<=", 8, "socketpair", origin="first"),
    Goal("round_trip", "local", "<=", 4, "socketpair"),
    Goal("round_trip", "local", "<=", 0.5, "Pool.apply", origin="first"),
    Goal("map8", "local", ">=", 20, "Pool.map"),
    *(Goal("chunks", f"{pool}, {kind} items", "<=", 1.15, origin="contract")
      for pool in ("local", "tls") for kind in ("100ns", "10us", "10ms", "mixed")),
    Goal("echo_1m", "tls", ">=", 1, "tls relay"),
    Goal("echo_1m", "local", ">=", 10, "Pool.apply_async"),
    Goal("one_shot", "local", ">=", 1, "Pool, one task each", origin="own"),
    Goal("queued", "tls, 1,000,000 queued", ">=", 0.9, "tls, 1,000 queued"),
    Goal("start", "local", "<=", 1, "Pool.apply", origin="own"),
    Goal("scale", "8 workers", ">=", 7, "1 worker", origin="own"),
    Goal("task_memory", "tls", "<=", 200),
    Goal("peer_memory", "tls", "<=", 400 * 1024 * 1024 / 10000),
)
