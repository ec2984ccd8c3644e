"""Semi-supervised GAN training of a classifier and a generator, with checks of the generator."""

from jaxlabel.gan.settings import Settings
from jaxlabel.gan.training import (
    MEASURED,
    SHOWN,
    Data,
    State,
    make_discriminator,
    make_step,
    pad,
    snapshot_steps,
    start,
)
from jaxlabel.gan.watch import Measures, verdict

__all__ = [
    "MEASURED",
    "SHOWN",
    "Data",
    "Measures",
    "Settings",
    "State",
    "make_discriminator",
    "make_step",
    "pad",
    "snapshot_steps",
    "start",
    "verdict",
]
