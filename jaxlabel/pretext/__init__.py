"""Image features learned without labels by contrastive encoders, joined with fixed features."""

from jaxlabel.pretext.contrastive import (
    OPTIMIZERS,
    Settings,
    contrastive_encoder,
    contrastive_step,
    make_optimizer,
    make_projected,
)
from jaxlabel.pretext.representation import (
    COMPONENT_INPUTS,
    Representation,
    concatenate_weighted,
    features_of,
    fit_representation,
    input_components,
    unit_rows,
)

__all__ = [
    "COMPONENT_INPUTS",
    "OPTIMIZERS",
    "Representation",
    "Settings",
    "concatenate_weighted",
    "contrastive_encoder",
    "contrastive_step",
    "features_of",
    "fit_representation",
    "input_components",
    "make_optimizer",
    "make_projected",
    "unit_rows",
]
