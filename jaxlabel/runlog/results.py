"""Append results of runs to a file of published results, and make tables from such files.

Published results are trained from scratch: results of runs on features from outside are refused.

`python -m jaxlabel.runlog.results README.md` updates the tables in a document: it replaces the text
between `<!-- results: FILE.jsonl ... -->` and `<!-- end of results -->` by a table of the results
in the named files. FILE is relative to the document.
"""

import fcntl
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlabel import files
from jaxlabel.errors import UsageError
from jaxlabel.report.run import labels_used
from jaxlabel.runlog import old_settings

# The keys that every result has.
KEYS = (
    "method", "dataset", "seed", "labels_spent", "labels_by_purpose", "train_label_accuracy",
    "test_accuracy", "test_accuracy_interval", "seconds", "device", "versions", "commit",
)  # fmt: skip
HEADINGS = (
    "data set", "method", "settings", "labels", "training labels right", "test accuracy", "n",
    "seconds", "device",
)  # fmt: skip
MARKED = re.compile(r"(<!-- results: (.*?) -->\n).*?(<!-- end of results -->)", re.DOTALL)
# Settings that do not change what a run computes; "seed" tells repetitions of a run apart.
INCIDENTAL = ("seed", "data_dir", "store", "account", "map", "sinks", "pretext_seeds", "devices")

FEATURES_FROM_OUTSIDE = "features from outside"  # what marks a run that is not from scratch
MARK = "features_from_outside"  # the entry of such a run's result.json


class MeanInterval(NamedTuple):
    """The mean of a measure over several seeds, with its 95% confidence interval.

    Attributes:
      mean: the mean of the values.
      low: the lower end of the interval; None if there is only one value.
      high: the upper end of the interval; None if there is only one value.
    """

    mean: float
    low: float | None
    high: float | None


def is_from_scratch(result: Mapping[str, Any]) -> bool:
    """Return False if a run learned from features that another program computed.

    Such features may come from a network that was trained on other data, so its accuracy must not
    stand in a table beside those of runs from scratch.

    Args:
      result: the content of the run's result.json, or a line of a file of published results.
    """
    return not result.get(MARK)


def append(path: Path | str, result: Mapping[str, Any]) -> None:
    """Append a run's result as one line of JSON to a file, unless the file has an equal line.

    Several processes can append to a file at the same time. A half-written last line, which a
    killed process may leave, is cut off.

    Args:
      path: the file; it is created if it is missing.
      result: the content of the run's result.json, with at least the keys in KEYS.

    Raises:
      ValueError: a key of KEYS is missing in the result.
      UsageError: the run learned from features from outside.
    """
    if not is_from_scratch(result):
        raise UsageError(f"a run on {FEATURES_FROM_OUTSIDE} is not published in {path}: its tables "
                         "hold results from scratch")  # fmt: skip
    if missing := [key for key in KEYS if key not in result]:
        raise ValueError(f"a result has the keys KEYS; missing: {', '.join(missing)}")
    path, line = Path(path), files.json_line(result)
    with files.write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            results, size = files.read_lines(path)
            file.truncate(size)
            if json.loads(line) not in results:
                file.write(line)


def read(*paths: Path | str) -> list[dict[str, Any]]:
    """Read the results of runs from the files `paths`, which have one result per line as JSON.

    If several runs had the same method, data set, settings, seed, and kind of device, only the last
    of their results is returned. The results are in the order of the files and lines. Results of
    runs on features from outside are left out.

    Raises:
      UsageError: a file is missing.
    """
    latest: dict[str, dict[str, Any]] = {}
    for path in map(Path, paths):
        if not path.is_file():
            raise UsageError(f"there is no results file {path}")
        for result in filter(is_from_scratch, files.read_lines(path)[0]):
            key = _configuration_key(result, seed=result["seed"])
            latest.pop(key, None)
            latest[key] = result
    return list(latest.values())


def table(*paths: Path | str) -> str:
    """Return a Markdown table of the results in the files `paths`, which `append` has written.

    Runs that differ only in their seed share a row, which shows the means of their measures.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in read(*paths):
        groups.setdefault(_configuration_key(result), []).append(result)
    varying = _varying_settings([group[0] for group in groups.values()])
    rows = [_table_row(group, varying) for group in groups.values()]
    return markdown_table([HEADINGS, ["---"] * 3 + ["---:"] * 5 + ["---"], *rows])


def with_tables(document: str, root: Path) -> str:
    """Return a Markdown document with its tables of results updated.

    A table stands between the comments `<!-- results: FILE.jsonl ... -->` and
    `<!-- end of results -->`. It is replaced by a table of the results in the named files.

    Args:
      document: the text of the document.
      root: the directory to which the file names in the comments are relative.
    """

    def replacement(match: re.Match[str]) -> str:
        paths = [root / name for name in match[2].split()]
        return f"{match[1]}\n{table(*paths)}\n{match[3]}"

    return MARKED.sub(replacement, document)


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Return the mean of `values` and its 95% confidence interval by Student's t distribution.

    The values are assumed to be roughly normally distributed (Student 1908).
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return MeanInterval(mean, None, None)
    from scipy.special import stdtrit

    quantile = stdtrit(len(values) - 1, 0.975)
    half = float(quantile * np.std(values, ddof=1) / np.sqrt(len(values)))
    return MeanInterval(mean, mean - half, mean + half)


def main(arguments: Sequence[str]) -> None:
    """Update the tables of results in documents.

    Args:
      arguments: the paths of the documents, such as ["README.md"].
    """
    for path in map(Path, arguments):
        files.write(path, with_tables(path.read_text(), path.parent))


def _table_row(group: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> list[str]:
    """Return the cells of the table row that summarises runs which differ only in their seed.

    Args:
      group: the results of the runs.
      varying: the names of the settings whose values the row shows.
    """
    first = group[0]
    config = _settings(first)
    settings = [f"{name}={config[name]}" for name in varying if name in config]
    return [
        first["dataset"],
        first["method"] + (" (peeked)" if first.get("peeked") else ""),
        ", ".join(settings),
        mean_and_range([labels_used(r) for r in group], 0),
        _percentage_text([r["train_label_accuracy"] for r in group]),
        _percentage_text([r["test_accuracy"] for r in group]),
        num_runs(group),
        mean_and_range([r["seconds"] for r in group], 1),
        first["device"],
    ]


def _percentage_text(fractions: Sequence[float | None]) -> str:
    """Return the mean of fractions and its 95% confidence interval as a text in percent.

    For example, accuracies near 0.912 yield "91.20% (90.10 to 92.30)". None among the `fractions`
    is ignored; if all are None, an empty string is returned.
    """
    percentages = [100 * fraction for fraction in fractions if fraction is not None]
    if not percentages:
        return ""
    mean, low, high = mean_interval(percentages)
    n = few(percentages, fractions)
    if low is None or high is None:
        return f"{mean:.2f}%{n}"
    return f"{mean:.2f}% ({max(low, 0):.2f} to {min(high, 100):.2f}){n}"


def few(values: Sequence[float], results: Sequence[Any]) -> str:
    """Return ", n=K" if only K of the results have a measure; "" if all or none have it.

    Args:
      values: the measure's value in each of the results that have the measure.
      results: the results of the runs that a table row summarises.
    """
    return f", n={len(values)}" if 0 < len(values) < len(results) else ""


def num_runs(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the number of runs, such as "5", or "5 (2 commits)" if jaxlabel changed in between.

    A commit is that of jaxlabel's source code, or its release where the commit is not known.
    """
    commits = {r.get("commit") or r.get("versions", {}).get("jaxlabel") for r in results}
    return f"{len(results)}" + (f" ({len(commits)} commits)" if len(commits) > 1 else "")


def mean_and_range(values: Sequence[float], digits: int) -> str:
    """Return the mean of values, and their range if they differ, as a text: "12 (10 to 14)".

    Args:
      values: the values, such as 10, 12 and 14.
      digits: the number of decimals of each number in the text.
    """
    low, mean, high = (f"{f(values):.{digits}f}" for f in (min, np.mean, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def _varying_settings(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the settings in which at least two runs differ.

    Two runs are compared only if they have the same data set and method. Settings that do not
    change what a run computes are left out. A removed setting that only the run of an earlier
    version has does not differ if its value is what every run has today.

    Args:
      results: the content of the result.json of each run.
    """
    varying: list[str] = []
    for number, result in enumerate(results):
        for other in results[:number]:
            if (result["dataset"], result["method"]) == (other["dataset"], other["method"]):
                one, two = _settings(result), _settings(other)
                left = old_settings.without_removed(one, two)
                right = old_settings.without_removed(two, one)
                names = [*left, *(right.keys() - left.keys())]
                varying += [n for n in names if left.get(n) != right.get(n)]
    return [name for name in dict.fromkeys(varying) if name not in INCIDENTAL]


def _settings(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run by today's names, without an empty setting `features`.

    Results of earlier versions lack this setting of flagship and semisup; in results from scratch
    it is empty.
    """
    config = old_settings.with_current_names(result.get("config") or {})
    return {name: value for name, value in config.items() if (name, value) != ("features", "")}


def _configuration_key(result: Mapping[str, Any], seed: Any = None) -> str:
    """Return a text that is equal for two runs if they had the same configuration.

    The configuration comprises data set, method, device, and settings.

    Args:
      result: the content of the run's result.json.
      seed: the seed of the run, which becomes a part of the text. None: runs that differ only in
        their seed get the same text.
    """
    settings = {name: value for name, value in _settings(result).items() if name not in INCIDENTAL}
    identity = [result["dataset"], result["method"], result["device"], result.get("peeked"), seed]
    position = [result.get(name) for name in ("table", "row")]  # set in results of a sweep
    return json.dumps([*identity, *position, settings], sort_keys=True)


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as a Markdown table; the second row has the alignments, such as "---:".

    In a cell, "|" is escaped and line breaks become spaces, because they would end the cell.
    """
    escaped = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


if __name__ == "__main__":
    main(sys.argv[1:])
