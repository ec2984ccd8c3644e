"""Random image transforms on the device, and the one place where uint8 becomes float32.

A transform takes `(key, images)` with float32 images (batch, height, width, channels) in [0, 1]
and returns images of the same shape. Which transforms keep the label is a matter of the kind of
data set: clothes may be mirrored, digits never.
"""

from jaxlabel.augment.geometry import Transform, crop, deform, erase, flip, shift, turn, warp
from jaxlabel.augment.tone import as_float, jitter, tone
from jaxlabel.augment.views import MIRRORED_KINDS, contrastive, strong, weak

__all__ = [
    "MIRRORED_KINDS",
    "Transform",
    "as_float",
    "contrastive",
    "crop",
    "deform",
    "erase",
    "flip",
    "jitter",
    "shift",
    "strong",
    "tone",
    "turn",
    "warp",
    "weak",
]
