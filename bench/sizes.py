"""Cost against size (./dev bench --sizes): queues of 1 to 1,000,000 tasks, 1 to 1,000 workers, payloads of 16 B to 64 MiB.

Each point is measured once a round, in turn, and counts with its median. Queues and payloads go through a whole pool over
TLS; workers are simulated, in one process with the broker's core, because a thousand real ones need a thousand hosts'
processors. The figures are drawn into docs/sizes.svg.
"""

import json
import math
import os
import statistics
import sys

import plot
from cluster import BenchError, Cluster, run_program

ROUNDS = 3
TIMEOUT_S = 120
CORE_TASKS = 1000000
QUEUES = (1, 10, 100, 1000, 10000, 100000, 1000000)
WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
WORKERS_QUEUED = 100000
PAYLOADS = tuple(16 * 4 ** power for power in range(12))  # 16 B to 64 MiB

PANEL_HEIGHT = 210
AXIS_HEIGHT = 34
AXIS_WIDTH = 62
LINE_COLORS = (plot.COLORS["netpool"], plot.COLORS["peer"], plot.COLORS["floor"])


def ask(build, program, *arguments, environment=None):
    output, _ = run_program([str(build / "bench" / program), *map(str, arguments)], environment or dict(os.environ),
                            TIMEOUT_S)
    return json.loads(output)


def measure_queues(build, seconds):
    """{queued: figures} of a TLS pool, and of its broker's core alone."""
    points = {}
    with Cluster(build, "tls") as cluster:
        for queued in QUEUES:
            whole = ask(build, "bench_sizes", cluster.url, "queued", queued, seconds, environment=cluster.environment)
            alone = ask(build, "bench_core", queued, 2, CORE_TASKS)
            points[queued] = {**whole, **alone}
    return points


def measure_workers(build, seconds):
    return {workers: ask(build, "bench_core", WORKERS_QUEUED, workers, CORE_TASKS) for workers in WORKERS}


def measure_payloads(build, seconds):
    points = {}
    with Cluster(build, "tls") as cluster:
        for size in PAYLOADS:
            point = ask(build, "bench_sizes", cluster.url, "payload", size, seconds, environment=cluster.environment)
            points[size] = {**point, "mib": point["rate"] * size / 1048576}
    return points


SERIES = {"queued": measure_queues, "workers": measure_workers, "payload": measure_payloads}


def medians(rounds):
    """{size: {figure: median}} of several {size: {figure: value}}."""
    return {size: {name: statistics.median(one[size][name] for one in rounds) for name in figures}
            for size, figures in rounds[0].items()}


def measure(build, seconds, rounds):
    measured = {name: [] for name in SERIES}
    for number in range(rounds):
        for name, run in SERIES.items():
            print(f"sizes: {name}, round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
            try:
                measured[name].append(run(build, seconds))
            except BenchError as error:
                raise SystemExit(f"sizes: {name}: {error}") from None
    return {"rounds": rounds, "seconds": seconds, **{name: medians(points) for name, points in measured.items()}}


def si(value):
    """4 M, 20 k, 0.5: a mark on an axis."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g} {letter}"
    return f"{value:g}"


def binary(value):
    for limit, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= limit:
            return f"{value // limit} {unit}"
    return f"{value} B"


# title, series, unit, [(figure, label)], sizes on the axis, how a size is written
PANELS = (
    ("rate against queued tasks", "queued", "tasks/s, TLS pool", (("rate", "one client, its queue kept full"),), QUEUES, si),
    ("another client's round trip meanwhile", "queued", "us, TLS pool", (("p50", "median"), ("p99", "p99")), QUEUES, si),
    ("the core's time a task, against queued tasks", "queued", "ns of processor time", (("ns", "two workers"),), QUEUES, si),
    ("the core's memory a queued task", "queued", "bytes of heap", (("bytes", "16 B payload, fixed costs included"),), QUEUES, si),
    ("the core's time a task, against workers", "workers", "ns of processor time",
     (("ns", f"{WORKERS_QUEUED:,} queued, simulated workers"),), (1, 10, 100, 1000), si),
    ("round trip against payload", "payload", "us, TLS pool", (("p50", "median"), ("p99", "p99")),
     PAYLOADS[::2], binary),
    ("bytes there and back against payload", "payload", "MiB/s each way, TLS pool", (("mib", "four under way"),),
     PAYLOADS[::2], binary),
)


def scale(low, high, start, length):
    """Logarithms of low..high to start..start + length."""
    span = max(math.log(high) - math.log(low), 1e-9)
    return lambda value: start + length * (math.log(value) - math.log(low)) / span


def decades(values):
    return 10.0 ** math.floor(math.log10(min(values))), 10.0 ** math.ceil(math.log10(max(values)) + 1e-9)


def draw_panel(result, panel, x, y, width):
    title, name, unit, lines, marks, write = panel
    points = result[name]
    low, high = decades([points[size][figure] for size in points for figure, _ in lines])
    at_x = scale(min(points), max(points), x + AXIS_WIDTH, width - AXIS_WIDTH - 12)
    bottom = y + PANEL_HEIGHT - AXIS_HEIGHT
    at_y = scale(low, high, bottom, -(PANEL_HEIGHT - AXIS_HEIGHT - plot.TITLE_HEIGHT))
    parts = [plot.text(x, y + 14, title, 14, weight="bold"), plot.text(x, y + 31, unit, 11, color="#5b6670")]
    power = low
    while power <= high * 1.01:
        parts += [f'<line x1="{x + AXIS_WIDTH:.1f}" y1="{at_y(power):.1f}" x2="{x + width:.1f}" y2="{at_y(power):.1f}" '
                  'stroke="#dde2e6" stroke-width="1"/>',
                  plot.text(x + AXIS_WIDTH - 6, at_y(power) + 4, si(power), 10, "end", "#5b6670")]
        power *= 10
    parts += [plot.text(at_x(size), bottom + 15, write(size), 10, "middle", "#5b6670") for size in marks]
    for (figure, label), color in zip(lines, LINE_COLORS):
        corners = " ".join(f"{at_x(size):.1f},{at_y(points[size][figure]):.1f}" for size in points)
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{at_x(size):.1f}" cy="{at_y(points[size][figure]):.1f}" r="2.5" fill="{color}"/>'
                  for size in points]
    label_x = x + width
    for (figure, label), color in reversed(list(zip(lines, LINE_COLORS))):
        parts.append(plot.text(label_x, y + 31, label, 11, "end", color))
        label_x -= 12 + 6.4 * len(label)
    return parts


def as_svg(result):
    width = (plot.WIDTH - 2 * plot.MARGIN - plot.GUTTER) / plot.COLUMNS
    rows = math.ceil(len(PANELS) / plot.COLUMNS)
    height = plot.HEADER_HEIGHT - 20 + rows * (PANEL_HEIGHT + plot.PANEL_GAP)
    parts = [plot.text(plot.MARGIN, 34, "netpool: cost against size", 20, weight="bold"),
             plot.text(plot.MARGIN, 54, f"medians of {result['rounds']} round{'s' if result['rounds'] > 1 else ''}; both axes logarithmic: a flat line is a "
                       "cost that does not depend on the size", 11, color="#5b6670")]
    for index, panel in enumerate(PANELS):
        column, row = index % plot.COLUMNS, index // plot.COLUMNS
        parts += draw_panel(result, panel, plot.MARGIN + column * (width + plot.GUTTER),
                            plot.HEADER_HEIGHT - 10 + row * (PANEL_HEIGHT + plot.PANEL_GAP), width)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{plot.WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {plot.WIDTH} {height:.0f}" {plot.FONT} role="img">', "<title>netpool: cost against size</title>",
        plot.rectangle(0, 0, plot.WIDTH, height, "#ffffff"), *parts, "</svg>", ""])


def as_text(result):
    lines = []
    for name in SERIES:
        figures = list(next(iter(result[name].values())))
        lines.append("  ".join([f"{name:>10}"] + [f"{figure:>10}" for figure in figures]))
        for size, point in result[name].items():
            lines.append("  ".join([f"{size:10,}"] + [f"{point[figure]:10.4g}" for figure in figures]))
        lines.append("")
    return "\n".join(lines).rstrip()


def from_json(text):
    """Sizes are numbers again."""
    result = json.loads(text)
    return {**result, **{name: {int(size): point for size, point in result[name].items()} for name in SERIES}}
