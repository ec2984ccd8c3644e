"""Which objective, and who gets asked: the same labels, three data sets, random always included.

    jaxlabel sweep --experiment=experiments/semisup.py --data_root=DIR --jobs=2 --publish \
        --workdir=runs/semisup
    python experiments/semisup.py experiments/results/semisup.jsonl    # areas under the curves

DIR holds the folders mnist, fashion_mnist and overhead_mnist with four IDX files each. The grid is
for a CPU: a dense network of pixels, few steps, and of the label counts 40 and 100 (who gets asked,
300 runs) and 20, 100 and 500 (which objective, 270 runs). The last table asks again, with ten fresh
seeds, what the first suggests for 40 labels: is TypiClust ahead of random labels? `--quick` takes
the digits, one seed. The full grid, all counts with convolutions, is in scripts/gpu_queue.py.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxlabel.methods import semisup
from jaxlabel.query import STRATEGIES
from jaxlabel.runlog import results
from jaxlabel.sweep import Arm, Experiment, Table

DATA = [f"idx:DATA_ROOT/{name}" for name in ("fashion_mnist", "mnist", "overhead_mnist")]
OBJECTIVES = ["supervised", "pseudo_label", "mean_teacher", "vat", "mixmatch", "fixmatch",
              "flexmatch", "freematch", "softmatch", "graph"]  # fmt: skip
MEASURES = ("test_accuracy", "train_label_accuracy")
BASE = semisup.Config(
    network="dense", width=16, steps=300, learning_rate=2e-3, space="graph", map="none"
)


def get_experiment(quick: bool = False) -> Experiment:
    """Queries under one objective, then objectives under one query."""
    data = ["digits"] if quick else DATA
    labels = [10, 40] if quick else [40, 100]
    base = semisup.Config(**vars(BASE) | {"steps": 60, "batch_size": 16}) if quick else BASE
    queries = ["random", "typiclust", "margin"] if quick else list(STRATEGIES)
    objectives = ["supervised", "freematch", "graph"] if quick else OBJECTIVES
    grid = {"data": data, "query": queries, "budget": labels, "objective": ["graph"]}
    who = Arm("graph", base, grid, range(1 if quick else 5))
    grid = {"data": data, "objective": objectives, "budget": labels if quick else [20, 100, 500]}
    what = Arm("random", base, grid, range(1 if quick else 3))
    grid = {"data": data[:2], "query": ["random", "typiclust"], "budget": [40],
            "objective": ["graph"]}  # fmt: skip
    again = Arm("graph", base, grid, range(1, 2) if quick else range(5, 15))
    tables = [Table("Who gets asked", [who], MEASURES), Table("Which objective", [what], MEASURES),
              Table("Fresh seeds", [again], MEASURES)]  # fmt: skip
    return Experiment("Which objective, and who gets asked?", tables)


def areas(lines: Sequence[dict[str, Any]], measure: str = "test_accuracy") -> list[str]:
    """A line per data set, query and objective: the area under the curve over log labels.

    Divided by the width: the mean accuracy over a factor of labels that is drawn evenly. Only
    curves over all budgets of their table are comparable: how many are not, the last line says.
    """
    curves: dict[tuple[Any, ...], dict[float, float]] = {}
    for line in lines:
        config = line["config"]
        name = (line["table"], line["dataset"], config["objective"], config["query"])
        curve = curves.setdefault((*name, line["seed"]), {})
        curve[config["budget"]] = line[measure]
    budgets: dict[tuple[Any, ...], set[float]] = {}
    for name, curve in curves.items():
        budgets.setdefault(name[:2], set()).update(curve)
    found: dict[tuple[Any, ...], list[float]] = {}
    partial = 0
    for (*name, _), curve in curves.items():
        x = np.log(sorted(curve))
        if curve.keys() != budgets[tuple(name[:2])]:
            partial += 1
        elif len(x) > 1:
            y = [curve[labels] for labels in sorted(curve)]
            found.setdefault(tuple(name), []).append(np.trapezoid(y, x) / (x[-1] - x[0]))
    texts = []
    for name, values in sorted(found.items(), key=lambda item: -float(np.mean(item[1]))):
        mean, low, high = (None if v is None else 100 * v for v in results.mean_interval(values))
        interval = "" if low is None else f" ({low:.2f} to {high:.2f})"
        texts.append(f"| {' | '.join(map(str, name))} | {mean:.2f}{interval} | {len(values)} |")
    head = ["| table | data set | objective | query | area | n |", "|---|---|---|---|---:|---:|"]
    return head + texts + ([f"{partial} curves lack budgets and are left out"] if partial else [])


if __name__ == "__main__":
    print(*areas(results.read(*map(Path, sys.argv[1:]))), sep="\n")
