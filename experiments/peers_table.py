"""Make the table and the figure of `experiments/peers.py` from its results."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel.report import figures
from jaxlabel.sweep import page

PUBLISHED = Path(__file__).parents[1] / "docs" / "results.md"
Line = Mapping[str, Any]


def key(line: Line) -> tuple[Any, ...]:
    """Return the values that identify a result; old lines lack `bought`, the bought images."""
    names = ("dataset", "seed", "run", "peer", "features", "labels_from", "labels")
    return (*(line[name] for name in names), line.get("bought"))


def write(lines: Sequence[Line], folder: Path) -> None:
    """Write peers.md, and figures/peers.svg of the first data set, into the folder of results."""
    # A run that an earlier version compared, without `bought`, and that was compared again
    again = {key(line)[:-1] for line in lines if "bought" in line}
    lines = [line for line in lines if "bought" in line or key(line)[:-1] not in again]
    parts = []
    for name in dict.fromkeys(line["dataset"] for line in lines):
        chosen = [with_recipe(line) for line in lines if line["dataset"] == name]
        parts.append(f"## {name}\n\n{accuracies(chosen)}\n{costs(chosen)}")
    (folder / "peers.md").write_text("# Beside its peers\n\n" + "\n".join(parts))
    (folder / "figures").mkdir(exist_ok=True)
    first = [line for line in lines if line["dataset"] == lines[0]["dataset"]]
    (folder / "figures" / "peers.svg").write_text(figure(first))


def with_recipe(line: Line) -> Line:
    """Add the settings of jaxlabel's own run to its name, so that each has a row of its own."""
    return {**line, "peer": f"jaxlabel ({line['run']})"} if line["peer"] == "jaxlabel" else line


def rows_of(lines: Iterable[Line]) -> dict[tuple[str, str, str], dict[int, list[Line]]]:
    """Group results by peer, features and who chose the labels, then by the number of labels.

    The rows of jaxlabel come first, the others in the order of the alphabet.
    """
    rows: dict[tuple[str, str, str], dict[int, list[Line]]] = {}
    for line in lines:
        row = rows.setdefault((line["peer"], line["features"], line["labels_from"]), {})
        row.setdefault(line["labels"], []).append(line)
    order = sorted(rows, key=lambda names: (not names[0].startswith("jaxlabel"), names[0],
                                            names[2] == "chance", names[1]))  # fmt: skip
    return {names: rows[names] for names in order}


def accuracies(lines: Sequence[Line]) -> str:
    """Return the table of test accuracies: a row per peer, a column per number of labels."""
    rows = rows_of(lines)
    counts = sorted({count for row in rows.values() for count in row})
    seeds = sorted({line["seed"] for line in lines})
    cells = [["peer", "features", "labels chosen by", *(f"{count:,}" for count in counts)]]
    for names, row in rows.items():
        cells.append([*names, *(_mean([x["test_accuracy"] for x in row.get(count, [])])
                                        for count in counts)])  # fmt: skip
    other = published(lines[0]["dataset"])
    shown = [_nearest(other, count) for count in counts]
    if any(shown):
        cells.append(["jaxlabel, published (other seeds)", "images", "the run", *shown])
    head = ("Test accuracy in percent by the number of labels, the mean and, where there are "
            f"several runs, the range over them. Seeds: {', '.join(map(str, seeds))}.")  # fmt: skip
    return f"{head}\n\n{markdown(cells)}"


def costs(lines: Sequence[Line]) -> str:
    """Return the table of what each peer costs with the most labels: seconds and memory."""
    most = max(line["labels"] for line in lines)
    cells = [["peer", "features", "labels chosen by", "processor seconds", "megabytes"]]
    for names, row in rows_of(lines).items():
        if most in row and names[-1] != "chance":
            seconds = [_processor_seconds(line) for line in row[most]]
            known = [line["megabytes"] for line in row[most] if line["megabytes"]]
            limit = "at most " if row[most][0]["processor_seconds"] is None else ""
            memory = f"{np.mean(known):,.0f}" if known else "not recorded"
            cells.append([*names, f"{limit}{np.mean(seconds):,.1f}", memory])
    return f"What {most:,} labels cost, the mean of the runs:\n\n{markdown(cells)}"


def _processor_seconds(line: Line) -> float:
    """Return the processor time of a fit; of a run, which does not record it, the largest value.

    That is its seconds on the wall times the cores that it could use.
    """
    if line["processor_seconds"] is not None:
        return line["processor_seconds"]
    cores = re.search(r"(\d+) cores", line["device"])
    return line["wall_seconds"] * int(cores[1] if cores else 1)


def published(dataset: str) -> dict[int, tuple[str, str]]:
    """Return jaxlabel's published figures by the number of labels, from docs/results.md.

    Each is the mean with its range, in percent, and the number of seeds. Rows that name another
    recipe than the flagship are left out.
    """
    title = {"fashion_mnist": "Fashion-MNIST", "mnist": "MNIST"}.get(dataset, dataset)
    row = rf"^\| {title}, ([\d,]+) \| (?:\*\*)?([\d.]+)(?:\*\*)? \((.*?)\) \| (\d+) \|"
    found = re.findall(row, PUBLISHED.read_text(), re.MULTILINE)
    return {int(n.replace(",", "")): (f"{mean} ({span})", seeds) for n, mean, span, seeds in found}


def _nearest(figures_of: Mapping[int, tuple[str, str]], count: int) -> str:
    """Return the published figure for about as many labels (2% more or fewer), or nothing."""
    close = [n for n in figures_of if abs(n - count) <= 0.02 * count]
    return "; ".join(f"{figures_of[n][0]}, {figures_of[n][1]} seeds" for n in close)


def _mean(shares: Sequence[float]) -> str:
    if not shares:
        return ""
    mean, low, high = (
        f"{100 * value:.1f}" for value in (np.mean(shares), min(shares), max(shares))
    )
    return mean if len(shares) == 1 else f"{mean} ({low} to {high})"


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return a table of texts, the headings first, as Markdown."""
    rule = ["---", "---", "---", *["---:"] * (len(cells[0]) - 3)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [cells[0], rule, *cells[1:]])


def figure(lines: Sequence[Line]) -> str:
    """Draw test accuracy over labels: jaxlabel, and each peer on its better known features."""
    drawn = []
    for (peer, features, labels_from), row in rows_of(lines).items():
        if features != "pixels" and labels_from != "chance":
            counts = sorted(row)
            means = [float(np.mean([x["test_accuracy"] for x in row[n]])) for n in counts]
            drawn.append(figures.Series(peer, counts, means))
    other = sorted(published(lines[0]["dataset"]).items())
    most = max(line["labels"] for line in lines)
    if shown := [(n, float(text.split()[0]) / 100) for n, (text, _) in other if n <= most]:
        names, values = zip(*shown, strict=True)
        drawn.append(figures.Series("jaxlabel, other seeds", names, values, dashed=True))
    title = f"{lines[0]['dataset']}: jaxlabel and its peers on oriented gradients"
    picture = figures.line_chart(drawn, "labels", title, percent=True, log_x=True, dots=True)
    return page.svg_file_text(page.Chart(title, picture, [line.name for line in drawn]))
