"""SimCLR on several data sets: learn features without labels; evaluate their nearest neighbours.

    jaxlabel train --config=configs/simclr.py:fashion_mnist --config.data=idx:DIR --workdir=runs/f
    jaxlabel train --config=configs/simclr.py:folder --config.data=folder:DIR --workdir=runs/mine

Variants: mnist, fashion_mnist, overhead_mnist, cifar10, folder, digits. Without `--config.data`,
the run uses the data that `jaxlabel data prepare` has prepared. `--config.preset` is tiny (a test
run of a minute), cpu (two cores) or gpu. On an accelerator, JAXLABEL_CACHE=DIR with
`--config.pretext_seeds=5` trains the encoders of seeds 0 to 4 in parallel, here and with
configs/scan.py; the runs of the other seeds then take their encoder from the cache.
"""

from typing import Any

from jaxlabel.methods import simclr

GREY: dict[str, dict[str, Any]] = {
    "tiny": {"encoder": "gradients", "width": 8, "pretext_steps": 50, "pretext_batch": 64},
    "cpu": {
        "encoder": "gradients", "width": 32, "pretext_steps": 600, "pretext_batch": 256,
        "component_share": 0.6,
    },
    "gpu": {
        "encoder": "conv", "width": 64, "pretext_steps": 30_000, "pretext_batch": 1024,
        "component_share": 0.3,
    },
}  # fmt: skip
COLOUR: dict[str, dict[str, Any]] = {
    "tiny": {"encoder": "conv", "width": 8, "pretext_steps": 20, "pretext_batch": 32},
    "cpu": {"encoder": "conv", "width": 16, "pretext_steps": 2000, "pretext_batch": 256},
    # Van Gansbeke et al. 2020, section 3.1: 500 epochs of SGD with learning rate 0.4
    "gpu": {
        "encoder": "resnet18", "pretext_steps": 49_000, "pretext_batch": 512, "temperature": 0.1,
        "projection": 128, "optimizer": "sgd", "pretext_rate": 0.4,
    },
}  # fmt: skip
DATA: dict[str, dict[str, Any]] = {
    "digits": {"data": "digits"},
    "mnist": {"data": "tfds:mnist"},
    "fashion_mnist": {"data": "tfds:fashion_mnist"},
    "overhead_mnist": {"data": "idx:overhead_mnist"},
    "cifar10": {"data": "tfds:cifar10"},
    "folder": {"data": "folder:images", "image_size": 32},
}


def get_config(variant: str = "mnist", preset: str = "cpu") -> simclr.Config:
    """Return the settings of SimCLR for a data set and a size of machine.

    Args:
      variant: the name of the data set, such as "mnist".
      preset: "tiny" for a quick test, "cpu" or "gpu".

    Raises:
      ValueError: there is no such variant.
    """
    if variant not in DATA:
        raise ValueError(f"there is no variant {variant!r}: take one of {', '.join(DATA)}")
    return simclr.Config(**DATA[variant] | settings(variant, preset), budget=0)


def settings(variant: str, preset: str) -> dict[str, Any]:
    """Return the settings of the encoder's training for a data set and a size of machine.

    Config files do not import each other, so configs/scan.py has values of its own. They agree for
    the grey data sets, and for cifar10 with preset=gpu; for folder, and for cifar10 with the other
    presets, they differ.
    """
    if variant in ("cifar10", "folder"):
        return COLOUR[preset] | {"components": 0}
    return dict(GREY[preset])
