"""Append the results of runs to a file of published results, and make tables of such files.

`python -m jaxlabel.runlog.results README.md` writes the tables of a document again: it replaces
the text between `<!-- results: FILE.jsonl ... -->` and `<!-- end of results -->` by a table of the
results in the named files. FILE is relative to the document.
"""

import fcntl
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlabel import files
from jaxlabel.errors import UsageError

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
INCIDENTAL = ("seed", "data_dir", "store", "account", "map", "pretext_seeds")


class MeanInterval(NamedTuple):
    """A mean over seeds with its 95% interval.

    Attributes:
      mean: the mean of the values.
      low: the lower end of the interval; None for a single value.
      high: the upper end of the interval; None for a single value.
    """

    mean: float
    low: float | None
    high: float | None


def append(path: Path | str, result: Mapping[str, Any]) -> None:
    """Append a run's result as one line to a file, unless an equal line is in it already.

    Several processes can append to a file at the same time. A half-written last line, left by a
    killed process, is cut off.

    Raises:
      ValueError: a key of KEYS is missing in the result.
    """
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
    """Read results from files, in their order; of a run that was repeated, only the last result.

    Raises:
      UsageError: a file is missing.
    """
    latest: dict[str, dict[str, Any]] = {}
    for path in map(Path, paths):
        if not path.is_file():
            raise UsageError(f"there is no results file {path}")
        for result in files.read_lines(path)[0]:
            key = _key(result, seed=result["seed"])
            latest.pop(key, None)
            latest[key] = result
    return list(latest.values())


def table(*paths: Path | str) -> str:
    """Return a Markdown table of results, with a row of means per data set, method and settings."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in read(*paths):
        groups.setdefault(_key(result), []).append(result)
    varying = _varying_settings([group[0] for group in groups.values()])
    rows = [_row(group, varying) for group in groups.values()]
    lines = [HEADINGS, ["---"] * 3 + ["---:"] * 5 + ["---"], *rows]
    return "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines) + "\n"


def with_tables(document: str, root: Path) -> str:
    """Return a document with each marked table replaced by a new one.

    Args:
      document: the text, with markers as in this module's docstring.
      root: the directory that the files in the markers are relative to.
    """

    def replacement(match: re.Match[str]) -> str:
        paths = [root / name for name in match[2].split()]
        return f"{match[1]}\n{table(*paths)}\n{match[3]}"

    return MARKED.sub(replacement, document)


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Return the mean of roughly normal values and its 95% interval by Student's t (1908)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return MeanInterval(mean, None, None)
    from scipy.special import stdtrit

    quantile = stdtrit(len(values) - 1, 0.975)
    half = float(quantile * np.std(values, ddof=1) / np.sqrt(len(values)))
    return MeanInterval(mean, mean - half, mean + half)


def main(arguments: Sequence[str]) -> None:
    """Write the tables of the documents at the given paths again."""
    for path in map(Path, arguments):
        files.write(path, with_tables(path.read_text(), path.parent))


def _row(group: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> list[str]:
    """Return the cells of a table row for runs that differ only in their seed."""
    first = group[0]
    config = first.get("config") or {}
    settings = [f"{name}={config[name]}" for name in varying if name in config]
    return [
        first["dataset"],
        first["method"] + (" (peeked)" if first.get("peeked") else ""),
        ", ".join(settings),
        _number([r["labels_spent"] for r in group], 0),
        _percentages([r["train_label_accuracy"] for r in group]),
        _percentages([r["test_accuracy"] for r in group]),
        str(len(group)),
        _number([r["seconds"] for r in group], 1),
        first["device"],
    ]


def _percentages(fractions: Sequence[float | None]) -> str:
    """Return the mean of fractions and its interval as percentages; "" if all are None."""
    percentages = [100 * fraction for fraction in fractions if fraction is not None]
    if not percentages:
        return ""
    mean, low, high = mean_interval(percentages)
    if low is None or high is None:
        return f"{mean:.2f}%"
    return f"{mean:.2f}% ({max(low, 0):.2f} to {min(high, 100):.2f})"


def _number(values: Sequence[float], digits: int) -> str:
    """Return the mean as text, followed by the range if the values differ."""
    low, mean, high = (f"{f(values):.{digits}f}" for f in (min, np.mean, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def _varying_settings(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings that differ between two results of the same data set and method."""
    varying: list[str] = []
    for number, result in enumerate(results):
        for other in results[:number]:
            if (result["dataset"], result["method"]) == (other["dataset"], other["method"]):
                left, right = result.get("config") or {}, other.get("config") or {}
                names = [*left, *(right.keys() - left.keys())]
                varying += [n for n in names if left.get(n) != right.get(n)]
    return [name for name in dict.fromkeys(varying) if name not in INCIDENTAL]


def _key(result: Mapping[str, Any], seed: Any = None) -> str:
    """Return a text that is equal for runs of equal data set, method, device, settings and seed."""
    config = result.get("config") or {}
    settings = {name: value for name, value in config.items() if name not in INCIDENTAL}
    identity = [result["dataset"], result["method"], result["device"], result.get("peeked"), seed]
    position = [result.get(name) for name in ("table", "row")]  # set in results of a sweep
    return json.dumps([*identity, *position, settings], sort_keys=True)


def _escaped(cell: str) -> str:
    """Return a cell's text without characters that would end the cell in Markdown."""
    return str(cell).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    main(sys.argv[1:])
