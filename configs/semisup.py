"""Few labels and all images (pseudo-labels, mean teacher, VAT, MixMatch, FixMatch and its kin).

    jaxlabel train --config=configs/semisup.py:fashion_mnist --config.data=idx:DIR \
        --config.objective=freematch --config.query=random --config.budget=500

Variants: digits, mnist, fashion_mnist, overhead_mnist, cifar10, folder (--config.data=folder:PATH).
`--config.preset=tiny` is to see that it runs, `cpu` (the default) is for two cores, `gpu` the full
size. On a core of its own a step of the cpu preset takes a third of a second: 8 minutes for its
1,500; on Fashion-MNIST 5 more for contrastive features, where up to 150 labels or a query look at
them. What that reaches is in experiments/semisup.md. Alignment to a uniform prior is outside
information, true of the five benchmarks; folder takes the paid labels' shares instead.
"""

from typing import Any

from jaxlabel.methods.semisup import Config

VARIANTS: dict[str, dict[str, Any]] = {
    "digits": {"data": "digits", "budget": 40},
    "mnist": {"data": "tfds:mnist", "budget": 20, "query": "medoids", "space": "graph",
              "contrast_steps": 600, "graph_targets": 0.5},
    "fashion_mnist": {"data": "tfds:fashion_mnist", "budget": 500, "graph_targets": 1.0,
                      "graph_targets_until": 150, "contrast_steps": 2400},
    "overhead_mnist": {"data": "idx:overhead_mnist", "budget": 100},
    "cifar10": {"data": "tfds:cifar10", "budget": 40},
    "folder": {"data": "folder:images", "budget": 100, "alignment": "labelled", "image_size": 32},
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"steps": 100, "batch_size": 16, "mu": 2, "code_steps": 20, "learning_rate": 5e-3,
             "map": "none"},
    "cpu": {"network": "fine_gradient_conv", "width": 32, "steps": 1500, "weight_decay": 0.3},
    "gpu": {"steps": 20000, "mu": 7, "width": 32, "ema": 0.999, "learning_rate": 1e-3},
}  # fmt: skip


def get_config(variant: str = "digits", preset: str = "cpu") -> Config:
    """The configuration for a data set and a size of machine."""
    if variant not in VARIANTS:
        raise ValueError(f"there is no variant {variant!r}: take one of {', '.join(VARIANTS)}")
    settings = SIZES[preset] | VARIANTS[variant]
    if preset == "tiny":
        settings |= {"network": "dense", "width": 8, "contrast_steps": 0}
    if (variant, preset) == ("cifar10", "gpu"):  # on a CPU it would take days
        settings |= {"network": "resnet18", "width": 64}
    return Config(**settings)
