"""Draw the figures of a sweep, and make its page of figures, tables, and links to reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from jaxlabel.report import figures
from jaxlabel.sweep import tables
from jaxlabel.sweep.types import Outcome, Plan

NAME = "index.html"
MAX_LINES = 5  # lines in one chart; more are hard to distinguish
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
    """A chart of a sweep.

    Attributes:
      title: the title.
      picture: the SVG.
      legend: the names of the lines, in the order of their colours.
    """

    title: str
    picture: Markup
    legend: list[str]


def charts(lines: Sequence[Mapping[str, Any]]) -> dict[str, Chart]:
    """Draw a chart for each table whose horizontal axis has numbers.

    A table with more than MAX_LINES lines and several data sets gets a chart per data set. A table
    with more than MAX_LINES lines of a single point each gets none.

    Args:
      lines: the results with their positions in the tables, from `tables.line`.

    Returns:
      The charts by the names of their files, such as "table1" or "table2_mnist".
    """
    rows, made = tables.rows(lines), {}
    for number, title in enumerate(dict.fromkeys(row.table for row in rows), 1):
        members = [row for row in rows if row.table == title]
        datasets = list(dict.fromkeys(row.dataset for row in members))
        parts = {f"table{number}": (title, members)}
        if len({_line(row) for row in members}) > MAX_LINES and len(datasets) > 1:
            parts = {
                f"table{number}_{dataset}": (
                    f"{title}, {dataset}", [row for row in members if row.dataset == dataset]
                )
                for dataset in datasets
            }  # fmt: skip
        for name, (heading, part) in parts.items():
            series = _series(part)
            if series and (len(series) <= MAX_LINES or any(len(line.x) > 1 for line in series)):
                made[name] = _chart(series, heading, part[0])
    return made


def _chart(series: list[figures.Series], title: str, row: tables.Row) -> Chart:
    """Draw lines in one picture, or, if there are many, in one small picture each.

    Args:
      series: the lines. Each small picture also shows the first line.
      title: the title.
      row: a row of the table, which has the names of the measure and the horizontal axis.
    """
    measure, over = next(iter(row.measures)), row.lines[0]["over"]
    every_x = [x for line in series for x in line.x]
    is_split = len(series) > MAX_LINES
    draw = figures.panels if is_split else figures.line_chart
    picture = draw(
        series, over.replace("_", " "), f"{title}: {measure.replace('_', ' ')}",
        percent=tables.is_share(measure), dots=True,
        log_x=min(every_x) > 0 and max(every_x) > 4 * min(every_x),
    )  # fmt: skip
    names = [line.name for line in series]
    return Chart(
        title, picture, [names[0], "the line that a chart is named after"] if is_split else names
    )


def standalone(chart: Chart) -> str:
    """Return a chart as the text of an SVG file with its own colours and legend."""
    head, end, rest = str(figures.with_legend(chart.picture, chart.legend)).partition(">")
    return f"{head}{end}<style>{STYLE}</style>{rest}\n"


def render(
    plan: Plan, workdir: Path, lines: Sequence[Mapping[str, Any]], failed: Sequence[Outcome],
    charts: Mapping[str, Chart],
) -> str:  # fmt: skip
    """Return the sweep's page as HTML that needs no network.

    Links are relative to the sweep's directory.

    Args:
      plan: the plan of the sweep.
      workdir: the directory of the sweep.
      lines: the results with their positions in the tables, from `tables.line`.
      failed: the outcomes of failed runs.
      charts: the charts, from `charts`.
    """
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    rows = tables.rows(lines)
    sections = []
    for number, title in enumerate(dict.fromkeys(row.table for row in rows), 1):
        members = [row for row in rows if row.table == title]
        head, *cells = tables.text_cells(members)
        body = [{"cells": texts, "runs": [_report(workdir, line) for line in row.lines]}
                for texts, row in zip(cells, members, strict=True)]  # fmt: skip
        sections.append({"title": title, "head": head, "rows": body,
                         "charts": [chart for name, chart in charts.items()
                                    if name.partition("_")[0] == f"table{number}"]})  # fmt: skip
    errors = [{"name": o.run.name, "error": o.error, "log": f"runs/{o.run.name}/{o.log.name}"}
              for o in failed]  # fmt: skip
    return environment.get_template("index.html.j2").render(
        plan=plan, sections=sections, errors=errors, num_done=len(lines), style=Markup(STYLE)
    )


def _report(workdir: Path, line: Mapping[str, Any]) -> tuple[int, str]:
    """Return a run's seed and the link to its report; "" if the report is not on this machine."""
    link = f"runs/{line['run']}/report.html"
    return line["seed"], link if (workdir / link).is_file() else ""


class Line(NamedTuple):
    """The properties that all points of a line in a chart have in common.

    Attributes:
      arm: the name of the arm.
      dataset: the name of the data set.
      settings: the settings of the arm's grid that are not on the axis.
    """

    arm: str
    dataset: str
    settings: tuple[tuple[str, Any], ...]


def _line(row: tables.Row) -> Line:
    """Return the line that a row of a table is a point of."""
    first = row.lines[0]
    axis = {"data", first["over"], "budget" if first["over"] == "labels_spent" else ""}
    cell = {key: _hashable(value) for key, value in first["cell"].items() if key not in axis}
    return Line(row.name, row.dataset, tuple(cell.items()))


def _series(rows: Sequence[tables.Row]) -> list[figures.Series]:
    """Return the lines of a table, with their points in the order of the horizontal axis."""
    points: dict[Line, list[tuple[float, float, float, float]]] = {}
    for row in rows:
        name, values = next(iter(row.measures.items()))
        places = [_place(line) for line in row.lines]
        numbers = [x for x in places if x is not None]
        if not values or not numbers:
            continue
        mean, low, high = tables.bounded(name, values)
        ends = (mean if low is None else low, mean if high is None else high)
        points.setdefault(_line(row), []).append((float(np.mean(numbers)), mean, *ends))
    drawn = []
    for line, coordinates in points.items():
        x, y, below, above = ([*axis] for axis in zip(*sorted(coordinates), strict=True))
        drawn.append(figures.Series(_name(line, list(points)), x, y, below, above))
    return drawn


def _name(line: Line, lines: Sequence[Line]) -> str:
    """Return a name that distinguishes a line from the others: arm, settings, and data set.

    Parts that are equal for all lines are left out.
    """
    arm = [other for other in lines if other.arm == line.arm]
    parts = [] if len(arm) == len(lines) and len(arm) > 1 else [line.arm]
    for key, value in line.settings:
        if len({dict(other.settings).get(key) for other in arm}) > 1:
            parts.append(value if isinstance(value, str) else f"{key}={value}")
    if len({other.dataset for other in lines}) > 1:
        parts.append(line.dataset)
    return ", ".join(parts)


def _hashable(value: Any) -> Any:
    """Return a setting's value, or its text if it is not a string or number."""
    return value if isinstance(value, str | int | float | bool) else str(value)


def _place(line: Mapping[str, Any]) -> float | None:
    """Return a run's position on the horizontal axis, or None if it is not a number."""
    value = line.get(line["over"], line["config"].get(line["over"]))
    return float(value) if isinstance(value, int | float) else None
