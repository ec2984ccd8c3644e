"""Tables of results, ours beside theirs: made of result lines alone, from a sweep or published."""

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
    """The runs of one row over its seeds.

    Attributes:
      measures: key of the result to its values; those that a run does not have are left out.
    """

    table: str
    name: str
    dataset: str
    settings: str
    lines: Sequence[Line]
    measures: dict[str, list[float]]
    theirs: float | None


def line(plan: Plan, run: Run, result: Line) -> dict[str, Any]:
    """A result with its place in the tables, and nothing of where things are on this machine."""
    table = next(t for t in plan.tables if t["title"] == run.table)
    config = without_places(plan, result["config"])
    kept = {key: value for key, value in result.items() if key != "ledger"}
    return kept | {
        "config": config, "experiment": plan.experiment, "table": run.table, "row": run.row,
        "cell": run.cell, "theirs": run.theirs, "run": run.name,
        "measures": table["measures"], "over": table["over"],
    }  # fmt: skip


def without_places(plan: Plan, config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings without where things are on this machine."""
    data = config["data"]
    if plan.data_root:
        data = data.replace(plan.data_root.rstrip("/") or "/", DATA_ROOT, 1)
    return dict(config) | {"store": "", "account": "", "data": data}


def rows(lines: Sequence[Line]) -> list[Row]:
    """The rows, in the order in which their first lines come."""
    groups: dict[str, list[Line]] = {}
    for one in lines:
        # The data set is a column of its own.
        cell = {k: v for k, v in one["cell"].items() if k != "data"}
        key = json.dumps([one["table"], one["row"], one["dataset"], cell])
        groups.setdefault(key, []).append(one)
    return [_row(key, group) for key, group in groups.items()]


def document(plan: Plan, lines: Sequence[Line]) -> str:
    """The Markdown page of an experiment's results."""
    head = f"# {plan.experiment}{' (quick)' if plan.quick else ''}\n\n{plan.question}\n"
    note = ("Means over n seeds with their 95% intervals (Student's t); seconds include what runs "
            "share.")  # fmt: skip
    return f"{head}\n{note}\n\n{markdown(lines)}"


def markdown(lines: Sequence[Line]) -> str:
    """A Markdown table under its title for each table of the lines."""
    found, parts = rows(lines), []
    for title in dict.fromkeys(row.table for row in found):
        cells = text_cells([row for row in found if row.table == title])
        cells.insert(1, ["---"] * len(cells[0]))
        text = "\n".join("| " + " | ".join(map(_escaped, row)) + " |" for row in cells)
        parts.append(f"## {title}\n\n{text}\n")
    return "\n".join(parts)


def text_cells(found: Sequence[Row]) -> list[list[str]]:
    """The headings and the cells of one table's rows as texts."""
    measures = list(found[0].measures)
    beside = any(row.theirs is not None for row in found)
    head = ["row", "data set", "settings", "labels", *(m.replace("_", " ") for m in measures)]
    head += ["theirs", "difference"] if beside else []
    cells = [[*head, "n", "seconds", "device"]]
    for row in found:
        texts = [row.name, row.dataset, row.settings, spread(labels(row), 0)]
        texts += [with_interval(name, values) for name, values in row.measures.items()]
        texts += _beside(row) if beside else []
        cells.append([*texts, str(len(row.lines)), spread(seconds(row), 1), devices(row)])
    return cells


def csv_text(lines: Sequence[Line]) -> str:
    """A line per row and measure, fractions as fractions."""
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
    """The mean and its interval, which for a share ends at 0 and 1."""
    mean, low, high = mean_interval(values)
    if low is None or high is None or not is_share(name):
        return MeanInterval(mean, low, high)
    return MeanInterval(mean, max(low, 0.0), min(high, 1.0))


def is_share(name: str) -> bool:
    """Whether a measure is a fraction that people read as a percentage."""
    return name.endswith(("accuracy", "estimate", "purity"))


def with_interval(name: str, values: Sequence[float]) -> str:
    """A mean with its interval as people read it."""
    if not values:
        return ""
    mean, low, high = bounded(name, values)
    show = (lambda v: f"{100 * v:.2f}") if is_share(name) else (lambda v: f"{v:.5g}")
    return show(mean) if low is None else f"{show(mean)} ({show(low)} to {show(high)})"


def one_line(result: Line) -> str:
    """A finished run in a few words."""
    reached = result.get("test_accuracy")
    accuracy = f"{100 * reached:.2f}% with " if reached is not None else ""
    return f"{accuracy}{result['labels_spent']} labels, {result['seconds']:.1f} s"


def labels(row: Row) -> list[float]:
    """The labels that its runs bought."""
    return [one["labels_spent"] for one in row.lines]


def seconds(row: Row) -> list[float]:
    """What its runs take, each on its own: what was found in the cache is counted too."""
    return [one["seconds"] + one.get("seconds_shared", 0.0) for one in row.lines]


def devices(row: Row) -> str:
    """Where its runs ran."""
    return ", ".join(dict.fromkeys(one["device"] for one in row.lines))


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, and the range where it is not the same for all."""
    low, mean, high = (f"{f(values):.{digits}f}" for f in (min, np.mean, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def _row(key: str, group: Sequence[Line]) -> Row:
    table, name, dataset, cell = json.loads(key)
    settings = ", ".join(f"{k}={v}" for k, v in cell.items())
    measures = {m: [one[m] for one in group if one.get(m) is not None]
                for m in group[0]["measures"]}  # fmt: skip
    return Row(table, name, dataset, settings, group, measures, group[-1]["theirs"])


def _beside(row: Row) -> list[str]:
    """Theirs, and ours minus theirs."""
    if row.theirs is None:
        return ["", ""]
    name, values = next(iter(row.measures.items()))
    scale, form = (100, ".2f") if is_share(name) else (1, ".5g")
    difference = f"{scale * (np.mean(values) - row.theirs):+{form}}" if values else ""
    return [f"{scale * row.theirs:{form}}", difference]


def _escaped(cell: str) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")
