"""Figures of a sweep, and the page that shows them with the tables and links every run's report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from jaxlabel.report import figures
from jaxlabel.sweep import tables
from jaxlabel.sweep.types import Outcome, Plan

NAME = "index.html"
TOGETHER = 5  # as many lines can be told apart in one chart
COLOURS = ("#2f6fb2", "#d1662a", "#2e8b57", "#8a5bb5", "#b0892f", "#c2476f", "#3a9aa8", "#6b7280",
           "#7a9a2e", "#9c5a3c")  # fmt: skip
STYLE = (
    "svg{font:13px system-ui,sans-serif;background:#fff}svg text{fill:#555}.grid{stroke:#ddd}"
    "svg .name{fill:#1d1f23;font-weight:600}"
    ".line{fill:none;stroke:var(--s);stroke-width:2}.dashed{stroke-dasharray:5 4}"
    ".band{fill:var(--s);opacity:.14}circle{fill:var(--s);stroke:#fff;stroke-width:1.5}"
    + "".join(f".s{i}{{--s:{colour}}}" for i, colour in enumerate(COLOURS))
)


class Chart(NamedTuple):
    """A picture, its title and the names of its lines, in the order of their colours."""

    title: str
    picture: Markup
    legend: list[str]


def charts(lines: Sequence[Mapping[str, Any]]) -> dict[str, Chart]:
    """A chart for each table that has numbers on its horizontal axis, by a file's name.

    Of a table with more than TOGETHER lines, one for each data set: table2_mnist, say; none where
    they are points.
    """
    rows, made = tables.rows(lines), {}
    for number, title in enumerate(dict.fromkeys(row.table for row in rows), 1):
        mine = [row for row in rows if row.table == title]
        datasets = list(dict.fromkeys(row.dataset for row in mine))
        parts = {f"table{number}": (title, mine)}
        if len({_line(row) for row in mine}) > TOGETHER and len(datasets) > 1:
            parts = {
                f"table{number}_{dataset}": (
                    f"{title}, {dataset}", [row for row in mine if row.dataset == dataset]
                )
                for dataset in datasets
            }  # fmt: skip
        for name, (heading, own) in parts.items():
            series = _series(own)
            if series and (len(series) <= TOGETHER or any(len(line.x) > 1 for line in series)):
                made[name] = _chart(series, heading, own[0])
    return made


def _chart(series: list[figures.Series], title: str, row: tables.Row) -> Chart:
    """The lines in one picture, or where they are many each beside the first in one of its own."""
    measure, over = next(iter(row.measures)), row.lines[0]["over"]
    every = [x for line in series for x in line.x]
    many = len(series) > TOGETHER
    draw = figures.panels if many else figures.line_chart
    picture = draw(
        series, over.replace("_", " "), f"{title}: {measure.replace('_', ' ')}",
        percent=tables.is_share(measure), dots=True,
        log_x=min(every) > 0 and max(every) > 4 * min(every),
    )  # fmt: skip
    names = [line.name for line in series]
    return Chart(title, picture, [names[0], "what a chart is named after"] if many else names)


def standalone(chart: Chart) -> str:
    """An SVG file that brings its colours and their names along."""
    head, end, rest = str(figures.with_legend(chart.picture, chart.legend)).partition(">")
    return f"{head}{end}<style>{STYLE}</style>{rest}\n"


def render(
    plan: Plan, workdir: Path, lines: Sequence[Mapping[str, Any]], failed: Sequence[Outcome],
    charts: Mapping[str, Chart],
) -> str:  # fmt: skip
    """The page; it opens offline, and its links are relative to the sweep's directory."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    rows = tables.rows(lines)
    sections = []
    for number, title in enumerate(dict.fromkeys(row.table for row in rows), 1):
        mine = [row for row in rows if row.table == title]
        head, *cells = tables.text_cells(mine)
        body = [{"cells": texts, "runs": [_report(workdir, one) for one in row.lines]}
                for texts, row in zip(cells, mine, strict=True)]  # fmt: skip
        sections.append({"title": title, "head": head, "rows": body,
                         "charts": [chart for name, chart in charts.items()
                                    if name.partition("_")[0] == f"table{number}"]})  # fmt: skip
    errors = [{"name": o.run.name, "error": o.error, "log": f"runs/{o.run.name}/{o.log.name}"}
              for o in failed]  # fmt: skip
    return environment.get_template("index.html.j2").render(
        plan=plan, sections=sections, errors=errors, num_done=len(lines), style=Markup(STYLE)
    )


def _report(workdir: Path, line: Mapping[str, Any]) -> tuple[int, str]:
    """A run's seed and the link to its report; no link where another machine has it."""
    link = f"runs/{line['run']}/report.html"
    return line["seed"], link if (workdir / link).is_file() else ""


class Line(NamedTuple):
    """Which of a table's rows are points of one line: those that differ in the axis alone."""

    arm: str
    dataset: str
    settings: tuple[tuple[str, Any], ...]


def _line(row: tables.Row) -> Line:
    first = row.lines[0]
    axis = {"data", first["over"], "budget" if first["over"] == "labels_spent" else ""}
    cell = {key: _text(value) for key, value in first["cell"].items() if key not in axis}
    return Line(row.name, row.dataset, tuple(cell.items()))


def _series(rows: Sequence[tables.Row]) -> list[figures.Series]:
    """The lines, their points in the order of the axis."""
    points: dict[Line, list[tuple[float, float, float, float]]] = {}
    for row in rows:
        name, values = next(iter(row.measures.items()))
        place = [_place(line) for line in row.lines]
        known = [x for x in place if x is not None]
        if not values or not known:
            continue
        mean, low, high = tables.bounded(name, values)
        ends = (mean if low is None else low, mean if high is None else high)
        points.setdefault(_line(row), []).append((float(np.mean(known)), mean, *ends))
    drawn = []
    for line, here in points.items():
        x, y, below, above = ([*axis] for axis in zip(*sorted(here), strict=True))
        drawn.append(figures.Series(_name(line, list(points)), x, y, below, above))
    return drawn


def _name(line: Line, lines: Sequence[Line]) -> str:
    """What tells a line from the others: its arm, settings that vary in the arm, its data set."""
    arm = [other for other in lines if other.arm == line.arm]
    one_line = [] if len(arm) == len(lines) and len(arm) > 1 else [line.arm]
    for key, value in line.settings:
        if len({dict(other.settings).get(key) for other in arm}) > 1:
            one_line.append(value if isinstance(value, str) else f"{key}={value}")
    if len({other.dataset for other in lines}) > 1:
        one_line.append(line.dataset)
    return ", ".join(one_line)


def _text(value: Any) -> Any:
    """A setting as something that can be told from others."""
    return value if isinstance(value, str | int | float | bool) else str(value)


def _place(line: Mapping[str, Any]) -> float | None:
    """Where a run stands on the horizontal axis."""
    value = line.get(line["over"], line["config"].get(line["over"]))
    return float(value) if isinstance(value, int | float) else None
