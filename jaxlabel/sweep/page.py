"""Figures of a sweep, and the page that shows them with the tables and links every run's report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from jaxlabel import figures
from jaxlabel.sweep import tables
from jaxlabel.sweep.types import Outcome, Plan

NAME = "index.html"
COLOURS = ("#2f6fb2", "#d1662a", "#2e8b57", "#8a5bb5", "#b0892f", "#c2476f", "#3a9aa8", "#6b7280",
           "#7a9a2e", "#9c5a3c")  # fmt: skip
STYLE = (
    "svg{font:13px system-ui,sans-serif;background:#fff}svg text{fill:#555}.grid{stroke:#ddd}"
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

    Of a table with more lines than colours, one for each data set: table2_mnist, say.
    """
    found, made = tables.rows(lines), {}
    for number, title in enumerate(dict.fromkeys(row.table for row in found), 1):
        mine, name = [row for row in found if row.table == title], f"table{number}"
        sets = list(dict.fromkeys(row.dataset for row in mine))
        if len(_series(mine)) <= len(COLOURS) or len(sets) == 1:
            parts = {name: (title, mine)}
        else:
            parts = {
                f"{name}_{one}": (f"{title}, {one}", [row for row in mine if row.dataset == one])
                for one in sets
            }
        for part, (heading, its) in parts.items():
            if series := _series(its):
                made[part] = _chart(series, heading, its[0])
    return made


def _chart(series: list[figures.Series], title: str, row: tables.Row) -> Chart:
    measure, over = next(iter(row.measures)), row.lines[0]["over"]
    every = [x for line in series for x in line.x]
    picture = figures.line_chart(
        series, over.replace("_", " "), f"{title}: {measure.replace('_', ' ')}",
        percent=tables.is_share(measure), dots=True,
        log_x=min(every) > 0 and max(every) > 4 * min(every),
    )  # fmt: skip
    return Chart(title, picture, [line.name for line in series])


def standalone(picture: Markup) -> str:
    """An SVG file that brings its colours along."""
    head, end, rest = str(picture).partition(">")
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
        body = [{"cells": texts, "runs": [(one["seed"], f"runs/{one['run']}/report.html")
                                          for one in row.lines]}
                for texts, row in zip(cells, mine, strict=True)]  # fmt: skip
        sections.append({"title": title, "head": head, "rows": body,
                         "charts": [chart for name, chart in charts.items()
                                    if name.partition("_")[0] == f"table{number}"]})  # fmt: skip
    errors = [{"name": o.run.name, "error": o.error, "log": f"runs/{o.run.name}/{o.log.name}"}
              for o in failed]  # fmt: skip
    return environment.get_template("index.html.j2").render(
        plan=plan, sections=sections, errors=errors, num_done=len(lines), style=Markup(STYLE)
    )


def _series(rows: Sequence[tables.Row]) -> list[figures.Series]:
    """A line for each arm, data set and choice of words; numbers of the grid are on the axis."""
    points: dict[tuple[str, ...], list[tuple[float, float, float, float]]] = {}
    for row in rows:
        name, values = next(iter(row.measures.items()))
        place = [_place(line) for line in row.lines]
        known = [x for x in place if x is not None]
        if not values or not known:
            continue
        mean, low, high = tables.bounded(name, values)
        ends = (mean if low is None else low, mean if high is None else high)
        cell = row.lines[0]["cell"]
        words = [cell[k] for k in cell if k != "data" and isinstance(cell[k], str)]
        line = (row.name, *words, row.dataset)
        points.setdefault(line, []).append((float(np.mean(known)), mean, *ends))
    drawn = []
    for line, here in points.items():
        x, y, below, above = ([*axis] for axis in zip(*sorted(here), strict=True))
        drawn.append(figures.Series(_name(line, list(points)), x, y, below, above))
    return drawn


def _name(line: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """What tells a line from the others of its length; of a single one, what comes first."""
    alike = [other for other in lines if len(other) == len(line)]
    telling = [word for i, word in enumerate(line) if len({other[i] for other in alike}) > 1]
    if len(alike) < len(lines):
        telling = [line[0], *(word for word in telling if word != line[0])]
    return ", ".join(telling) or line[0]


def _place(line: Mapping[str, Any]) -> float | None:
    """Where a run stands on the horizontal axis."""
    value = line.get(line["over"], line["config"].get(line["over"]))
    return float(value) if isinstance(value, int | float) else None
