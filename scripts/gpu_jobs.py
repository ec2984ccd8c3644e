"""The experiments that need a GPU, in the order in which scripts/gpu_queue.py runs them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

OBJECTIVES = ("freematch", "fixmatch", "flexmatch", "softmatch", "mixmatch", "mean_teacher", "vat",
              "pseudo_label", "graph", "supervised")  # fmt: skip
QUERIES = ("random", "typiclust", "medoids", "probcover", "maxherding", "coreset", "margin",
           "entropy", "badge", "diverse")  # fmt: skip
LABELS = (40, 100, 500, 20, 250, 1000, 10)
# on the CPU, oriented gradients in small cells were better than pixels (experiments/semisup.md)
ORIENTED = {"network": "fine_gradient_conv", "width": 64}


class Job(NamedTuple):
    """One experiment for a GPU: either runs of one configuration with several seeds, or one script.

    Attributes:
      name: the unique name of the experiment.
      config: the name and variant of a config file, such as "semisup:mnist"; empty for a script.
      settings: the settings whose values differ from the config file.
      seeds: the random seeds, one run each.
      bar: the required result, such as "89%", shown in the table of results.
      command: the path and arguments of a script that prints JSON in its last line; empty for runs.
    """

    name: str
    config: str = ""
    settings: Mapping[str, Any] = {}
    seeds: Iterable[int] = range(3)
    bar: str = ""
    command: tuple[str, ...] = ()


def all_jobs() -> Iterator[Job]:
    """Yield all experiments in running order, those with a required result first."""
    yield from flagship_jobs()
    step = ("scripts/bench_train_step.py", "--torch-python=", "--batch-size=4096")
    yield Job("training step, jaxlabel", command=step, bar="100,000 contrastive images/s")
    yield Job("semisup, fashion_mnist, 500 random", "semisup:fashion_mnist", {"budget": 500.0},
              bar="89%")  # fmt: skip
    yield Job("semisup, fashion_mnist, 500 random, fine_gradient_conv", "semisup:fashion_mnist",
              {"budget": 500.0, "weight_decay": 0.3} | ORIENTED, bar="89%")  # fmt: skip
    yield Job("sgan, mnist, 100", "sgan:mnist", {"budget": 100.0}, bar="98.5%")
    yield Job("scan, mnist, no labels", "scan:mnist", {"budget": 0.0}, range(5), "97%")
    yield Job("scan, fashion_mnist, no labels", "scan:fashion_mnist", {"budget": 0.0}, range(5),
              "68%")  # fmt: skip
    yield Job("scan, mnist, 10", "scan:mnist", {"budget": 10.0}, range(5), "96.5%")
    for labels, bar in ((10, "65%"), (20, "70%"), (40, "75%")):
        name = f"scan, fashion_mnist, {labels}"
        yield Job(name, "scan:fashion_mnist", {"budget": float(labels)}, bar=bar)
    yield Job("sgan, fashion_mnist, 400", "sgan:fashion_mnist", {"budget": 400.0}, bar="81.2%")
    for data, labels, query, space, bar in (
        ("fashion_mnist", 100, "medoids", "pca", "82%"),
        ("mnist", 20, "medoids", "graph", "98%"),
        ("overhead_mnist", 100, "random", "pca", "70%"),  # experiments/semisup.md has the reason
    ):
        chosen = {"budget": float(labels), "query": query, "space": space}
        yield Job(f"semisup, {data}, {labels} {query}", f"semisup:{data}", chosen, bar=bar)
    yield from grid_jobs()
    # trains as long as the paper, which takes more than one session on a remote machine: so last
    yield Job("scan, cifar10, no labels", "scan:cifar10", {"budget": 0.0}, range(1), "81.6, 88.3%")


def flagship_jobs() -> Iterator[Job]:
    """Yield experiments with configs/flagship.py: fixed label numbers, a certified target."""
    bars = {"fashion_mnist": {300: "10 minutes", 400: "90%", 100: "84%", 500: "90%", 40: "78%",
                              10: "70%"},
            "mnist": {20: "98%"},
            "overhead_mnist": {100: "75%", 500: "88%", 40: "60%"}}  # fmt: skip
    for data, wanted in bars.items():
        for labels, bar in wanted.items():
            chosen = {"budget": float(labels)}
            yield Job(f"flagship, {data}, {labels}", f"flagship:{data}", chosen, range(5), bar)
    yield Job("flagship, fashion_mnist, 400, fine_gradient_conv", "flagship:fashion_mnist",
              {"budget": 400.0} | ORIENTED, range(5), "90%")  # fmt: skip
    for devices, bar in ((1, ""), (8, "1 device within 0.5 points")):
        chosen = {"budget": 400.0, "devices": devices}
        yield Job(f"flagship, fashion_mnist, 400, devices={devices}", "flagship:fashion_mnist",
                  chosen, range(1), bar)  # fmt: skip
    certified = {"budget": 2000.0, "target": 0.9, "confidence": 0.95}
    yield Job("flagship, fashion_mnist, certified", "flagship:fashion_mnist", certified, range(5),
              "2,000 labels in all")  # fmt: skip


def grid_jobs() -> Iterator[Job]:
    """Yield one experiment per objective, query strategy, number of labels, and data set.

    The main comparisons come first: all strategies with one objective, then all objectives with
    random queries.
    """
    pairs = [("freematch", query) for query in QUERIES]
    pairs += [(objective, "random") for objective in OBJECTIVES]
    pairs += itertools.product(OBJECTIVES, QUERIES)
    for objective, query in dict.fromkeys(pairs):
        for labels, data in itertools.product(LABELS, ("fashion_mnist", "mnist", "overhead_mnist")):
            chosen = {"objective": objective, "query": query, "budget": float(labels)}
            chosen |= {"steps": 5000, "space": "graph", "graph_targets": 0.0, "contrast_steps": 0}
            yield Job(f"grid, {data}, {objective}, {query}, {labels}", f"semisup:{data}", chosen)
