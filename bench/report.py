"""The result of a run as text and as Markdown."""

import re


def number(value):
    """Three significant digits, thousands grouped: 4,120,000; 71.3; 0.58."""
    if value >= 1e6:
        return f"{value / 1e6:.3g} M" if value < 1e8 else f"{value / 1e6:,.0f} M"
    if value >= 1000:
        digits = len(str(int(value)))
        return f"{round(value, 3 - digits):,.0f}"
    return f"{value:.3g}"


def spread(row):
    if len(row["values"]) < 2:
        return "one round"
    return f"{number(row['min'])} - {number(row['max'])}"


def goal_text(goal):
    comparison = {">=": "at least", "<=": "at most"}[goal["comparison"]]
    if goal["reference"]:
        return f"{comparison} {goal['factor']:g} x {goal['reference']}"
    return f"{comparison} {number(goal['factor'])}"


def contender_label(row):
    return f"netpool {row['name']}" if row["kind"] == "netpool" else row["name"]


def measure_rows(measure):
    """[[contender, median, spread, p99, ratio to the baseline]]"""
    rows = []
    for row in measure["contenders"]:
        if "failed" in row:
            rows.append([contender_label(row), "FAILED", row["failed"], "", ""])
        elif "missing" in row:
            rows.append([contender_label(row), "-", row["missing"], "", ""])
        else:
            rows.append([contender_label(row), number(row["median"]), spread(row),
                         number(row["p99"]) if "p99" in row else "",
                         f"{number(row['ratio'])} x" if "ratio" in row else ""])
    return rows


def measure_head(measure):
    baseline = measure["baseline"]
    p99 = "p99" if any("p99" in row for row in measure["contenders"]) else ""
    return [f"{measure['title']}, {measure['unit']}", "median", "min - max", p99,
            f"against {baseline}" if baseline and any("ratio" in row for row in measure["contenders"]) else ""]


def goal_rows(result):
    titles = {measure["name"]: measure["title"] for measure in result["measures"]}
    rows = []
    for goal in result["goals"]:
        subject = f"{titles[goal['measure']]}: netpool {goal['subject']}"
        measured = f"{number(goal['median'])}{' x' if goal['reference'] else ''}" if "median" in goal else "-"
        rows.append([subject, goal_text(goal), goal["origin"], measured, spread(goal) if "values" in goal else "",
                     goal["verdict"]])
    return rows


GOAL_HEAD = ["goal", "wanted", "set by", "measured", "min - max", ""]


def machine_text(result):
    machine = result["machine"]
    return (f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB, Linux {machine['kernel']} "
            f"{machine['architecture']}; " +
            ", ".join(f"{name} {version}" for name, version in machine["versions"].items()))


def run_text(result):
    rounds = f"{result['rounds']} round{'s' if result['rounds'] > 1 else ''}"
    return (f"{result['date']}, {rounds} of {result['seconds']:g} s a figure, "
            f"{result['took_s']:.0f} s in all")


def text_table(head, rows):
    widths = [max(len(line[column]) for line in [head] + rows) for column in range(len(head))]
    lines = []
    for line in [head] + rows:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def as_text(result):
    parts = [machine_text(result), run_text(result), ""]
    for measure in result["measures"]:
        parts += [text_table(measure_head(measure), measure_rows(measure)), ""]
    if result["goals"]:
        parts += [text_table(GOAL_HEAD, goal_rows(result)), ""]
    failed = sum("failed" in row for measure in result["measures"] for row in measure["contenders"])
    if failed:
        parts.append(f"{failed} failed: no figure is given for them")
    return "\n".join(parts).rstrip()


def markdown_table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def as_markdown(result):
    parts = [f"{machine_text(result)}. {run_text(result)}.", "",
             "![netpool against floors and peers](performance.svg)", ""]
    if result["goals"]:
        parts += [markdown_table(GOAL_HEAD, goal_rows(result)), ""]
    for measure in result["measures"]:
        parts += [markdown_table(measure_head(measure), measure_rows(measure)), ""]
    return "\n".join(parts)


def write_between_marks(name, text, path):
    """Replaces what stands between <!-- NAME: begin ... --> and <!-- NAME: end -->."""
    page = path.read_text()
    marks = re.compile(rf"(<!-- {name}: begin [^\n]*-->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    if len(marks.findall(page)) != 1:
        raise SystemExit(f"{path.name}: the lines '<!-- {name}: begin ... -->' and '<!-- {name}: end -->' are missing")
    path.write_text(marks.sub(lambda match: f"{match[1]}\n{text.strip()}\n\n{match[2]}", page))
