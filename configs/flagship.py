"""The flagship: reach a target accuracy with as few labels as possible, and certify it.

    jaxlabel train --config=configs/flagship.py:fashion_mnist --config.data=idx:DIR \
        --config.target=0.9 --config.budget=2300 --config.width=64 --workdir=runs/flagship

With seed 531, `--config.steps=3000` and `--config.cpu_kernels=bfloat16`, an earlier version (rounds
of 200 steps) took 27 minutes of one CPU core for this. It bought 1,806 labels, 426 of them for the
certificate, which holds with 95% confidence (`--config.confidence`). Other seeds may need more: one
without `--config.width=64` got no certificate. With `--config.confidence=0` the run
stops when the network's mean confidence reaches the target, and nothing is certified. Without
`--config.target` the whole budget is spent on training.

The cpu preset takes 20 to 75 minutes on one core, with 10 to 700 labels of Fashion-MNIST, if
`--config.cpu_kernels=bfloat16` is set and the processor has such instructions, and 32 minutes on
two cores with 1,000; docs/results.md has the accuracies. In variants with contrastive features or
refinements, the labels after the first ones and up to the 100th are bought one at a time, each
where label propagation is most uncertain, or 20 at a time if a person answers. With up to 15
labels, the first images lie in the densest regions.

Variants: digits, mnist, fashion_mnist, overhead_mnist, cifar10, folder (--config.data=folder:PATH),
features (--config.data=folder:PATH --config.features=FILE: feature vectors that another program
computed, and a small network on them; not from scratch, docs/features.md).
Presets: --config.preset=tiny, cpu or gpu.
"""

from typing import Any

from jaxlabel.methods.active import Config

# for few labels: a graph of contrastive features, then of features that the network has learned
LEARNED: dict[str, Any] = {"contrast_steps": 2400, "refinements": 5}
VARIANTS: dict[str, dict[str, Any]] = {
    "digits": {"data": "digits", "budget": 60},
    "mnist": LEARNED | {"data": "tfds:mnist", "budget": 20, "initial_labels": 5},
    "fashion_mnist": LEARNED | {"data": "tfds:fashion_mnist", "budget": 1000, "initial_labels": 5},
    "overhead_mnist": LEARNED | {"data": "idx:overhead_mnist", "budget": 500},
    "cifar10": {"data": "tfds:cifar10", "budget": 250, "initial_labels": 40},
    # feature vectors from outside, such as embeddings of a pre-trained encoder: a small network
    # learns the labels that are propagated over their graph
    "features": {
        "data": "folder:images",
        "features": "features.npz",
        "image_size": 64,  # of the pictures that are shown
        "network": "hidden",
        "width": 16,
        "budget": 200,
        "initial_labels": 40,
        "alignment": "none",
        "refinements": 2,
    },
    "folder": LEARNED
    | {
        "data": "folder:images",
        "budget": 200,
        "alignment": "none",
        "image_size": 32,
    },
}
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"steps": 60, "batch_size": 16, "mu": 2},
    "cpu": {"network": "fine_gradient_conv", "width": 32, "steps": 6000},
    "gpu": {"steps": 20000, "mu": 7, "width": 32, "learning_rate": 1e-3},
}


def get_config(variant: str = "digits", preset: str = "cpu") -> Config:
    """Return the settings of active learning for a data set and a size of machine.

    Args:
      variant: the name of the data set, such as "mnist".
      preset: "tiny" for a quick test, "cpu" or "gpu".

    Raises:
      ValueError: there is no such variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"there is no variant {variant!r}: take one of {', '.join(VARIANTS)}")
    settings = SIZES[preset] | VARIANTS[variant]
    if preset == "tiny" and variant != "features":
        settings |= {"network": "dense", "width": 8, "contrast_steps": 0}
    if (variant, preset) == ("cifar10", "gpu"):  # on a CPU it would take days
        settings |= {"network": "resnet18", "width": 64}
    return Config(**settings)
