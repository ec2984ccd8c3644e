"""Semi-supervised training on few labels and all images, with a choice of objectives and queries.

    jaxlabel train --config=configs/semisup.py:fashion_mnist --config.data=idx:DIR \
        --config.objective=freematch --config.query=random --config.budget=500

Objectives: supervised, pseudo_label, mean_teacher, vat, mixmatch, fixmatch, flexmatch, freematch,
softmatch, graph. Variants: digits, mnist, fashion_mnist, overhead_mnist, cifar10, folder
(--config.data=folder:PATH). Presets: `--config.preset=tiny` is a test run, `cpu` (the default) is
for two cores, `gpu` is the full size.

On one core, a step of the cpu preset takes a third of a second, so its 1,500 steps take 8 minutes.
On Fashion-MNIST the contrastive features take 5 minutes more; they are computed if the run has at
most 150 labels or its query strategy needs features. experiments/semisup.md has the accuracies.
Alignment to a uniform prior uses outside information, which holds for the five benchmarks; the
variant folder aligns to the class shares in the labelled set instead.
"""

from typing import Any

from jaxlabel.methods.semisup import Config

VARIANTS: dict[str, dict[str, Any]] = {
    "digits": {"data": "digits", "budget": 40},
    "mnist": {"data": "tfds:mnist", "budget": 20, "query": "medoids", "space": "graph",
              "contrast_steps": 600, "graph_targets": 0.5},
    "fashion_mnist": {"data": "tfds:fashion_mnist", "budget": 500, "graph_targets": 1.0,
                      "contrast_steps": 2400},
    "overhead_mnist": {"data": "idx:overhead_mnist", "budget": 100},
    "cifar10": {"data": "tfds:cifar10", "budget": 40},
    "folder": {"data": "folder:images", "budget": 100, "alignment": "labelled", "image_size": 32},
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"steps": 100, "batch_size": 16, "mu": 2, "learning_rate": 5e-3},
    "cpu": {"network": "fine_gradient_conv", "width": 32, "steps": 1500, "weight_decay": 0.3},
    "gpu": {"steps": 20000, "mu": 7, "width": 32, "learning_rate": 1e-3},
}  # fmt: skip


def get_config(variant: str = "digits", preset: str = "cpu") -> Config:
    """Return the settings of semi-supervised training for a data set and a size of machine.

    Args:
      variant: the name of the data set, such as "mnist".
      preset: "tiny" for a quick test, "cpu" or "gpu".

    Raises:
      ValueError: there is no such variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"there is no variant {variant!r}: take one of {', '.join(VARIANTS)}")
    settings = SIZES[preset] | VARIANTS[variant]
    if preset == "tiny":
        settings |= {"network": "dense", "width": 8, "contrast_steps": 0}
    if (variant, preset) == ("cifar10", "gpu"):  # on a CPU it would take days
        settings |= {"network": "resnet18", "width": 64}
    return Config(**settings)
