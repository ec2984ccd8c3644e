"""Published results: lines that runs wrote, and the tables made of them.

`python -m jaxlabel.runlog.results README.md` writes the tables of a document again: what stands
between `<!-- results: FILE.jsonl ... -->` and `<!-- end of results -->`. FILE is relative to the
document.
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

KEYS = (
    "method", "dataset", "seed", "labels_spent", "labels_by_purpose", "train_label_accuracy",
    "test_accuracy", "test_accuracy_interval", "seconds", "device", "versions", "commit",
)  # fmt: skip
HEADINGS = (
    "data set", "method", "settings", "labels", "training labels right", "test accuracy", "n",
    "seconds", "device",
)  # fmt: skip
MARKED = re.compile(r"(<!-- results: (.*?) -->\n).*?(<!-- end of results -->)", re.DOTALL)
# Where a run kept things, and what it did for others, which is no part of what was run.
INCIDENTAL = ("seed", "data_dir", "store", "account", "map", "pretext_seeds")


class MeanInterval(NamedTuple):
    """A mean over seeds with its 95% interval; a single value has none."""

    mean: float
    low: float | None
    high: float | None


def append(path: Path | str, result: Mapping[str, Any]) -> None:
    """Adds a run's result to a file of results as one line, unless that very result is there.

    Several processes may do so at once; a line that a kill left half written is cut off.

    Raises:
      ValueError: a key of KEYS is missing.
    """
    if missing := [key for key in KEYS if key not in result]:
        raise ValueError(f"a result has the keys KEYS; missing: {', '.join(missing)}")
    path, line = Path(path), files.json_line(result)
    with files.refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            results, size = files.read_lines(path)
            file.truncate(size)
            if json.loads(line) not in results:
                file.write(line)


def read(*paths: Path | str) -> list[dict[str, Any]]:
    """The results in some files, in their order; of a run that was repeated, the last.

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
    """A Markdown table of some files' results: a row per method and settings, over its seeds."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in read(*paths):
        groups.setdefault(_key(result), []).append(result)
    changing = _changing([group[0] for group in groups.values()])
    rows = [_row(group, changing) for group in groups.values()]
    lines = [HEADINGS, ["---"] * 3 + ["---:"] * 5 + ["---"], *rows]
    return "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines) + "\n"


def filled(document: str, root: Path) -> str:
    """The document with every marked table made anew from the files that its marker names."""

    def replacement(match: re.Match[str]) -> str:
        paths = [root / name for name in match[2].split()]
        return f"{match[1]}\n{table(*paths)}\n{match[3]}"

    return MARKED.sub(replacement, document)


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """The mean and its 95% interval by Student's t (1908), for values that are about normal."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return MeanInterval(mean, None, None)
    from scipy.special import stdtrit

    quantile = stdtrit(len(values) - 1, 0.975)
    half = float(quantile * np.std(values, ddof=1) / np.sqrt(len(values)))
    return MeanInterval(mean, mean - half, mean + half)


def main(arguments: Sequence[str]) -> None:
    """Rewrites the documents that are named."""
    for path in map(Path, arguments):
        files.write(path, filled(path.read_text(), path.parent))


def _row(group: Sequence[Mapping[str, Any]], changing: Sequence[str]) -> list[str]:
    first = group[0]
    config = first.get("config") or {}
    settings = [f"{name}={config[name]}" for name in changing if name in config]
    return [
        first["dataset"],
        first["method"] + (" (peeked)" if first.get("peeked") else ""),
        ", ".join(settings),
        _number([r["labels_spent"] for r in group], 0),
        _shares([r["train_label_accuracy"] for r in group]),
        _shares([r["test_accuracy"] for r in group]),
        str(len(group)),
        _number([r["seconds"] for r in group], 1),
        first["device"],
    ]


def _shares(shares: Sequence[float | None]) -> str:
    """Percentages: the mean and its interval over seeds."""
    known = [100 * share for share in shares if share is not None]
    if not known:
        return ""
    mean, low, high = mean_interval(known)
    if low is None or high is None:
        return f"{mean:.2f}%"
    return f"{mean:.2f}% ({max(low, 0):.2f} to {min(high, 100):.2f})"


def _number(values: Sequence[float], digits: int) -> str:
    """The mean, and the range where it is not the same for all."""
    low, mean, high = (f"{f(values):.{digits}f}" for f in (min, np.mean, max))
    return mean if low == high else f"{mean} ({low} to {high})"


def _changing(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings in which two rows of the same data set and method differ."""
    changing: list[str] = []
    for number, one in enumerate(results):
        for other in results[:number]:
            if (one["dataset"], one["method"]) == (other["dataset"], other["method"]):
                left, right = one.get("config") or {}, other.get("config") or {}
                names = [*left, *(right.keys() - left.keys())]
                changing += [n for n in names if left.get(n) != right.get(n)]
    return [name for name in dict.fromkeys(changing) if name not in INCIDENTAL]


def _key(result: Mapping[str, Any], seed: Any = None) -> str:
    """What a run was: data set, method, device and settings, and its seed when given."""
    config = result.get("config") or {}
    settings = {name: value for name, value in config.items() if name not in INCIDENTAL}
    named = [result["dataset"], result["method"], result["device"], result.get("peeked"), seed]
    place = [result.get(name) for name in ("table", "row")]  # of a sweep
    return json.dumps([*named, *place, settings], sort_keys=True)


def _escaped(cell: str) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    main(sys.argv[1:])
