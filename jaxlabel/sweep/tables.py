"""Make tables of a sweep's results, beside the published figures that they are compared with.

The functions need only the results (lines), whether they come from a sweep's directory or from a
file of published results.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxlabel.runlog.results import MeanInterval, mean_interval
from jaxlabel.sweep.plan import DATA_ROOT
from jaxlabel.sweep.types import Plan, Run

Line = Mapping[str, Any]


class Row(NamedTuple):
    """A row of a table: the runs of one arm, data set and settings over several seeds.

    Attributes:
      table: the title of the table.
      name: the name of the arm.
      dataset: the name of the data set.
      settings: the values of the arm's grid as text.
      lines: the results of the runs.
      measures: for each measure its values over the runs; runs without the measure are left out.
      theirs: the published figure to compare with, or None.
    """

    table: str
    name: str
    dataset: str
    settings: str
    lines: Sequence[Line]
    measures: dict[str, list[float]]
    theirs: float | None


def line(plan: Plan, run: Run, result: Line) -> dict[str, Any]:
    """Return a run's result with its position in the tables, without paths of this machine.

    Args:
      plan: the plan of the sweep.
      run: the run.
      result: the content of the run's result.json.
    """
    table = next(t for t in plan.tables if t["title"] == run.table)
    config = without_places(plan, result["config"])
    kept = {key: value for key, value in result.items() if key != "ledger"}
    return kept | {
        "config": config, "experiment": plan.experiment, "table": run.table, "row": run.row,
        "cell": run.cell, "theirs": run.theirs, "run": run.name,
        "measures": table["measures"], "over": table["over"],
    }  # fmt: skip


def without_places(plan: Plan, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings without the paths of data and label store on this machine."""
    data = config["data"]
    if plan.data_root:
        data = data.replace(plan.data_root.rstrip("/") or "/", DATA_ROOT, 1)
    return dict(config) | {"store": "", "account": "", "data": data}


def rows(lines: Sequence[Line]) -> list[Row]:
    """Group results into rows, in the order of each row's first result."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        # The table has a separate column for the data set.
        cell = {k: v for k, v in line["cell"].items() if k != "data"}
        key = json.dumps([line["table"], line["row"], line["dataset"], cell])
        groups.setdefault(key, []).append(line)
    return [_row(key, group) for key, group in groups.items()]


def document(plan: Plan, lines: Sequence[Line]) -> str:
    """Return the Markdown text of table.md: the question, a note, and the tables."""
    head = f"# {plan.experiment}{' (quick)' if plan.quick else ''}\n\n{plan.question}\n"
    note = ("Means over n seeds with their 95% intervals (Student's t); seconds include what runs "
            "share.")  # fmt: skip
    return f"{head}\n{note}\n\n{markdown(lines)}"


def markdown(lines: Sequence[Line]) -> str:
    """Return all tables of the results in Markdown, each under its title."""
    all_rows, parts = rows(lines), []
    for title in dict.fromkeys(row.table for row in all_rows):
        cells = text_cells([row for row in all_rows if row.table == title])
        cells.insert(1, ["---"] * len(cells[0]))
        text = "\n".join("| " + " | ".join(map(_escaped, row)) + " |" for row in cells)
        parts.append(f"## {title}\n\n{text}\n")
    return "\n".join(parts)


def text_cells(table: Sequence[Row]) -> list[list[str]]:
    """Return the headings and the rows of one table as texts."""
    measures = list(table[0].measures)
    is_compared = any(row.theirs is not None for row in table)
    head = ["row", "data set", "settings", "labels", *(m.replace("_", " ") for m in measures)]
    head += ["theirs", "difference"] if is_compared else []
    cells = [[*head, "n", "seconds", "device"]]
    for row in table:
        texts = [row.name, row.dataset, row.settings, spread(labels(row), 0)]
        texts += [with_interval(name, values) for name, values in row.measures.items()]
        texts += _comparison(row) if is_compared else []
        cells.append([*texts, str(len(row.lines)), spread(seconds(row), 1), devices(row)])
    return cells


def csv_text(lines: Sequence[Line]) -> str:
    """Return CSV text with a line per row and measure; fractions are not in percent."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(["table", "row", "dataset", "settings", "measure", "mean", "low", "high", "n",
                     "theirs", "labels_spent", "seconds", "device"])  # fmt: skip
    for row in rows(lines):
        for number, (name, values) in enumerate(row.measures.items()):
            interval = mean_interval(values) if values else ("", None, None)
            writer.writerow([
                row.table, row.name, row.dataset, row.settings, name, *interval, len(values),
                row.theirs if number == 0 else None, np.mean(labels(row)), np.mean(seconds(row)),
                devices(row),
            ])  # fmt: skip
    return page.getvalue()


def bounded(name: str, values: Sequence[float]) -> MeanInterval:
    """Return the mean and its 95% interval, cut at 0 and 1 if the measure is a fraction."""
    mean, low, high = mean_interval(values)
    if low is None or high is None or not is_share(name):
        return MeanInterval(mean, low, high)
    return MeanInterval(mean, max(low, 0.0), min(high, 1.0))


def is_share(name: str) -> bool:
    """Return True if a measure is a fraction, which tables show as a percentage."""
    return name.endswith(("accuracy", "estimate", "purity"))


def with_interval(name: str, values: Sequence[float]) -> str:
    """Return the mean of a measure's values and its interval as text; "" without values."""
    if not values:
        return ""
    mean, low, high = bounded(name, values)
    show = (lambda v: f"{100 * v:.2f}") if is_share(name) else (lambda v: f"{v:.5g}")
    return show(mean) if low is None else f"{show(mean)} ({show(low)} to {show(high)})"


def one_line(result: Line) -> str:
    """Return a short text on a finished run: accuracy, labels bought, and seconds."""
    accuracy = result.get("test_accuracy")
    start = f"{100 * accuracy:.2f}% with " if accuracy is not None else ""
    return f"{start}{result['labels_spent']} labels, {result['seconds']:.1f} s"


def labels(row: Row) -> list[float]:
    """Return the number of labels that each run of a row bought."""
    return [line["labels_spent"] for line in row.lines]


def seconds(row: Row) -> list[float]:
    """Return the seconds of each run of a row, including the time saved by shared computations."""
    return [line["seconds"] + line.get("seconds_shared", 0.0) for line in row.lines]


def devices(row: Row) -> str:
    """Return the names of the devices that a row's runs used."""
    return ", ".join(dict.fromkeys(line["device"] for line in row.lines))


def spread(values: Sequence[float], digits: int) -> str:
    """Return the mean as text, followed by the range if the values differ."""
    low, mean, high = (f"{f(values):.{digits}f}" for f in (min, np.mean, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def _row(key: str, group: Sequence[Line]) -> Row:
    """Return the row of results that have the key of `rows` in common."""
    table, name, dataset, cell = json.loads(key)
    settings = ", ".join(f"{k}={v}" for k, v in cell.items())
    measures = {m: [line[m] for line in group if line.get(m) is not None]
                for m in group[0]["measures"]}  # fmt: skip
    return Row(table, name, dataset, settings, group, measures, group[-1]["theirs"])


def _comparison(row: Row) -> list[str]:
    """Return the published figure, and our mean minus the published figure, as texts."""
    if row.theirs is None:
        return ["", ""]
    name, values = next(iter(row.measures.items()))
    scale, form = (100, ".2f") if is_share(name) else (1, ".5g")
    difference = f"{scale * (np.mean(values) - row.theirs):+{form}}" if values else ""
    return [f"{scale * row.theirs:{form}}", difference]


def _escaped(cell: str) -> str:
    """Return a cell's text without characters that would end the cell in Markdown."""
    return str(cell).replace("|", "\\|").replace("\n", " ")
