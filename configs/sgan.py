"""A semi-supervised GAN on few labels (Salimans et al. 2016).

    jaxlabel train --config=configs/sgan.py:mnist --config.data=idx:DIR --workdir=runs/sgan
    jaxlabel train --config=configs/sgan.py:fashion_mnist --config.budget=400
    jaxlabel train --config=configs/sgan.py:folder --config.data=folder:PATH

Presets: `--config.preset=tiny` is a test run; `cpu` (the default) takes some 6 to 10
minutes on one core; `fashion_mnist` takes 27 with `--config.cpu_kernels=bfloat16` (not measured
without it) and has 86.2% with 400 labels (one seed); `gpu` is the full size and takes 210 s on an
H200 that five runs share. DIR contains the data set's four IDX
files. Without `--config.data`, the run uses the data that `jaxlabel data prepare --name=NAME` has
prepared.
"""

from typing import Any

from jaxlabel.methods import sgan

DATASETS: dict[str, dict[str, Any]] = {
    "digits": {"data": "digits", "budget": 60},
    "mnist": {"data": "tfds:mnist", "budget": 100},
    "fashion_mnist": {"data": "tfds:fashion_mnist", "budget": 400, "given": "gradients"},
    "overhead_mnist": {"data": "idx:overhead_mnist", "budget": 400},
    "cifar10": {"data": "tfds:cifar10", "budget": 4000},
    "folder": {"data": "folder:images", "budget": 100, "image_size": 28},
}  # fmt: skip
# with few steps, half of the paper's noise is better: 89.3% against 86.7% on the digits (1 seed)
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "network": "dense",
        "width": 128,
        "steps": 300,
        "snapshots": 3,
        "discriminator_noise": 0.5,
    },
    "cpu": {"network": "dense", "width": 512, "steps": 10_000, "discriminator_noise": 0.5},
    "gpu": {"network": "conv", "width": 64, "steps": 60_000},
}


def get_config(variant: str = "mnist", preset: str = "cpu") -> sgan.Config:
    """Return the settings of a semi-supervised GAN for a data set and a size of machine.

    Args:
      variant: the name of the data set, such as "mnist".
      preset: "tiny" for a quick test, "cpu" or "gpu".

    Raises:
      ValueError: there is no such variant.
    """
    if variant not in DATASETS:
        raise ValueError(f"there is no variant {variant!r}: take one of {', '.join(DATASETS)}")
    settings: dict[str, Any] = {"query": "diverse", "rounds": 3} | SIZES[preset] | DATASETS[variant]
    if preset == "cpu" and variant == "fashion_mnist":  # experiments/sgan.md has the figures
        settings |= {"network": "fine_gradient_conv", "width": 32, "steps": 5000}
    return sgan.Config(**settings)
