"""The flagship's accuracy by number of labels, against random labels and with each part left out.

    jaxlabel sweep --experiment=experiments/flagship.py --data_root=DIR --jobs=2 --publish --go_on \
        --limit=120 --workdir=runs/flagship

DIR contains the folders mnist, fashion_mnist and overhead_mnist with four IDX files each. The
experiment is sized for a CPU (a single fully connected network on oriented gradients, few steps):
it compares the parts of the flagship, and does not show the accuracy that the flagship reaches;
scripts/gpu_queue.py has the runs that do. A run takes minutes; with `--limit` and `--go_on` the
whole can be done in several sittings. `--quick` runs one seed on the digits, in minutes. The
settings were chosen on MNIST and Overhead-MNIST, except those of graph targets and refinements,
which were chosen on training images of Fashion-MNIST.
"""

from dataclasses import replace
from typing import Any

from jaxlabel.methods import active
from jaxlabel.sweep import Arm, Experiment, Table

DATA = {name: f"idx:DATA_ROOT/{name}" for name in ("fashion_mnist", "mnist", "overhead_mnist")}
LABELS = [20.0, 100.0, 500.0]
BASE = active.Config(
    network="gradients",
    steps=300,
    initial_labels=5,
    contrast_steps=400,
    refinements=2,
)
# Arms without sequential queries buy 20 labels before the first training, as many as the flagship
# has then.
COVERED = {"initial_labels": 20}
# The names are those of published results and stay as they are, because --go_on finds a result by
# its name. "Taught by the graph alone": the network learns only the labels propagated over the
# graph. The published results were made with settings that the flagship no longer has: sequential
# queries ended with 20 labels, also in the part "no uncertainty", which has none any more.
WITHOUT: dict[str, dict[str, Any]] = {
    "the flagship": {},
    "random labels": COVERED | {"query": "random"},
    "no uncertainty: coverage throughout": COVERED | {"query": "medoids"},
    "no pretext: components alone": {"contrast_steps": 0},
    "no refinement": {"refinements": 0},
    "no unlabelled images": COVERED | {"objective": "supervised", "refinements": 0},
    "taught by the graph alone": {"objective": "graph"},
}


def get_experiment(quick: bool = False) -> Experiment:
    """Return the experiment, with one table per data set.

    Args:
      quick: run one seed on the digits, with short training.
    """
    data = {"digits": "digits"} if quick else DATA
    small = {"steps": 60, "batch_size": 16}
    base = replace(BASE, **small) if quick else BASE
    labels = [20.0, 60.0] if quick else LABELS
    seeds = range(1 if quick else 5)
    tables = [
        Table(
            f"Labels to accuracy, {name}",
            [Arm(part, replace(base, data=spec, **left),
                 {"budget": labels}, seeds)
             for part, left in WITHOUT.items()],
            ("test_accuracy", "train_label_accuracy"),
        )
        for name, spec in data.items()
    ]  # fmt: skip
    return Experiment("Which part of the flagship saves how many labels?", tables)
