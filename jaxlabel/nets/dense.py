"""Fully connected networks: a stack of layers, a classifier, and encoders."""

import itertools
import math
from collections.abc import Sequence

import jax
from flax import nnx
from jaxtyping import Array, Float


class Dense(nnx.Module):
    """A multilayer perceptron: fully connected layers with ReLU between them, none after the last.

    Args:
      widths: the number of inputs, the number of units of each hidden layer, and the number of
        outputs.
    """

    def __init__(self, widths: Sequence[int], rngs: nnx.Rngs):
        init = nnx.initializers.he_normal()
        self.layers = nnx.List(
            [
                nnx.Linear(wide, narrow, kernel_init=init, rngs=rngs)
                for wide, narrow in itertools.pairwise(widths)
            ]
        )

    def __call__(self, inputs: Float[Array, "batch i"]) -> Float[Array, "batch o"]:
        for layer in list(self.layers)[:-1]:
            inputs = jax.nn.relu(layer(inputs))
        return self.layers[-1](inputs)


class DenseClassifier(nnx.Module):
    """A fully connected image classifier, which gets the pixels as one flat vector.

    Calling it on images returns the class logits. The method `features(images)` returns the outputs
    of the last hidden layer.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_classes: int,
        rngs: nnx.Rngs,
        hidden: Sequence[int] = (256, 128),
    ):
        self.body = Dense((math.prod(shape), *hidden), rngs)
        self.head = nnx.Linear(hidden[-1], num_classes, rngs=rngs)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return jax.nn.relu(self.body(images.reshape(images.shape[0], -1)))

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        return self.head(self.features(images))


class DenseEncoder(nnx.Module):
    """A fully connected image encoder: two ReLU layers of 16 times and 8 times `width` units.

    The method `features(images)` returns the outputs of the second layer. The input is the image's
    pixels as one flat vector.
    """

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, width: int = 16):
        self.num_features = 8 * width
        self.body = Dense((math.prod(shape), 16 * width, self.num_features), rngs)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return jax.nn.relu(self.body(images.reshape(images.shape[0], -1)))


class FlatEncoder(nnx.Module):
    """An encoder without parameters, whose features are its input as one flat vector.

    A `Classifier` with it is a linear classifier.
    """

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs):
        self.num_features = math.prod(shape)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return images.reshape(images.shape[0], -1)


class HiddenLayer(nnx.Module):
    """An encoder of one ReLU layer with 16 times `width` units; its input is one flat vector."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, width: int = 16):
        self.num_features = 16 * width
        self.body = Dense((math.prod(shape), self.num_features), rngs)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return jax.nn.relu(self.body(images.reshape(images.shape[0], -1)))
