"""Neural networks as Flax NNX modules.

Every network is a pytree: training functions take it as an argument and return the trained network.
`features(images)` returns the hidden representation. Calling the network returns its output: class
logits for a classifier, images for a generator. Images are float32 arrays (batch, height, width,
channels) with values in [0, 1].
"""

from jaxlabel.nets.autoencoders import ConvAutoencoder, DenseAutoencoder
from jaxlabel.nets.blocks import depth_to_space, space_to_depth
from jaxlabel.nets.classifier import (
    ENCODERS,
    HEADS,
    WEIGHT_DECAY,
    Classifier,
    make_encoder,
    weight_decay,
)
from jaxlabel.nets.conv import ConvClassifier, ConvNet
from jaxlabel.nets.dense import Dense, DenseClassifier, DenseEncoder
from jaxlabel.nets.discriminators import (
    ConvDiscriminator,
    DenseDiscriminator,
    GradientConvDiscriminator,
)
from jaxlabel.nets.generators import ConvGenerator, DenseGenerator
from jaxlabel.nets.gradients import (
    FineGradientConvNet,
    GradientConvNet,
    GradientNet,
    num_gradients,
    oriented_gradients,
)
from jaxlabel.nets.layers import Conv, GroupNorm
from jaxlabel.nets.resnet import ResNet18

__all__ = [
    "ENCODERS",
    "HEADS",
    "WEIGHT_DECAY",
    "Classifier",
    "Conv",
    "ConvAutoencoder",
    "ConvClassifier",
    "ConvDiscriminator",
    "ConvGenerator",
    "ConvNet",
    "Dense",
    "DenseAutoencoder",
    "DenseClassifier",
    "DenseDiscriminator",
    "DenseEncoder",
    "DenseGenerator",
    "FineGradientConvNet",
    "GradientConvDiscriminator",
    "GradientConvNet",
    "GradientNet",
    "GroupNorm",
    "ResNet18",
    "depth_to_space",
    "make_encoder",
    "num_gradients",
    "oriented_gradients",
    "space_to_depth",
    "weight_decay",
]
