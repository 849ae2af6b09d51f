"""Cost against size (./dev bench --sizes): queues of 1 to 1,000,000 tasks, 1 to 1,000 workers, payloads of 16 B to 64 MiB.

Every point is measured once a round, in turn, every second round backwards, and counts with its median. Queues and payloads
go through a whole pool, payloads through a floor of the same size next to it. Workers are simulated: a process that holds all
their connections stands in for them, because a thousand real ones need a thousand hosts' processors. The core's own time and
memory are taken without links.

What grows with a size is judged by the program itself, see VERDICT.
"""

import json
import math
import os
import statistics
import sys
from dataclasses import dataclass

import plot
import report
import watch
from cluster import BenchError, Cluster, run_program

ROUNDS = 3
TIMEOUT_S = 180
CORE_TASKS = 1000000
WORKERS_QUEUED = 100000  # in the core's queue
WORKERS_WINDOW = 16384  # under way while the rate is taken, whatever the workers
WORKER_WINDOW = 1000  # under way for each of them
KIB = 1024
MIB = 1048576

FLOOR_SHARE = 0.5  # of the seconds: less goes on in it that could vary

PANEL_HEIGHT = 210
AXIS_HEIGHT = 34
AXIS_WIDTH = 62
LINE_COLORS = (plot.COLORS["netpool"], plot.COLORS["peer"], plot.COLORS["floor"], "#5a9e6f")

EXPONENT_SLACK = 0.1  # of an exponent: 26 % over a tenfold
STEP_SLACK = 1.5  # from one size to the next, beyond what linear growth explains
VERDICT = f"""An amount that belongs to the whole (a latency, the time or memory of a payload) may grow like the size, one that
belongs to a single task, worker or byte may not grow at all. "exponent": of size in the cost, by least squares over all
medians; "worst step": from one size to the next, beyond what linear growth explains. Not worse than linear: the exponent is
at most {EXPONENT_SLACK} above what is allowed and no step more than {STEP_SLACK} x. "rises": the most that the cost of one
(task, worker, byte; a latency as it is) grows from a smaller to a larger size; 1 is flat.

Payloads are judged a second time beyond their floor, a bare program that moves the same bytes in the same round. Its own
exponent and steps are computed alike ("floor's step": at the size of netpool's worst). What the floor exceeds linear growth by
at a step is taken off netpool's step there, and nowhere else: a floor that does better than linear changes nothing, and a step
that netpool takes one size earlier or later than the floor counts in full. The same for the exponent. "beyond the floor" is
"yes" when what is left is within the same limits."""


@dataclass(frozen=True)
class Figure:
    """One quantity of an axis. `cost` makes what is paid from (value, size)."""

    name: str
    title: str
    unit: str
    is_whole: bool = False  # may grow like the size
    is_rate: bool = False  # its inverse is the cost
    per_size: bool = False  # what is to be flat is the cost divided by the size
    floor: str = ""  # the figure of the same axis that it is compared with
    is_judged: bool = True

    def cost(self, value):
        return 1 / value if self.is_rate else value


@dataclass(frozen=True)
class Axis:
    name: str
    title: str
    sizes: tuple
    figures: tuple
    is_binary: bool = False
    what: str = ""

    def write(self, size):
        return binary(size) if self.is_binary else f"{size:,}"


def payload_figures(floor, roles):
    return (Figure("rate", "there and back, four under way", "MiB/s", is_rate=True, floor="floor_rate"),
            Figure("floor_rate", floor, "MiB/s", is_rate=True, is_judged=False),
            Figure("p50", "round trip, median", "us", is_whole=True, per_size=True, floor="floor_p50"),
            Figure("floor_p50", floor, "us", is_whole=True, is_judged=False),
            Figure("p99", "round trip, p99", "us", is_whole=True, per_size=True, floor="floor_p99"),
            Figure("floor_p99", floor, "us", is_whole=True, is_judged=False),
            Figure("trips", "round trips timed", "a round", is_judged=False),
            *(Figure(role, f"peak memory, {role}", "MiB", is_whole=True, per_size=True) for role in roles))


LENGTH = ("Both are warmed up; then at least 100 round trips are timed (20 from 16 MiB), and at least 24 payloads pass for the "
          "rate, unless that takes more than 6 s. The p99 of fewer than 200 is the longest or next to it.")
PAYLOADS = (16, 64, 256, KIB, 4 * KIB, 16 * KIB, 32 * KIB, 48 * KIB, 64 * KIB, 96 * KIB, 128 * KIB, 256 * KIB, MIB, 4 * MIB,
            16 * MIB, 64 * MIB)
AXES = (
    Axis("queue", "queued tasks", tuple(10 ** power for power in range(7)), (
        Figure("core_ns", "core, a task", "ns"),
        Figure("core_bytes", "core, a queued task", "bytes"),
        Figure("rate", "rate, its client keeps the queue full", "tasks/s", is_rate=True),
        Figure("rest_p50", "round trip of another client, queue at rest", "us", is_whole=True),
        Figure("rest_p99", "the same, p99", "us", is_whole=True),
        Figure("busy_p50", "round trip of another client, queue at work", "us", is_whole=True),
        Figure("busy_p99", "the same, p99", "us", is_whole=True),
    ), what="TLS pool with two workers; the core alone for its time and memory; tasks of 16 B. At rest: the queued tasks wait "
            "for a label that no worker has. At work: the queue is drained and refilled at full speed by processes that share "
            "two cores with the other client's. Before its rate is taken, so many tasks have passed twice, and once more they "
            "pass while it is."),
    Axis("workers", "workers", (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000), (
        Figure("core_ns", "core, a task", "ns", is_whole=True),
        Figure("broker_ns", "broker, a task", "ns", is_whole=True),
        Figure("broker_bytes", "broker, a worker", "bytes"),
        Figure("rate", "rate", "tasks/s", is_whole=True, is_rate=True),
        Figure("each_broker_ns", f"broker, a task, {WORKER_WINDOW:,} under way a worker", "ns"),
        Figure("each_rate", f"rate, {WORKER_WINDOW:,} under way a worker", "tasks/s", is_rate=True),
        Figure("p50", "round trip, otherwise idle", "us", is_whole=True),
        Figure("p99", "the same, p99", "us", is_whole=True),
    ), what=f"Simulated workers over TLS, in one process; tasks of 16 B. The core alone has {WORKERS_QUEUED:,} queued. Rate "
            f"and broker are measured twice. With {WORKERS_WINDOW:,} tasks under way whatever the workers, a thousand share "
            "them, 16 each: messages hold fewer tasks, and the broker's time a task becomes that of a message, which may grow "
            f"like the workers. With {WORKER_WINDOW:,} under way for every worker, so 1,000 to 1,000,000, messages have as "
            "much to hold everywhere, and what a task costs may not grow."),
    Axis("tls", "payload over TLS", PAYLOADS, payload_figures("tls relay", ("client", "broker", "worker")), is_binary=True,
         what="Pool with two workers, started anew for each size. A worker's memory is that of its supervisor and one "
              "executor. Floor: `tls relay` with payloads of this size. " + LENGTH),
    Axis("local", "payload, local", PAYLOADS, payload_figures("copy", ("client", "worker")), is_binary=True,
         what="`local:2`: the broker is a thread of the client. Floor: `copy`, two processes that share eight buffers of this "
              "size, one copy there and one back, each waking the other from a processor of its own. " + LENGTH),
)


def run_core(build, queued, workers):
    output, _ = run_program([str(build / "bench/bench_core"), str(queued), str(workers), str(CORE_TASKS)],
                            dict(os.environ), TIMEOUT_S)
    return json.loads(output)


def run_sizes(build, mode, size, seconds, cluster=None):
    command = [build / "bench/bench_sizes", cluster.url if cluster else "local:2", mode, size, seconds]
    return watch.run_phases(command, cluster.environment if cluster else dict(os.environ),
                            cluster.roles() if cluster else None, TIMEOUT_S + 20 * seconds)


def run_floor(build, name, size, seconds):
    command = [build / "bench" / name, *(["payload"] if name == "floor_tls_relay" else []), size, FLOOR_SHARE * seconds]
    phases = watch.run_phases(command, dict(os.environ), None, TIMEOUT_S + 20 * seconds)
    return {"floor_rate": phases["rate"]["rate"] * size / MIB, "floor_p50": phases["trips"]["p50"],
            "floor_p99": phases["trips"]["p99"]}


def measure_queue(build, queued, seconds):
    core = run_core(build, queued, 2)
    with Cluster(build, "tls") as cluster:
        busy = run_sizes(build, "queued", queued, seconds, cluster)
        rest = run_sizes(build, "waiting", queued, seconds, cluster)["trips"]
    return {"core_ns": core["ns"], "core_bytes": core["bytes"], "rate": busy["rate"]["rate"],
            "rest_p50": rest["p50"], "rest_p99": rest["p99"],
            "busy_p50": busy["trips"]["p50"], "busy_p99": busy["trips"]["p99"]}


def measure_workers(build, workers, seconds):
    with Cluster(build, "tls", worker_count=0) as cluster:
        before = watch.memory([cluster.broker.pid], "VmRSS")
        cluster.simulate_workers(workers)
        grown = watch.memory([cluster.broker.pid], "VmRSS") - before
        trip = run_sizes(build, "payload", 16, seconds, cluster)["trips"]
        rate = run_sizes(build, "stream", WORKERS_WINDOW, seconds, cluster)["rate"]
        each = run_sizes(build, "stream", WORKER_WINDOW * workers, seconds, cluster)["rate"]
    return {"core_ns": run_core(build, WORKERS_QUEUED, workers)["ns"], "broker_bytes": grown / workers,
            "broker_ns": rate["spent"]["broker"]["ns"] / rate["count"], "rate": rate["rate"],
            "each_broker_ns": each["spent"]["broker"]["ns"] / each["count"], "each_rate": each["rate"],
            "p50": trip["p50"], "p99": trip["p99"]}


def payload_point(size, phases):
    peak = phases["rate"]["peak"]
    figures = {"rate": phases["rate"]["rate"] * size / MIB, "p50": phases["trips"]["p50"], "p99": phases["trips"]["p99"],
               "trips": phases["trips"]["count"], "client": peak["client"] / MIB,
               "worker": (peak["supervisor"] + peak["executor"]) / MIB}
    return {**figures, "broker": peak["broker"] / MIB} if "broker" in peak else figures


def measure_tls(build, size, seconds):
    with Cluster(build, "tls") as cluster:
        point = payload_point(size, run_sizes(build, "payload", size, seconds, cluster))
    return {**point, **run_floor(build, "floor_tls_relay", size, seconds)}


def measure_local(build, size, seconds):
    return {**payload_point(size, run_sizes(build, "payload", size, seconds)), **run_floor(build, "floor_copy", size, seconds)}


MEASURES = {"queue": measure_queue, "workers": measure_workers, "tls": measure_tls, "local": measure_local}


def measure(build, seconds, rounds, summarize):
    """The figures of all points, each with its median and spread."""
    points = [(axis, size) for axis in AXES for size in axis.sizes]
    values = {(axis.name, size): {figure.name: [] for figure in axis.figures} for axis, size in points}
    for number in range(rounds):
        print(f"sizes: round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
        for axis, size in points if number % 2 == 0 else points[::-1]:
            try:
                point = MEASURES[axis.name](build, size, seconds)
            except BenchError as error:
                raise SystemExit(f"sizes: {axis.title} {axis.write(size)}: {error}") from None
            for name, kept in values[axis.name, size].items():
                kept.append(point[name])
    return {"rounds": rounds, "seconds": seconds, "axes": {
        axis.name: [{"size": size, **{name: summarize(kept) for name, kept in values[axis.name, size].items()}}
                    for size in axis.sizes] for axis in AXES}}


def exponent_of(sizes, costs):
    """The slope of a line through the logarithms, by least squares."""
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y)) / sum((a - middle_x) ** 2 for a in x)


def steps_of(sizes, costs, allowed):
    """From each size to the next, beyond what is allowed."""
    return [costs[i] / costs[i - 1] / (sizes[i] / sizes[i - 1]) ** allowed for i in range(1, len(sizes))]


def is_within(exponent, step, allowed):
    return exponent <= allowed + EXPONENT_SLACK and step <= STEP_SLACK


def judge(axis, figure, points):
    """How a cost grows with its size, and how much of that is its floor's."""
    def costs_of(name):
        return [max(figure.cost(point[name]["median"]), 1e-12) for point in points]

    sizes, costs, allowed = [point["size"] for point in points], costs_of(figure.name), 1 if figure.is_whole else 0
    exponent, steps = exponent_of(sizes, costs), steps_of(sizes, costs, allowed)
    worst = steps.index(max(steps))
    flat = [cost / size if figure.per_size else cost for cost, size in zip(costs, sizes)]
    rises = max(flat[j] / flat[i] for i in range(len(flat)) for j in range(i, len(flat)))
    verdict = {"exponent": exponent, "allowed": allowed, "step": steps[worst], "at": axis.write(sizes[worst + 1]),
               "rises": rises, "is_linear": is_within(exponent, steps[worst], allowed)}
    if not figure.floor:
        return verdict
    floor_exponent = exponent_of(sizes, costs_of(figure.floor))
    floor_steps = steps_of(sizes, costs_of(figure.floor), allowed)
    beyond = [step / max(floor_step, 1) for step, floor_step in zip(steps, floor_steps)]
    return {**verdict, "floor_exponent": floor_exponent, "floor_step": floor_steps[worst], "beyond": max(beyond),
            "beyond_at": axis.write(sizes[beyond.index(max(beyond)) + 1]),
            "is_linear_beyond": is_within(exponent - max(floor_exponent - allowed, 0), max(beyond), allowed)}


VERDICT_HEAD = ["against", "cost", "exponent", "allowed", "worst step", "to", "rises", "not worse than linear",
                "floor's exponent", "floor's step", "worst step beyond the floor", "to", "beyond the floor"]


def verdict_rows(result):
    rows = []
    for axis in AXES:
        for figure in (figure for figure in axis.figures if figure.is_judged):
            verdict = judge(axis, figure, result["axes"][axis.name])
            row = [axis.title, figure.title, f"{verdict['exponent']:.2f}", str(verdict["allowed"]), f"{verdict['step']:.2f} x",
                   verdict["at"], f"{verdict['rises']:.2f} x", "yes" if verdict["is_linear"] else "NO"]
            rows.append(row + ([f"{verdict['floor_exponent']:.2f}", f"{verdict['floor_step']:.2f} x",
                                f"{verdict['beyond']:.2f} x", verdict["beyond_at"],
                                "yes" if verdict["is_linear_beyond"] else "NO"] if figure.floor else [""] * 5))
    return rows


def as_cell(figure):
    """The median, and the spread below."""
    return report.number(figure["median"]) + (f" ({report.spread(figure)})" if len(figure["values"]) > 1 else "")


def columns_of(axis):
    """[(head, how a point's cell is written)]; a floor's is followed by the ratio, round by round."""
    columns = []
    for figure in axis.figures:
        columns.append((f"{figure.title}, {figure.unit}", lambda point, name=figure.name: as_cell(point[name])))
        for mine in (other for other in axis.figures if other.floor == figure.name):
            columns.append(("netpool / floor", lambda point, mine=mine.name, floor=figure.name: report.number(
                statistics.median(a / b for a, b in zip(point[mine]["values"], point[floor]["values"])))))
    return columns


def axis_table(axis, points):
    """(head, rows)"""
    columns = columns_of(axis)
    return ([axis.title] + [head for head, _ in columns],
            [[axis.write(point["size"])] + [write(point) for _, write in columns] for point in points])


def as_text(result):
    parts = []
    for axis in AXES:
        parts += [report.text_table(*axis_table(axis, result["axes"][axis.name])), ""]
    return "\n".join([*parts, report.text_table(VERDICT_HEAD, verdict_rows(result)), "", VERDICT])


def as_markdown(result):
    parts = [f"{report.machine_text(result).split(';')[0]}. {report.run_text(result)}; each cell is a median (min - max).", "",
             VERDICT, "", report.markdown_table(VERDICT_HEAD, verdict_rows(result))]
    for axis in AXES:
        parts += ["", f"**Against {axis.title}.** {axis.what}", "",
                  report.markdown_table(*axis_table(axis, result["axes"][axis.name]))]
    return "\n".join(parts)


def si(value):
    """4 M, 20 k, 0.5: a mark on an axis."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g} {letter}"
    return f"{value:g}"


def binary(value):
    for limit, unit in ((MIB, "MiB"), (KIB, "KiB")):
        if value >= limit:
            return f"{value // limit} {unit}"
    return f"{value} B"


# title, unit, [(axis, figure, label)]
PANELS = (
    ("rate against queued tasks", "tasks/s", (("queue", "rate", "its client keeps the queue full"),)),
    ("round trip of another client against queued tasks", "us",
     (("queue", "rest_p50", "at rest"), ("queue", "busy_p50", "at work"))),
    ("the core's time a task, against queued tasks", "ns of processor time", (("queue", "core_ns", "two workers"),)),
    ("the core's memory a queued task", "bytes of heap", (("queue", "core_bytes", "16 B payload, fixed costs included"),)),
    ("rate against workers", "tasks/s, tasks under way:",
     (("workers", "rate", f"{WORKERS_WINDOW:,} in all"), ("workers", "each_rate", f"{WORKER_WINDOW:,} each"))),
    ("round trip against workers", "us", (("workers", "p50", "median"), ("workers", "p99", "p99"))),
    ("processor time a task, against workers", "ns",
     (("workers", "core_ns", "core alone"), ("workers", "broker_ns", f"broker, {WORKERS_WINDOW:,} in all"),
      ("workers", "each_broker_ns", f"{WORKER_WINDOW:,} each"))),
    ("the broker's memory a worker", "bytes, resident", (("workers", "broker_bytes", "fixed costs included"),)),
    ("bytes there and back against payload", "MiB/s each way, four under way",
     (("tls", "rate", "TLS"), ("tls", "floor_rate", "floor"), ("local", "rate", "local"), ("local", "floor_rate", "floor"))),
    ("round trip against payload", "us",
     (("tls", "p50", "TLS"), ("tls", "floor_p50", "floor"), ("local", "p50", "local"), ("local", "floor_p50", "floor"))),
    ("peak memory against payload, TLS", "MiB, four under way",
     (("tls", "client", "client"), ("tls", "broker", "broker"), ("tls", "worker", "worker"))),
    ("peak memory against payload, local", "MiB, four under way",
     (("local", "client", "client"), ("local", "worker", "worker"))),
)


def scale(low, high, start, length):
    """Logarithms of low..high to start..start + length."""
    span = max(math.log(high) - math.log(low), 1e-9)
    return lambda value: start + length * (math.log(max(value, low)) - math.log(low)) / span


def decades(values):
    values = [value for value in values if value > 0]
    return 10.0 ** math.floor(math.log10(min(values))), 10.0 ** math.ceil(math.log10(max(values)) + 1e-9)


def marks_of(axis):
    """Sizes to write below the axis."""
    return [size for size in axis.sizes if (math.log(size / 16, 64).is_integer() if axis.is_binary else
                                            math.log10(size).is_integer())]


def is_floor(axis, name):
    return any(figure.floor == name for figure in axis.figures)


def line_colors(axis_lines):
    """A floor has the color of the line before it."""
    colors = iter(LINE_COLORS)
    kept = []
    for axis, name in axis_lines:
        kept.append(kept[-1] if is_floor(axis, name) else next(colors))
    return kept


def draw_line(points, figure, color, at_x, at_y, is_dashed):
    """The medians, and from least to most around them."""
    edge = [(point["size"], point[figure]["max"]) for point in points]
    edge += [(point["size"], point[figure]["min"]) for point in reversed(points)]
    corners = " ".join(f"{at_x(size):.1f},{at_y(value):.1f}" for size, value in edge)
    middle = [(at_x(point["size"]), at_y(point[figure]["median"])) for point in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in middle)
    if is_dashed:
        return [f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5" stroke-dasharray="5 4"/>']
    return [f'<polygon points="{corners}" fill="{color}" fill-opacity="0.2"/>',
            f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>',
            *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{color}"/>' for x, y in middle)]


def draw_panel(result, panel, x, y, width):
    title, unit, lines = panel
    axis = next(axis for axis in AXES if axis.name == lines[0][0])
    low, high = decades([point[figure][end] for name, figure, _ in lines for point in result["axes"][name]
                         for end in ("min", "max")])
    at_x = scale(axis.sizes[0], axis.sizes[-1], x + AXIS_WIDTH, width - AXIS_WIDTH - 16)
    bottom = y + PANEL_HEIGHT - AXIS_HEIGHT
    at_y = scale(low, high, bottom, -(PANEL_HEIGHT - AXIS_HEIGHT - plot.TITLE_HEIGHT))
    parts = [plot.text(x, y + 14, title, 14, weight="bold"), plot.text(x, y + 31, unit, 11, color="#5b6670")]
    power = low
    while power <= high * 1.01:
        parts += [f'<line x1="{x + AXIS_WIDTH:.1f}" y1="{at_y(power):.1f}" x2="{x + width:.1f}" y2="{at_y(power):.1f}" '
                  'stroke="#dde2e6" stroke-width="1"/>',
                  plot.text(x + AXIS_WIDTH - 6, at_y(power) + 4, si(power), 10, "end", "#5b6670")]
        power *= 10
    parts += [plot.text(at_x(size), bottom + 15, binary(size) if axis.is_binary else si(size), 10, "middle", "#5b6670")
              for size in marks_of(axis)]
    label_x = x + width
    axes = {axis.name: axis for axis in AXES}
    colors = line_colors([(axes[name], figure) for name, figure, _ in lines])
    for (name, figure, label), color in reversed(list(zip(lines, colors))):
        is_dashed = is_floor(axes[name], figure)
        parts += draw_line(result["axes"][name], figure, color, at_x, at_y, is_dashed)
        parts.append(plot.text(label_x, y + 31, label, 11, "end", color, weight="normal" if is_dashed else "bold"))
        label_x -= 14 + 7.2 * len(label)
    return parts


def as_svg(result):
    width = (plot.WIDTH - 2 * plot.MARGIN - plot.GUTTER) / plot.COLUMNS
    rows = math.ceil(len(PANELS) / plot.COLUMNS)
    height = plot.HEADER_HEIGHT - 20 + rows * (PANEL_HEIGHT + plot.PANEL_GAP)
    parts = [plot.text(plot.MARGIN, 34, "netpool: cost against size", 20, weight="bold"),
             plot.text(plot.MARGIN, 54, f"{report.run_text(result)}: medians, least to most shaded; dashed: the floor; "
                       "both axes logarithmic: a flat line is a cost that does not depend on the size", 11, color="#5b6670")]
    for index, panel in enumerate(PANELS):
        column, row = index % plot.COLUMNS, index // plot.COLUMNS
        parts += draw_panel(result, panel, plot.MARGIN + column * (width + plot.GUTTER),
                            plot.HEADER_HEIGHT - 10 + row * (PANEL_HEIGHT + plot.PANEL_GAP), width)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{plot.WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {plot.WIDTH} {height:.0f}" {plot.FONT} role="img">', "<title>netpool: cost against size</title>",
        plot.rectangle(0, 0, plot.WIDTH, height, "#ffffff"), *parts, "</svg>", ""])


def write_pages(result, docs):
    (docs / "sizes.svg").write_text(as_svg(result))
    report.write_between_marks("sizes", as_markdown(result), docs / "performance.md")
