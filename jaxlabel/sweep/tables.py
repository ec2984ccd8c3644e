"""Make tables of an experiment's results, and compare the results with published ones.

A "line" is the result of one run with the names of the table and row to which it belongs. Lines
come from the runs' folders or from a file of published results.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxlabel import files
from jaxlabel.report.run import labels_used
from jaxlabel.runlog.results import (
    MeanInterval,
    few,
    markdown_table,
    mean_and_range,
    mean_interval,
    num_runs,
)
from jaxlabel.sweep.places import DATA_ROOT, in_other_folder
from jaxlabel.sweep.types import Plan, Run

Line = Mapping[str, Any]


class Row(NamedTuple):
    """A row of a results table: it summarises several runs that differ only in their seed.

    Attributes:
      table: the title of the table.
      name: the name of the arm (a method with a grid of settings) to which the runs belong.
      dataset: the name of the data set.
      settings: the runs' values of the settings in the grid, as text, such as "budget=500".
      lines: the result of each run.
      measures: for each measure, such as "test_accuracy", its values, one for each run. Runs
        without the measure are left out.
      theirs: the published result to compare with; None if there is none.
    """

    table: str
    name: str
    dataset: str
    settings: str
    lines: Sequence[Line]
    measures: dict[str, list[float]]
    theirs: float | None


def result_line(plan: Plan, run: Run, result: Line) -> dict[str, Any]:
    """Return the result of a run together with the names of the table and row to which it belongs.

    Paths of this machine are removed, so that the result can be published.

    Args:
      plan: the plan, which describes the experiment's tables.
      run: the run.
      result: the content of the run's result.json.
    """
    table = next(t for t in plan.tables if t["title"] == run.table)
    # the run may have read its data by another path: see places.data_roots
    config = without_local_paths(plan, {**result["config"], "data": run.config["data"]})
    kept = {key: value for key, value in result.items() if key != "ledger"}
    return kept | {
        "config": config, "experiment": plan.experiment, "table": run.table, "row": run.row,
        "cell": run.cell, "theirs": run.theirs, "run": run.name,
        "measures": table["measures"], "over": table["over"],
    }  # fmt: skip


def without_local_paths(plan: Plan, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings without the paths of the data and of the label databases.

    In the setting `data`, the path of the directory of data sets is replaced by "DATA_ROOT" if the
    data set lies in this directory. The settings `data_dir`, `store`, `labels` and `account` become
    empty.

    Args:
      plan: the plan of the experiment, which has the path of the directory of data sets.
      config: the settings of the run by name.
    """
    data = config["data"]
    if plan.data_root:
        data = in_other_folder(data, plan.data_root, DATA_ROOT)
    private = dict.fromkeys(["data_dir", "store", "labels", "account"], "")
    return dict(config) | private | {"data": data}


def rows(lines: Sequence[Line]) -> list[Row]:
    """Make the rows of an experiment's tables: runs that differ only in their seed share a row.

    Args:
      lines: the results of the runs, from `result_line`. The rows of the tables are in the order in
        which their first results occur in `lines`.
    """
    groups: dict[str, dict[str, list[Line]]] = {}
    for line in lines:
        # The table has a separate column for the data set.
        cell = {k: v for k, v in line["cell"].items() if k != "data"}
        key = json.dumps([line["table"], line["row"], line["dataset"], cell])
        groups.setdefault(key, {}).setdefault(line["cell"].get("data", ""), []).append(line)
    # two data sets may have the same name; their rows then show what the setting `data` is
    return [_group_row(group, shows_data=len(by_data) > 1)
            for by_data in groups.values() for group in by_data.values()]  # fmt: skip


def document(plan: Plan, lines: Sequence[Line]) -> str:
    """Return the text of the file table.md: the experiment's question, a note, and its tables.

    Args:
      plan: the plan of the experiment, which has the question.
      lines: the results of the runs, from `result_line`.
    """
    head = f"# {plan.experiment}{' (quick)' if plan.quick else ''}\n\n{plan.question}\n"
    note = ("Means over n seeds with their 95% intervals (Student's t); seconds include what runs "
            "share. If several git commits of jaxlabel made the runs of a row, n says how "
            "many.")  # fmt: skip
    return f"{head}\n{note}\n\n{markdown(lines)}"


def markdown(lines: Sequence[Line]) -> str:
    """Return the tables of an experiment as Markdown text, each under its title.

    Args:
      lines: the results of the runs, from `result_line`.
    """
    all_rows, parts = rows(lines), []
    for title in dict.fromkeys(row.table for row in all_rows):
        cells = text_cells([row for row in all_rows if row.table == title])
        cells.insert(1, ["---"] * len(cells[0]))
        parts.append(f"## {title}\n\n{markdown_table(cells)}")
    return "\n".join(parts)


def text_cells(table: Sequence[Row]) -> list[list[str]]:
    """Return the text of each cell of a results table: a list of headings, then a list per row.

    Args:
      table: the rows of the table.
    """
    measures = list(table[0].measures)
    is_compared = any(row.theirs is not None for row in table)
    head = ["row", "data set", "settings", "labels", *(m.replace("_", " ") for m in measures)]
    head += ["theirs", "difference"] if is_compared else []
    cells = [[*head, "n", "seconds", "device"]]
    for row in table:
        texts = [row.name, row.dataset, row.settings, mean_and_range(labels(row), 0)]
        texts += [f"{interval_text(name, values)}{few(values, row.lines)}"
                  for name, values in row.measures.items()]  # fmt: skip
        texts += _comparison_cells(row) if is_compared else []
        cells.append([*texts, num_runs(row.lines), mean_and_range(seconds(row), 1), devices(row)])
    return cells


def csv_text(lines: Sequence[Line]) -> str:
    """Return the tables of an experiment as CSV text, with a line for each table row and measure.

    Accuracies are fractions, not percentages.

    Args:
      lines: the results of the runs, from `result_line`.
    """
    cells: list[list[Any]] = [
        ["table", "row", "dataset", "settings", "measure", "mean", "low", "high", "n", "theirs",
         "labels_spent", "labels_used", "seconds", "device"]
    ]  # fmt: skip
    for row in rows(lines):
        for number, (name, values) in enumerate(row.measures.items()):
            interval = bounded_mean_interval(name, values) if values else ("", None, None)
            cells.append([
                row.table, row.name, row.dataset, row.settings, name, *interval, len(values),
                row.theirs if number == 0 else None,
                np.mean([line["labels_spent"] for line in row.lines]), np.mean(labels(row)),
                np.mean(seconds(row)), devices(row),
            ])  # fmt: skip
    return files.csv_text(cells)


def bounded_mean_interval(name: str, values: Sequence[float]) -> MeanInterval:
    """Return the mean of a measure's values and its 95% confidence interval.

    If the measure is a fraction, such as an accuracy, the interval is cut off at 0 and 1.

    Args:
      name: the name of the measure. A measure is a fraction if its name ends with "accuracy",
        "estimate" or "purity".
      values: the values of the measure, one for each seed.
    """
    mean, low, high = mean_interval(values)
    if low is None or high is None or not is_share(name):
        return MeanInterval(mean, low, high)
    return MeanInterval(mean, max(low, 0.0), min(high, 1.0))


def is_share(name: str) -> bool:
    """Return True if a measure, such as "test_accuracy", is a fraction, to be shown in percent.

    Args:
      name: the name of the measure.
    """
    return name.endswith(("accuracy", "estimate", "purity"))


def interval_text(name: str, values: Sequence[float]) -> str:
    """Return the mean of a measure's values and its 95% interval as text: "91.20 (90.10 to 92.30)".

    Args:
      name: the name of the measure. Fractions, such as accuracies, are shown in percent.
      values: the values, one for each seed. If there are none, the text is an empty string.
    """
    if not values:
        return ""
    mean, low, high = bounded_mean_interval(name, values)
    show = (lambda v: f"{100 * v:.2f}") if is_share(name) else (lambda v: f"{v:.5g}")
    return show(mean) if low is None else f"{show(mean)} ({show(low)} to {show(high)})"


def one_line(result: Line) -> str:
    """Return a short text on a finished run, such as "91.20% with 500 labels, 12.3 s".

    Args:
      result: the content of the run's result.json.
    """
    accuracy = result.get("test_accuracy")
    start = f"{100 * accuracy:.2f}% with " if accuracy is not None else ""
    return f"{start}{labels_used(result)} labels, {result['seconds']:.1f} s"


def labels(row: Row) -> list[float]:
    """Return the number of labels that each of the runs of a table row used.

    Labels that a run's account had bought before the run are counted, because the run learned from
    them too.
    """
    return [labels_used(line) for line in row.lines]


def seconds(row: Row) -> list[float]:
    """Return the seconds that each of the runs that a table row summarises needed.

    If a run read a result of an earlier run from a cache, the seconds include the time in which the
    earlier run computed it.
    """
    return [line["seconds"] + line.get("seconds_shared", 0.0) for line in row.lines]


def devices(row: Row) -> str:
    """Return the names of the devices on which the runs that a table row summarises were executed.

    The names are joined to one text, such as "CPU, 8 cores, 1x NVIDIA A100".
    """
    return ", ".join(dict.fromkeys(line["device"] for line in row.lines))


def _group_row(group: Sequence[Line], shows_data: bool) -> Row:
    """Make a table row from the results of runs that differ only in their seed.

    Args:
      group: the results of the runs.
      shows_data: whether the row shows the setting `data` of the runs.
    """
    first = group[0]
    cell = dict(first["cell"])
    data = cell.pop("data", None)
    if shows_data and data is not None:
        cell["data"] = data  # as the last setting
    # JSON has no infinity: an infinite number was stored as None
    settings = ", ".join(f"{k}={'inf' if v is None else v}" for k, v in cell.items())
    measures = {m: [line[m] for line in group if line.get(m) is not None]
                for m in first["measures"]}  # fmt: skip
    return Row(first["table"], first["row"], first["dataset"], settings, group, measures,
               group[-1]["theirs"])  # fmt: skip


def _comparison_cells(row: Row) -> list[str]:
    """Return the two table cells that compare the runs of a row with a published result.

    Returns:
      The published result, and the mean of the row's runs minus the published result, as texts. The
      texts are empty if there is no published result.
    """
    if row.theirs is None:
        return ["", ""]
    name, values = next(iter(row.measures.items()))
    scale, form = (100, ".2f") if is_share(name) else (1, ".5g")
    difference = f"{scale * (np.mean(values) - row.theirs):+{form}}" if values else ""
    return [f"{scale * row.theirs:{form}}", difference]
