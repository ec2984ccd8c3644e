"""Draw the figures of an experiment, and make its page of figures, tables, and report links."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from jaxlabel.report import figures, fill_template
from jaxlabel.report.run import labels_used
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
    """A line chart, or a grid of small line charts, of an experiment's results.

    Attributes:
      title: the title, which stands above the chart.
      picture: the chart as SVG, without its title and legend.
      legend: the names of the lines, in the order of their colours.
    """

    title: str
    picture: Markup
    legend: list[str]


def charts(lines: Sequence[Mapping[str, Any]]) -> dict[str, Chart]:
    """Draw a chart for each table of an experiment's results, such as accuracy over labels.

    Tables whose horizontal axis has no numbers get no chart. A table with several data sets gets a
    chart for each of them if a common chart would have more than MAX_LINES (5) lines. A chart of
    more than MAX_LINES lines is left out if each line is a single point.

    Args:
      lines: the results of the runs, each with the names of its table and row, from
        `tables.result_line`.

    Returns:
      The charts by the names of their files without ".svg", such as "table1" or "table2_mnist".
    """
    rows, made = tables.rows(lines), {}
    for number, title in enumerate(dict.fromkeys(row.table for row in rows), 1):
        members = [row for row in rows if row.table == title]
        datasets = list(dict.fromkeys(row.dataset for row in members))
        parts = {f"table{number}": (title, members)}
        if len({_line_of_row(row) for row in members}) > MAX_LINES and len(datasets) > 1:
            parts = {
                f"table{number}_{dataset}": (
                    f"{title}, {dataset}", [row for row in members if row.dataset == dataset]
                )
                for dataset in datasets
            }  # fmt: skip
        for name, (heading, part) in parts.items():
            series = _lines_with_points(part)
            if series and (len(series) <= MAX_LINES or any(len(line.x) > 1 for line in series)):
                made[name] = _draw_chart(series, heading, part[0])
    return made


def _draw_chart(series: list[figures.Series], title: str, row: tables.Row) -> Chart:
    """Draw lines in one chart or, if there are more than MAX_LINES (5), in a grid of small charts.

    Args:
      series: the lines. Each small chart shows the first line and one other line.
      title: the title of the chart.
      row: a row of the table of results; it has the names of the measure and of the horizontal
        axis, such as "test_accuracy" and "labels_spent".
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


def svg_file_text(chart: Chart) -> str:
    """Return a chart with its legend as the text of an SVG file that needs no style sheet."""
    head, end, rest = str(figures.with_legend(chart.picture, chart.legend)).partition(">")
    return f"{head}{end}<style>{STYLE}</style>{rest}\n"


def render(
    plan: Plan, workdir: Path, lines: Sequence[Mapping[str, Any]], failed: Sequence[Outcome],
    charts: Mapping[str, Chart],
) -> str:  # fmt: skip
    """Return the web page of an experiment's results as HTML text that needs no network.

    Args:
      plan: the plan, which lists the experiment's runs.
      workdir: the directory for all files of the runs. The page must be written into it, because
        the page's links to the runs' reports are relative.
      lines: the results of the runs, each with the names of its table and row, from
        `tables.result_line`.
      failed: the failed runs with their error messages.
      charts: the charts by the names of their files, from the function `charts`.
    """
    rows = tables.rows(lines)
    sections = []
    for number, title in enumerate(dict.fromkeys(row.table for row in rows), 1):
        members = [row for row in rows if row.table == title]
        head, *cells = tables.text_cells(members)
        body = [{"cells": texts, "runs": [_report_link(workdir, line) for line in row.lines]}
                for texts, row in zip(cells, members, strict=True)]  # fmt: skip
        sections.append({"title": title, "head": head, "rows": body,
                         "charts": [chart for name, chart in charts.items()
                                    if name.partition("_")[0] == f"table{number}"]})  # fmt: skip
    errors = [{"name": o.run.name, "error": o.error, "log": f"runs/{o.run.name}/{o.log.name}"}
              for o in failed]  # fmt: skip
    return fill_template(
        Path(__file__).with_name("index.html.j2"), plan=plan, sections=sections, errors=errors,
        num_done=len(lines), style=Markup(STYLE),
    )  # fmt: skip


def _report_link(workdir: Path, line: Mapping[str, Any]) -> tuple[int, str]:
    """Return the seed of a run and the relative link to its report.

    Args:
      workdir: the directory for all files of the experiment's runs.
      line: the result of the run.

    Returns:
      The seed and the link. The link is an empty string if the report does not exist in `workdir`,
      because the run was executed on another machine.
    """
    link = f"runs/{line['run']}/report.html"
    return line["seed"], link if (workdir / link).is_file() else ""


class Line(NamedTuple):
    """The identity of a line in a chart of results: two equal values stand for one line.

    Attributes:
      arm: the name of the compared method (called arm), such as "random labels".
      dataset: the name of the data set.
      settings: names and values of the settings that the experiment varies for this method, such as
        (("steps", 100),). The setting on the chart's horizontal axis is left out.
    """

    arm: str
    dataset: str
    settings: tuple[tuple[str, Any], ...]


def _line_of_row(row: tables.Row) -> Line:
    """Return the identity of the line, in a chart, on which a row of the results table is a point.

    A row summarises the runs that differ only in their seed.
    """
    first = row.lines[0]
    axis = {"data", first["over"], "budget" if first["over"] == "labels_spent" else ""}
    cell = {key: _hashable(value) for key, value in first["cell"].items() if key not in axis}
    return Line(row.name, row.dataset, tuple(cell.items()))


def _lines_with_points(rows: Sequence[tables.Row]) -> list[figures.Series]:
    """Return the lines of a chart, in which each row of a results table is a point of a line.

    The points of each line are sorted by horizontal position. A row is left out if its value on the
    horizontal axis is not a number, or if its measure has no value.
    """
    points: dict[Line, list[tuple[float, float, float, float]]] = {}
    for row in rows:
        name, values = next(iter(row.measures.items()))
        # the axis shows an entry of the results or a setting
        places = [
            labels_used(line)
            if line["over"] == "labels_spent"
            else line.get(line["over"], line["config"].get(line["over"]))
            for line in row.lines
        ]
        numbers = [x for x in places if isinstance(x, int | float)]
        if not values or not numbers:
            continue
        mean, low, high = tables.bounded_mean_interval(name, values)
        ends = (mean if low is None else low, mean if high is None else high)
        points.setdefault(_line_of_row(row), []).append((float(np.mean(numbers)), mean, *ends))
    drawn = []
    for line, coordinates in points.items():
        x, y, below, above = ([*axis] for axis in zip(*sorted(coordinates), strict=True))
        drawn.append(figures.Series(_line_name(line, list(points)), x, y, below, above))
    return drawn


def _line_name(line: Line, lines: Sequence[Line]) -> str:
    """Return a name for a line in a chart's legend, such as "random labels, steps=100, mnist".

    The name consists of the compared method (called arm), its settings, and the data set. What is
    equal for all lines of the chart is left out.

    Args:
      line: the line to name.
      lines: all lines of the chart.
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
    """Return a setting's value unchanged if it is a string or a number, else converted to text."""
    return value if isinstance(value, str | int | float | bool) else str(value)
