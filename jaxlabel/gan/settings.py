"""The settings of semi-supervised GAN training, inherited by the `Config` of `methods.sgan`."""

import dataclasses

from jaxlabel.config import setting


@dataclasses.dataclass
class Settings:
    """The settings of the training of a semi-supervised GAN.

    The GAN's discriminator is also the classifier of the images. The help text of each setting says
    what it means.
    """

    network: str = setting(
        "dense", "architecture of the two networks; fine_gradient_conv: convolutions over pixels "
        "and oriented gradients as the discriminator, and a dense generator",
        choices=("dense", "conv", "fine_gradient_conv"),
    )  # fmt: skip
    width: int = setting(
        1000,
        "dense: units of the discriminator's first layer; conv and fine_gradient_conv: "
        "channels of its first convolution, such as 32",
        low=8,
    )
    latent: int = setting(100, "dimensions of the generator's latent input", low=1)
    discriminator_noise: float = setting(
        1.0,
        "factor of the discriminator's noise; 1 is that of Salimans et al. 2016",
        low=0.0,
        high=10.0,
    )
    steps: int = setting(10_000, "training steps of all rounds together", low=1)
    batch_size: int = setting(
        100, "unlabelled images per step, and generated images per step", low=2
    )
    labelled_batch: int = setting(64, "labelled images per step, balanced over the classes", low=1)
    learning_rate: float = setting(
        3e-3, "Adam's learning rate, which decays in the second half of the run", low=0.0
    )
    smoothing: float = setting(
        0.0,
        "one-sided label smoothing: the target of real images is 1 minus this",
        low=0.0,
        high=0.5,
    )
    average: float = setting(
        0.02,
        "fraction of the run over which the discriminator's weights are averaged; at most "
        "0.1, so that less than 0.01% of the untrained weights is left in the average",
        low=0.0,
        high=0.1,
    )
    augment: bool = setting(
        True, "transform real images at random, as their kind (the setting `kind`) allows it"
    )
    snapshots: int = setting(
        8, "number of times per run at which samples are saved and measured", low=1, high=100
    )
