"""The result of a run as a picture: one panel a measure, one bar a contender, on a log scale."""

import math
from html import escape

import report

WIDTH = 1080
COLUMNS = 2
MARGIN = 24
GUTTER = 32
LABEL_WIDTH = 160
VALUE_WIDTH = 128
ROW_HEIGHT = 21
BAR_HEIGHT = 14
TITLE_HEIGHT = 44
PANEL_GAP = 26
HEADER_HEIGHT = 92
COLORS = {"netpool": "#1a6fb0", "floor": "#9aa3ab", "peer": "#d98b3a"}
LEGEND = (("netpool", "netpool"), ("floor", "floor: a bare program, no pool"), ("peer", "other pools"))
FONT = "font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\""


def text(x, y, content, size=12, anchor="start", color="#1d2329", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}" '
            f'font-weight="{weight}">{escape(content)}</text>')


def rectangle(x, y, width, height, color, radius=0):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{color}" rx="{radius}"/>'


def measured_rows(measure):
    return [row for row in measure["contenders"] if "median" in row]


def panel_height(measure):
    return TITLE_HEIGHT + ROW_HEIGHT * len(measured_rows(measure))


def log_scale(rows):
    """value -> 0..1, from a bit under the smallest, at a power of ten, to the largest."""
    low = math.floor(math.log10(min(row["min"] for row in rows)) - 0.05)
    high = math.log10(max(row["max"] for row in rows))
    return lambda value: (math.log10(value) - low) / max(high - low, 1e-9), low, high


def draw_panel(measure, x, y, width):
    rows = measured_rows(measure)
    scale, low, high = log_scale(rows)
    direction = "more is better" if measure["higher_is_better"] else "less is better"
    relation = f"; x: against {measure['baseline']}" if any("ratio" in row for row in rows) else ""
    bar_x = x + LABEL_WIDTH
    bar_width = width - LABEL_WIDTH - VALUE_WIDTH
    parts = [text(x, y + 14, measure["title"], 14, weight="bold"),
             text(x, y + 31, f"{measure['unit']}, {direction}{relation}", 11, color="#5b6670")]
    bottom = y + TITLE_HEIGHT + ROW_HEIGHT * len(rows) - 4
    for power in range(low, math.floor(high) + 1):
        at = bar_x + bar_width * scale(10.0 ** power)
        parts.append(f'<line x1="{at:.1f}" y1="{y + TITLE_HEIGHT - 4:.1f}" x2="{at:.1f}" y2="{bottom:.1f}" '
                     'stroke="#dde2e6" stroke-width="1"/>')
    for index, row in enumerate(rows):
        row_y = y + TITLE_HEIGHT + ROW_HEIGHT * index
        middle = row_y + BAR_HEIGHT / 2
        length = max(bar_width * scale(row["median"]), 1)
        is_ours = row["kind"] == "netpool"
        parts.append(text(bar_x - 8, middle + 4, row["name"], 12, "end", weight="bold" if is_ours else "normal"))
        parts.append(rectangle(bar_x, row_y, length, BAR_HEIGHT, COLORS[row["kind"]], 2))
        if row["max"] > row["min"]:
            left, right = (bar_x + bar_width * scale(row[end]) for end in ("min", "max"))
            parts.append(f'<path d="M{left:.1f} {middle:.1f}H{right:.1f}M{left:.1f} {middle - 3:.1f}v6M{right:.1f} '
                         f'{middle - 3:.1f}v6" stroke="#1d2329" stroke-width="1" fill="none"/>')
        end = bar_x + bar_width * scale(row["max"])
        figure = report.number(row["median"])
        figure_x = max(end, bar_x + length) + 7
        parts.append(text(figure_x, middle + 4, figure, 12, weight="bold" if is_ours else "normal"))
        if "ratio" in row and row["name"] != measure["baseline"]:
            parts.append(text(figure_x + 12 + 7.8 * len(figure), middle + 4, f"{report.number(row['ratio'])} x", 11,
                              color="#5b6670"))
    return parts


def draw_header(result):
    parts = [text(MARGIN, 34, "netpool against floors and peers", 20, weight="bold"),
             text(MARGIN, 54, f"{report.machine_text(result).split(';')[0]}. {report.run_text(result)}.", 11,
                  color="#5b6670")]
    x = MARGIN
    for kind, label in LEGEND:
        parts += [rectangle(x, 67, 14, 12, COLORS[kind], 2), text(x + 20, 77, label, 12)]
        x += 40 + 7.2 * len(label)
    explanation = "bars: median, whiskers: min to max; log scale, one line a power of ten"
    parts.append(text(WIDTH - MARGIN, 77, explanation, 11, "end", "#5b6670"))
    return parts


def as_svg(result):
    measures = [measure for measure in result["measures"] if measured_rows(measure)]
    column_width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GUTTER) / COLUMNS
    heights = [HEADER_HEIGHT + MARGIN / 2] * COLUMNS
    parts = []
    for measure in measures:  # always into the column that is shortest so far
        column = heights.index(min(heights))
        parts += draw_panel(measure, MARGIN + column * (column_width + GUTTER), heights[column], column_width)
        heights[column] += panel_height(measure) + PANEL_GAP
    height = max(heights)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" {FONT} role="img">',
        "<title>netpool against floors and peers</title>", rectangle(0, 0, WIDTH, height, "#ffffff"),
        *draw_header(result), *parts, "</svg>", ""])
