"""Does training in bfloat16 on a CPU cost accuracy? Each recipe in float32 and in bfloat16.

    jaxlabel sweep --experiment=experiments/bfloat16.py --data_root=DIR --publish --go_on \
        --limit=60 --workdir=runs/bfloat16

DIR contains the folders mnist and fashion_mnist with four IDX files each. The processor must have
bfloat16 instructions (docs/cpu_kernels.md). The settings are those of the cpu presets; only the
setting `cpu_kernels` differs, and each run trains its own contrastive encoder. A run takes 2
minutes to an hour on one core; with `--limit` and `--go_on` the whole can be done in several
sittings. The semi-supervised GAN and SCAN are left out: their networks on MNIST have no
convolutions, and the CPU kernels compute everything else in float32 in both cases. So both runs of
a seed have the same metrics to the last digit (SCAN: seed 700 with 10 labels, 98.07%).
The two runs of a seed were made at the same commit, but different seeds at different commits:
MNIST's first seed before there were sequential queries, and the seeds 700 to 702 of Fashion-MNIST
with twice today's rotation. A sweep repeats the runs whose settings have changed since.
`--quick` runs one seed on the digits with the tiny presets.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxlabel.experiment import configfile
from jaxlabel.sweep import Arm, Experiment, Table

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
KERNELS = {"float32": "onednn", "bfloat16": "bfloat16"}
# the recipe's file, the data set, the number of labels
RECIPES = (
    ("semisup", "fashion_mnist", 500.0),
    ("flagship", "mnist", 20.0),
    ("flagship", "fashion_mnist", 100.0),
)


def get_experiment(quick: bool = False) -> Experiment:
    """Return the experiment, with one table per recipe and one row per number format.

    Args:
      quick: run one seed on the digits with the tiny presets.
    """
    seeds = range(700, 701 if quick else 705)
    tables = []
    for recipe, name, labels in RECIPES:
        base = settings(recipe, "digits" if quick else name, quick)
        arms = [
            Arm(row, replace(base, cpu_kernels=kernels), {"budget": [labels]},
                seeds)
            for row, kernels in KERNELS.items()
        ]  # fmt: skip
        title = f"{recipe}, {name}, {labels:g} labels"
        tables.append(Table(title, arms, ("test_accuracy", "train_label_accuracy")))
    return Experiment("Does bfloat16 cost accuracy?", tables)


def settings(recipe: str, name: str, quick: bool) -> Any:
    """Return the settings of a recipe for a data set in the sweep's data folder.

    Args:
      recipe: the name of a file in configs/, such as "flagship".
      name: the variant of the recipe, which is also the folder of the data set.
      quick: take the tiny preset, and the digits that come with scikit-learn.
    """
    preset = "tiny" if quick else "cpu"
    config: Any = configfile.load(str(CONFIGS / f"{recipe}.py"), f":{name}", preset)
    if not quick:
        config.data = f"idx:DATA_ROOT/{name}"
    return config
