"""SCAN on MNIST and Fashion-MNIST: clusters without labels, and classifiers with a few labels.

    jaxlabel sweep --experiment=experiments/scan.py --data_root=DIR --jobs=2 --publish \
        --workdir=runs/scan

DIR contains the folders mnist and fashion_mnist with four IDX files each. The settings are those of
configs/scan.py with the cpu preset. A run takes 2 to 5 minutes on two cores; runs of the same seed
share the encoder and the neighbours. `--quick` runs one seed on the digits with the tiny preset.
"""

from pathlib import Path
from typing import Any

from jaxlabel.experiment import configfile
from jaxlabel.sweep import Arm, Experiment, Table

CONFIG = str(Path(__file__).resolve().parent.parent / "configs" / "scan.py")
DATA = ("mnist", "fashion_mnist")
LABELS = {"mnist": [10.0], "fashion_mnist": [10.0, 20.0, 40.0, 80.0], "digits": [10.0]}


def get_experiment(quick: bool = False) -> Experiment:
    """Return the experiment: matched accuracy without labels, then accuracy by number of labels.

    Args:
      quick: run one seed on the digits with the tiny preset.
    """
    data = ("digits",) if quick else DATA
    seeds = range(1 if quick else 5)
    bases = {name: settings(name, quick) for name in data}
    unnamed = [Arm(name, base, {}, seeds) for name, base in bases.items()]
    named = [Arm(name, base, {"budget": LABELS[name]}, seeds) for name, base in bases.items()]
    tables = [
        Table("No label: classes matched to clusters", unnamed, ("matched_accuracy",)),
        Table("With labels", named, ("test_accuracy", "train_label_accuracy")),
    ]
    return Experiment("How far do clusters go, and what do labels add?", tables)


def settings(name: str, quick: bool) -> Any:
    """Return the settings of configs/scan.py for a data set in the sweep's data folder."""
    config: Any = configfile.load(CONFIG, f":{name}", "tiny" if quick else "cpu")
    config.map = "none"
    if not quick:
        config.data = f"idx:DATA_ROOT/{name}"
    return config
