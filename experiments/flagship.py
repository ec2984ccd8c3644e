"""The flagship's label-spend curve, against random labels and against itself without each part.

    jaxlabel sweep --experiment=experiments/flagship.py --data_root=DIR --jobs=2 --publish --go_on \
        --limit=120 --workdir=runs/flagship

DIR holds the folders mnist, fashion_mnist and overhead_mnist with four IDX files each. The sizes
are a CPU's and small (a fully connected network on oriented gradients, one of it, few steps): it
tells parts apart, and does not show what the flagship reaches; scripts/gpu_queue.py has the runs
that do. A run takes minutes: with `--limit` and `--go_on` the whole takes as many sittings as
one likes. `--quick` takes the digits and one seed: minutes. Settings are chosen on MNIST and
Overhead-MNIST, but the guide's and the refinements' on training images of Fashion-MNIST.
"""

from typing import Any

from jaxlabel.methods import active
from jaxlabel.sweep import Arm, Experiment, Table

DATA = {name: f"idx:DATA_ROOT/{name}" for name in ("fashion_mnist", "mnist", "overhead_mnist")}
LABELS = [20.0, 100.0, 500.0]
BASE = active.Config(
    space="pca",
    map="none",
    network="gradients",
    members=1,
    round_steps=100,
    steps=300,
    initial_labels=5,
    sequential_until=20,
    contrast_steps=400,
    graph_targets=1.0,
    graph_targets_until=150,
    refinements=2,
    refine_steps=150,
    refine_until=150,
)
COVERED = {
    "initial_labels": 20,
    "sequential_until": 0,
}  # without scouts as many labels before the first network
WITHOUT: dict[str, dict[str, Any]] = {
    "the flagship": {},
    "random labels": COVERED | {"query": "random", "initial_query": "random"},
    "no scouts": COVERED,
    "no uncertainty: coverage throughout": {"query": "medoids"},
    "no pretext: components alone": {"contrast_steps": 0},
    "no graph": COVERED | {"graph_targets": 0.0, "refinements": 0},
    "no refinement": {"refinements": 0},
    "no unlabelled images": COVERED | {"objective": "supervised", "refinements": 0},
    "with an ensemble: three networks": {"members": 3, "distil_steps": 0},
    "taught by the graph alone": {"objective": "graph"},
}
# where the part has no say: before its first question, and when nothing is refined any more
ALIKE = {"no uncertainty: coverage throughout": 20.0, "no refinement": 500.0}


def get_experiment(quick: bool = False) -> Experiment:
    """A table for each data set; the quick variant is small in every way."""
    data = {"digits": "digits"} if quick else DATA
    small = {"steps": 60, "round_steps": 30, "refine_steps": 30, "batch_size": 16}
    base = changed(BASE, **small) if quick else BASE
    labels = [20.0, 60.0] if quick else LABELS
    seeds = range(1 if quick else 5)
    tables = [
        Table(
            f"Labels to accuracy, {name}",
            [Arm(part, changed(base, data=spec, **left),
                 {"budget": [n for n in labels if n != ALIKE.get(part)]}, seeds)
             for part, left in WITHOUT.items()],
            ("test_accuracy", "train_label_accuracy"),
        )
        for name, spec in data.items()
    ]  # fmt: skip
    return Experiment("Which part of the flagship saves how many labels?", tables)


def changed(config: active.Config, **changes: Any) -> active.Config:
    """The settings with some changed."""
    return active.Config(**vars(config) | changes)
