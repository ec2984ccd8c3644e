"""SCAN on several data sets: cluster without labels and, with a budget, train a classifier.

    jaxlabel train --config=configs/scan.py:mnist --config.data=idx:DIR --workdir=runs/m
    jaxlabel train --config=configs/scan.py:fashion_mnist --config.data=idx:DIR \\
        --config.budget=10 --workdir=runs/f
    jaxlabel train --config=configs/scan.py --config.data=folder:DIR --config.clusters=12

Variants: folder (the default), mnist, fashion_mnist, overhead_mnist, cifar10, digits. Without a
budget no label is bought: the run writes the cluster of each image to clusters.csv, and a montage
of each cluster to the report. `--config.preset` is tiny (a test run of a minute), cpu (two cores)
or gpu.
"""

from typing import Any

from jaxlabel.methods import scan

DATA: dict[str, dict[str, Any]] = {
    "folder": {"data": "folder:images", "image_size": 32, "clusters": 10},
    "mnist": {"data": "tfds:mnist"},
    "fashion_mnist": {"data": "tfds:fashion_mnist"},
    "overhead_mnist": {"data": "idx:overhead_mnist"},
    "cifar10": {"data": "tfds:cifar10"},
    "digits": {"data": "digits"},
}
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "encoder": "gradients", "width": 8, "pretext_steps": 50, "pretext_batch": 64, "heads": 2,
        "start_steps": 60, "cluster_steps": 60, "cluster_batch": 64, "cluster_rate": 3e-3,
        "self_steps": 60, "self_batch": 64, "name_steps": 60, "neighbours": 7, "threshold": 0.8,
    },
    "cpu": {
        "encoder": "gradients", "width": 32, "pretext_steps": 600,
        "component_share": 0.6, "start_steps": 300, "cluster_steps": 600, "cluster_rate": 1e-3,
        "neighbours": 10, "self_steps": 1000, "name_steps": 1000, "threshold": 0.9,
    },
    "gpu": {
        "encoder": "conv", "width": 64, "pretext_steps": 30_000, "pretext_batch": 1024,
        "heads": 10, "start_steps": 1000, "cluster_steps": 10_000, "cluster_batch": 1024,
        "self_steps": 20_000, "self_batch": 512, "self_rounds": 4, "name_steps": 20_000,
    },
}  # fmt: skip
# Van Gansbeke et al. 2020, section 3.1: 500 epochs of SGD with learning rate 0.4 for the encoder,
# then the training of the heads, then self-labelling
PAPER: dict[str, Any] = {
    "encoder": "resnet18", "pretext_steps": 49_000, "pretext_batch": 512, "temperature": 0.1,
    "projection": 128, "optimizer": "sgd", "pretext_rate": 0.4, "heads": 10, "start": "random",
    "cluster_steps": 39_000, "cluster_batch": 128, "cluster_rate": 1e-4, "self_steps": 20_000,
    "self_batch": 512, "self_rounds": 10, "self_rate": 1e-3, "threshold": 0.99,
    "name_steps": 20_000,
}  # fmt: skip


def get_config(variant: str = "folder", preset: str = "cpu") -> scan.Config:
    """Return settings of SCAN for a data set and a size of machine, with a budget of 0.

    Args:
      variant: the name of the data set, such as "mnist", or "folder" for a folder of images.
      preset: "tiny" for a quick test, "cpu" or "gpu".

    Raises:
      ValueError: there is no such variant.
    """
    if variant not in DATA:
        raise ValueError(f"there is no variant {variant!r}: take one of {', '.join(DATA)}")
    sizes = PAPER if (variant, preset) == ("cifar10", "gpu") else SIZES[preset]
    colour = {"components": 0} if (variant, preset) == ("cifar10", "gpu") else {}
    return scan.Config(**DATA[variant] | sizes | colour, budget=0)
