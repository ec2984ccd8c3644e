"""How accurate is the current flagship with 10 to 1,000 labels?

    jaxlabel sweep --experiment=experiments/benchmark.py --data_root=DIR --publish --go_on \
        --limit=60 --workdir=runs/benchmark

DIR contains the folders fashion_mnist, mnist and overhead_mnist with four IDX files each. No seed
was used before, and each test set is scored once. With at most 40 labels the seeds begin with 804,
because the objective for so few labels was chosen with seed 803. The settings are those of the cpu
preset, but computed in bfloat16, for which the processor must have instructions
(docs/cpu_kernels.md); in float32 (`cpu_kernels=onednn`) a run takes about twice as long. A run
takes 20 to 75 minutes on one core, and the twelve runs of a seed about eight hours; with `--limit`
and `--go_on` the whole can be done in several sittings. The seeds are run one after another, each
with every number of labels. `--go_on` uses a published result only if its settings are those of
today's preset.
`--quick` runs one seed on the digits with the tiny preset.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxlabel.experiment import configfile
from jaxlabel.sweep import Arm, Experiment, Table

RECIPE = Path(__file__).resolve().parent.parent / "configs" / "flagship.py"
# the data set, the first seed, the numbers of labels, and settings that differ from the preset
ROWS: tuple[tuple[str, str, int, list[float], dict[str, Any]], ...] = (
    ("Fashion-MNIST", "fashion_mnist", 804, [10.0, 40.0], {}),
    ("Fashion-MNIST", "fashion_mnist", 803, [100.0, 400.0, 500.0, 700.0, 1000.0], {}),
    ("Fashion-MNIST, network of twice the width", "fashion_mnist", 803, [1000.0], {"width": 64}),
    ("MNIST", "mnist", 804, [10.0], {}),
    ("Overhead-MNIST", "overhead_mnist", 804, [40.0], {}),
    ("Overhead-MNIST", "overhead_mnist", 803, [100.0, 500.0], {}),
)


def get_experiment(quick: bool = False) -> Experiment:
    """Return the experiment: one table with a row per data set and number of labels.

    Args:
      quick: run one seed on the digits with the tiny preset.
    """
    rows = (("digits", "digits", 804, [20.0], {}),) if quick else ROWS
    arms = []
    for row, name, first_seed, labels, changes in rows:
        config: Any = configfile.load(str(RECIPE), f":{name}", "tiny" if quick else "cpu")
        if not quick:
            changes = changes | {"data": f"idx:DATA_ROOT/{name}", "cpu_kernels": "bfloat16"}
        seeds = range(first_seed, first_seed + (1 if quick else 5))
        arms.append(Arm(row, replace(config, **changes), {"budget": labels}, seeds))
    table = Table("Labels to accuracy", arms, ("test_accuracy", "train_label_accuracy"))
    return Experiment("How accurate is the current flagship with 10 to 1,000 labels?", [table])
