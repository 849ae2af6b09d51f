"""What docs/scaling.md needs to know of one broker (./dev bench --scaling). All of it is measured on this machine, most of
it as processor time of the broker's threads, which does not depend on what else wants the processor.

The second table is derived from the first: what one broker carries with more cores.
"""

import math
import sys
import time

import report
import sizes
import watch
from cluster import BenchError, Cluster

ROUNDS = 3
GATEWAYS = (0, 1, 2)
PEERS = (200, 1000)
HEARTBEAT_S = 2  # NP_HEARTBEAT_MS
IDLE_BEATS = 3  # heartbeats of each peer while its idleness is measured
WINDOW = 16384
CLIENTS = 32  # each with one task at a time
CORE_WORKERS = (2, 1000)
CORES = (2, 8, 32)
LINK_BYTES_PER_S = 1.25e9  # 10 Gbit/s


def spread_of(phase):
    """ns a task of the broker: of its core's thread, of its gateways' threads."""
    threads = phase["spent"]["broker"]["threads"]
    return {thread: threads.get(f"{name} threads" if name == "other" else f"{name} thread", 0) / phase["count"]
            for thread, name in (("core", "main"), ("gateways", "other"))}


def measure_gateways(build, gateways, seconds):
    figures = {}
    with Cluster(build, "tls", broker_options=["--gateways", str(gateways)]) as cluster:
        rate = sizes.run_sizes(build, "stream", WINDOW, seconds, cluster)["rate"]
        trip = sizes.run_sizes(build, "payload", 16, seconds, cluster)["trips"]
        big = sizes.run_sizes(build, "payload", sizes.MIB, seconds, cluster)["rate"]
        cluster.simulate_workers(CLIENTS)
        many = sizes.run_sizes(build, "clients", CLIENTS, seconds, cluster)["rate"]
    for name, phase in (("batch", rate), ("trip", trip), ("many", many), ("mib", big)):
        for thread, ns in spread_of(phase).items():
            figures[f"{name}_{thread}_{gateways}"] = ns
    return {**figures, f"rate_{gateways}": rate["rate"], f"trip_{gateways}": trip["p50"], f"echo_{gateways}": big["rate"]}


def measure_peers(build, peers, seconds):
    """What connecting and then only being there costs, a peer."""
    with Cluster(build, "tls", worker_count=0) as cluster:
        broker = {"broker": [cluster.broker.pid]}
        start, resident = watch.sample(broker), watch.memory(broker["broker"], "VmRSS")
        cluster.simulate_workers(peers)
        there = watch.sample(broker)
        grown = watch.memory(broker["broker"], "VmRSS") - resident
        began = time.monotonic()
        time.sleep(max(IDLE_BEATS * HEARTBEAT_S * min(1, 2 * seconds), HEARTBEAT_S))
        idle = watch.spent(there, watch.sample(broker))["broker"]["ns"] / (time.monotonic() - began)
    return {f"handshake_{peers}": watch.spent(start, there)["broker"]["ns"] / peers,
            f"heartbeat_{peers}": idle * HEARTBEAT_S / peers, f"peer_{peers}": grown / peers}


def measure_core(build, workers):
    core = sizes.run_core(build, sizes.WORKERS_QUEUED, workers)
    return {f"core_{workers}": core["ns"], f"task_bytes_{workers}": core["bytes"]}


def measure(build, seconds, rounds, summarize):
    values = {}
    for number in range(rounds):
        print(f"scaling: round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
        steps = [(measure_gateways, (gateways, seconds)) for gateways in GATEWAYS]
        steps += [(measure_peers, (peers, seconds)) for peers in PEERS]
        steps += [(measure_core, (workers,)) for workers in CORE_WORKERS]
        for step, arguments in steps if number % 2 == 0 else steps[::-1]:
            try:
                for name, value in step(build, *arguments).items():
                    values.setdefault(name, []).append(value)
            except BenchError as error:
                raise SystemExit(f"scaling: {error}") from None
    return {"rounds": rounds, "seconds": seconds, "figures": {name: summarize(kept) for name, kept in values.items()}}


def medians(result):
    return {name: figure["median"] for name, figure in result["figures"].items()}


def microseconds(ns):
    return report.number(ns / 1000)


MEASURED_HEAD = ["the broker's processor time, us", "no gateway: the core's thread", "1 gateway: core", "gateway",
                 "2 gateways: core", "gateways"]
UNITS = (("batch", f"a task of 16 B, {WINDOW:,} under way"), ("trip", "a round trip, alone"),
         ("many", f"a round trip, {CLIENTS} clients at once"), ("mib", "1 MiB there and back"))
HOP_HEAD = ["with gateways", *map(str, GATEWAYS)]
HOPS = (("rate", "tasks/s of 16 B, all on this machine"), ("trip", "round trip, us"), ("echo", "1 MiB there and back, MiB/s"))
PEERS_HEAD = ["a peer", *(f"{peers:,} peers" for peers in PEERS)]


def measured_rows(result):
    f = result["figures"]
    rows = []
    for name, title in UNITS:
        cells = [f"{name}_core_0"] + [f"{name}_{thread}_{n}" for n in GATEWAYS[1:] for thread in ("core", "gateways")]
        rows.append([title] + [f"{microseconds(f[cell]['median'])} ({microseconds(f[cell]['min'])} - "
                               f"{microseconds(f[cell]['max'])})" for cell in cells])
    return rows


def hop_rows(result):
    return [[title] + [f"{report.number(result['figures'][f'{name}_{n}']['median'])} "
                       f"({report.spread(result['figures'][f'{name}_{n}'])})" for n in GATEWAYS] for name, title in HOPS]


def peer_rows(result):
    f = medians(result)
    return [["connecting: TCP, mutual handshake, hello, processor time in us"] +
            [microseconds(f[f"handshake_{peers}"]) for peers in PEERS],
            [f"being there: processor time of {HEARTBEAT_S} s, us"] + [microseconds(f[f"heartbeat_{peers}"]) for peers in PEERS],
            ["memory, bytes"] + [report.number(f[f"peer_{peers}"]) for peers in PEERS],
            ["core alone, ns a task with " + " and ".join(f"{workers:,}" for workers in CORE_WORKERS) + " workers"] +
            [report.number(f[f"core_{workers}"]) for workers in CORE_WORKERS]]


def limit(core_ns, gateway_ns, gateways):
    """(a second, who ends it) of one kind of task."""
    by_core, by_gateways = 1e9 / core_ns, gateways * 1e9 / gateway_ns
    return (by_core, "core") if by_core <= by_gateways else (by_gateways, "gateways")


def derive(result):
    """What a broker on so many cores carries: {cores: figures}. A core thread and a gateway on each other core; on two, the
    other core is the kernel's, and the core's thread serves the peers itself."""
    f = medians(result)
    crowd = f[f"core_{CORE_WORKERS[1]}"] - f[f"core_{CORE_WORKERS[0]}"]
    table = {}
    for cores in CORES:
        gateways = cores - 1 if cores > 4 else 0
        row = {"gateways": gateways}
        for name in ("batch", "many", "mib"):
            if gateways:
                row[name] = limit(f[f"{name}_core_1"], f[f"{name}_gateways_1"], gateways)
            else:
                row[name] = 1e9 / f[f"{name}_core_0"], "core"
        base = f["batch_core_1"] if gateways else f["batch_core_0"]
        row["crowd"] = limit(base + max(crowd, 0), f["batch_gateways_1"], gateways) if gateways else (
            1e9 / (base + max(crowd, 0)), "core")
        row["reconnect_s"] = 10000 * f[f"handshake_{PEERS[-1]}"] / 1e9 / max(gateways, 1)
        row["idle_share"] = 10000 * f[f"heartbeat_{PEERS[-1]}"] / (HEARTBEAT_S * 1e9)
        table[cores] = row
    return table


def bytes_text(mib_per_s, who):
    network = ", beyond 10 Gbit/s" if mib_per_s * sizes.MIB > LINK_BYTES_PER_S else ""
    return f"{mib_per_s / 1024:.2g} ({who}{network})"


DERIVED_HEAD = ["one broker on", *(f"{cores} cores" for cores in CORES)]


def derived_rows(result):
    table = derive(result)
    names = (("batch", "tasks/s of 16 B in batches, 2 workers"),
             ("crowd", f"the same, {CORE_WORKERS[1]:,} workers"), ("many", "round trips/s, one task a message"))
    rows = [["gateways"] + [str(row["gateways"] or "none") for row in table.values()]]
    for name, title in names:
        rows.append([title] + [f"{report.number(row[name][0])} ({row[name][1]})" for row in table.values()])
    rows.append(["payload each way, GiB/s"] + [bytes_text(*row["mib"]) for row in table.values()])
    rows.append(["10,000 peers come back at once, s"] + [f"{row['reconnect_s']:.2g}" for row in table.values()])
    rows.append(["10,000 idle peers, share of one core"] + [f"{100 * row['idle_share']:.2g} %" for row in table.values()])
    return rows


def full_gateways(result):
    """{kind of task: gateways that keep the core's thread busy}: more do nothing for its rate."""
    f = medians(result)
    return {name: math.ceil(f[f"{name}_gateways_1"] / f[f"{name}_core_1"]) for name in ("batch", "many", "mib")}


def memory_rows(result):
    f = medians(result)
    task = f[f"task_bytes_{CORE_WORKERS[0]}"]
    rows = [("queued task, 16 B payload", task), ("queued task, 1 KiB payload", task + 1024 - 16),
            ("idle TLS peer", f[f"peer_{PEERS[-1]}"])]
    return [[what, report.number(size), report.number(64 * 1024 ** 3 / size)] for what, size in rows]


MEMORY_HEAD = ["memory of one", "bytes", "64 GiB hold"]
TABLES = ((MEASURED_HEAD, measured_rows), (HOP_HEAD, hop_rows), (PEERS_HEAD, peer_rows), (DERIVED_HEAD, derived_rows),
          (MEMORY_HEAD, memory_rows))


def full_text(result):
    full = full_gateways(result)
    return (f"More gateways than these do nothing for the rate, because the core's thread is busy: {full['batch']} for tasks in "
            f"batches, {full['many']} for round trips, {full['mib']} for payloads of 1 MiB.")


def as_text(result):
    return "\n\n".join([report.run_text(result), *(report.text_table(head, rows(result)) for head, rows in TABLES),
                        full_text(result)])


def as_markdown(result, tables):
    return "\n\n".join(report.markdown_table(head, rows(result)) for head, rows in tables)


def write_pages(result, docs):
    page = docs / "scaling.md"
    head = f"{report.machine_text(result).split(';')[0]}. {report.run_text(result)}."
    report.write_between_marks("measured", f"{head} Medians (min - max).\n\n{as_markdown(result, TABLES[:3])}", page)
    report.write_between_marks("derived", f"{as_markdown(result, TABLES[3:])}\n\n{full_text(result)}", page)
