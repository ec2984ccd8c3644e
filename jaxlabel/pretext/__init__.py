"""Features without labels: contrastive encoders, joined with fixed features of the image."""

from jaxlabel.pretext.contrastive import (
    OPTIMIZERS,
    Settings,
    contrastive_encoder,
    contrastive_step,
    draw_partners,
    make_optimizer,
    make_projected,
)
from jaxlabel.pretext.representation import (
    GIVEN,
    Representation,
    beside,
    features_of,
    given_points,
    represent,
    unit,
)

__all__ = [
    "GIVEN",
    "OPTIMIZERS",
    "Representation",
    "Settings",
    "beside",
    "contrastive_encoder",
    "contrastive_step",
    "draw_partners",
    "features_of",
    "given_points",
    "make_optimizer",
    "make_projected",
    "represent",
    "unit",
]
