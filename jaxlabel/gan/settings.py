"""The settings of adversarial training, which a recipe's own `Config` inherits."""

import dataclasses

from jaxlabel.config import setting


@dataclasses.dataclass
class Settings:
    """How a discriminator and a generator are trained against each other."""

    network: str = setting(
        "dense", "both networks; gradients: dense, the discriminator of oriented gradients too",
        choices=("dense", "gradients", "conv"),
    )  # fmt: skip
    width: int = setting(
        1000, "units of the discriminator's first layer; conv: its channels", low=8
    )
    latent: int = setting(100, "dimensions of the generator's input", low=1)
    discriminator_noise: float = setting(
        1.0, "noise in the discriminator; 1: as Salimans et al.", low=0.0, high=10.0
    )
    steps: int = setting(10_000, "training steps, of all rounds together", low=1)
    batch_size: int = setting(100, "unlabelled, and generated, images in a step", low=2)
    labelled_batch: int = setting(64, "labelled images in a step, as many of each class", low=1)
    learning_rate: float = setting(3e-3, "Adam's, until the second half of the run", low=0.0)
    unlabelled_weight: float = setting(1.0, "weight of telling real from generated", low=0.0)
    entropy_weight: float = setting(0.0, "weight of being sure of real images' class", low=0.0)
    smoothing: float = setting(
        0.0, "one-sided label smoothing: real images' target is 1 less this", low=0.0, high=0.5
    )
    average: float = setting(
        0.02, "the share of the run over which the discriminator is averaged", low=0.0, high=1.0
    )
    augment: bool = setting(True, "move and, where it may be, mirror real images")
    snapshots: int = setting(8, "how often samples are looked at", low=1, high=100)
