"""A classifier (an encoder and a linear head), and the encoders that a config can name."""

from typing import Protocol

from flax import nnx
from jaxtyping import Array, Float

from jaxlabel.config import is_own, own_part
from jaxlabel.nets.conv import ConvNet
from jaxlabel.nets.dense import DenseEncoder, FlatEncoder, HiddenLayer
from jaxlabel.nets.gradients import FineGradientConvNet, GradientConvNet, GradientNet
from jaxlabel.nets.resnet import ResNet18

ENCODERS = ("conv", "resnet18", "dense", "gradients", "gradient_conv", "fine_gradient_conv")
HEADS = ("linear", "hidden")  # small networks on feature vectors in the place of images
WEIGHT_DECAY = 5e-3  # of AdamW in semi-supervised training, for most networks


class Encoder(Protocol):
    """The interface of an encoder, a network that maps images to feature vectors.

    Its method `features(images)` returns one feature vector per image.

    Attributes:
      num_features: the number of dimensions of a feature vector.
    """

    num_features: int

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]: ...


class Classifier(nnx.Module):
    """An image classifier: an encoder followed by one linear layer.

    Calling it on images returns the class logits. The method `features(images)` returns the
    encoder's features, one vector per image.
    """

    def __init__(self, encoder: Encoder, num_classes: int, rngs: nnx.Rngs):
        self.encoder = encoder
        self.head = nnx.Linear(encoder.num_features, num_classes, rngs=rngs)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return self.encoder.features(images)

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        return self.head(self.features(images))


def weight_decay(name: str) -> float:
    """Return the weight decay of AdamW for the semi-supervised training of a network.

    Args:
      name: the network, as for `make_encoder`.
    """
    return 0.3 if name in ("fine_gradient_conv", *HEADS) else WEIGHT_DECAY


def make_encoder(
    name: str, shape: tuple[int, ...], rngs: nnx.Rngs, width: int | None = None
) -> Encoder:
    """Return a new encoder network with random weights.

    Args:
      name: the architecture: one of the names in the tuples `ENCODERS` and `HEADS`, for example
        "conv" or "hidden". Or "module:function", the user's own function of (shape, rngs, width),
        which returns the network.
      shape: height, width, and channels of the images that the encoder will get.
      rngs: Flax's random number generators, for the initial weights.
      width: the base width of the network: the sizes of all its layers are multiples of this
        number. None for the architecture's default.

    Raises:
      ValueError: `name` is neither in `ENCODERS` and `HEADS` nor of the form "module:function".
    """
    if is_own(name):
        own: Encoder = own_part(name, "the network")(shape, rngs, width)
        return own
    if name == "conv":
        return ConvNet(shape, rngs, width=width or 16)
    if name == "resnet18":
        return ResNet18(shape, rngs, width=width or 64)
    if name == "dense":
        return DenseEncoder(shape, rngs, width=width or 16)
    if name == "gradients":
        return GradientNet(shape, rngs, width=width or 16)
    if name == "gradient_conv":
        return GradientConvNet(shape, rngs, width=width or 32)
    if name == "fine_gradient_conv":
        return FineGradientConvNet(shape, rngs, width=width or 32)
    if name == "linear":
        return FlatEncoder(shape, rngs)
    if name == "hidden":
        return HiddenLayer(shape, rngs, width=width or 16)
    raise ValueError(f"no encoder named {name!r}: take one of {', '.join((*ENCODERS, *HEADS))}")
