"""Semi-supervised objectives and query strategies, compared on three data sets.

    jaxlabel sweep --experiment=experiments/semisup.py --data_root=DIR --jobs=2 --publish \
        --workdir=runs/semisup
    python experiments/semisup.py experiments/results/semisup.jsonl    # areas under the curves

DIR contains the folders mnist, fashion_mnist and overhead_mnist with four IDX files each. The grid
is sized for a CPU: a dense network on pixels and few steps. The first table compares query
strategies, random queries among them, with 40 and 100 labels (300 runs). The second compares
objectives with 20, 100 and 500 labels (270 runs). The third repeats with ten new seeds what the
first suggests for 40 labels: that TypiClust is better than random queries. `--quick` runs one seed
on the digits. The full grid, with convolutions and all label counts, is in scripts/gpu_queue.py.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
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
BASE = semisup.Config(network="dense", width=16, steps=300, learning_rate=2e-3, space="graph")


def get_experiment(quick: bool = False) -> Experiment:
    """Return the experiment: queries with one objective, then objectives with random queries.

    Args:
      quick: run one seed on the digits, with fewer queries and objectives.
    """
    data = ["digits"] if quick else DATA
    labels = [10, 40] if quick else [40, 100]
    base = replace(BASE, steps=60, batch_size=16) if quick else BASE
    queries = ["random", "typiclust", "margin"] if quick else list(STRATEGIES)
    objectives = ["supervised", "freematch", "graph"] if quick else OBJECTIVES
    grid = {"data": data, "query": queries, "budget": labels, "objective": ["graph"]}
    query_arm = Arm("graph", base, grid, range(1 if quick else 5))
    grid = {"data": data, "objective": objectives, "budget": labels if quick else [20, 100, 500]}
    objective_arm = Arm("random", base, grid, range(1 if quick else 3))
    grid = {"data": data[:2], "query": ["random", "typiclust"], "budget": [40],
            "objective": ["graph"]}  # fmt: skip
    new_seeds_arm = Arm("graph", base, grid, range(1, 2) if quick else range(5, 15))
    tables = [
        Table("Who gets asked", [query_arm], MEASURES),
        Table("Which objective", [objective_arm], MEASURES),
        Table("Fresh seeds", [new_seeds_arm], MEASURES),
    ]
    return Experiment("Which objective, and who gets asked?", tables)


def areas(lines: Sequence[dict[str, Any]], measure: str = "test_accuracy") -> list[str]:
    """Return a Markdown table of areas under the accuracy curves over the logarithm of the labels.

    There is one line per data set, query and objective. The area is divided by the width of the
    curve, so it is a mean accuracy in percent over the logarithm of the labels. Only curves that
    have all budgets of their table are comparable; the last line says how many are left out.

    Args:
      lines: results of runs, as in semisup.jsonl.
      measure: the accuracy to average.
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
    areas_by_name: dict[tuple[Any, ...], list[float]] = {}
    partial = 0
    for (*name, _), curve in curves.items():
        x = np.log(sorted(curve))
        if curve.keys() != budgets[tuple(name[:2])]:
            partial += 1
        elif len(x) > 1:
            y = [curve[labels] for labels in sorted(curve)]
            area = np.trapezoid(y, x) / (x[-1] - x[0])
            areas_by_name.setdefault(tuple(name), []).append(area)
    texts = []
    for name, values in sorted(areas_by_name.items(), key=lambda item: -float(np.mean(item[1]))):
        mean, low, high = (None if v is None else 100 * v for v in results.mean_interval(values))
        interval = "" if low is None else f" ({low:.2f} to {high:.2f})"
        texts.append(f"| {' | '.join(map(str, name))} | {mean:.2f}{interval} | {len(values)} |")
    head = ["| table | data set | objective | query | area | n |", "|---|---|---|---|---:|---:|"]
    return head + texts + ([f"{partial} curves lack budgets and are left out"] if partial else [])


if __name__ == "__main__":
    print(*areas(results.read(*map(Path, sys.argv[1:]))), sep="\n")
