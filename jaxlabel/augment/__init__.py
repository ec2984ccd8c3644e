"""Random image transforms on the device, and the conversion of images from uint8 to float32.

A transform is called as `transform(key, images)` with float32 images (batch, height, width,
channels) in [0, 1] and returns images of the same shape. Which transforms keep an image's class
depends on the kind of data set: clothes may be mirrored, digits may not.
"""

from jaxlabel.augment.geometry import Transform, crop, deform, erase, flip, shift, turn, warp
from jaxlabel.augment.tone import as_float, jitter, pixel_vectors, tone
from jaxlabel.augment.views import (
    FEATURES,
    contrastive,
    keeps_class_mirrored,
    perturb,
    strong,
    weak,
)

__all__ = [
    "FEATURES",
    "Transform",
    "as_float",
    "contrastive",
    "crop",
    "deform",
    "erase",
    "flip",
    "jitter",
    "keeps_class_mirrored",
    "perturb",
    "pixel_vectors",
    "shift",
    "strong",
    "tone",
    "turn",
    "warp",
    "weak",
]
