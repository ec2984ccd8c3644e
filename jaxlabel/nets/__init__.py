"""Networks: NNX modules used as values, so that a model is a pytree like any other.

`features(images)` gives the representation, calling the model gives what it is trained for.
Images are float32 (batch, height, width, channels) in [0, 1].
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class Dense(nnx.Module):
    """A fully connected network with ReLU between its layers: (batch, i) to (batch, o)."""

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


class DenseAutoencoder(nnx.Module):
    """S0's autoencoder: fully connected, pixels-512-256-code and back; `__call__` gives logits.

    Args:
      shape: height, width, channels of an image.
      code: dimensions of the code.
      hidden: widths between the pixels and the code.
    """

    def __init__(
        self, shape: tuple[int, ...], code: int, rngs: nnx.Rngs, hidden: Sequence[int] = (512, 256)
    ):
        self.shape = tuple(shape)
        pixels = math.prod(shape)
        self.encoder = Dense((pixels, *hidden, code), rngs)
        self.decoder = Dense((code, *reversed(hidden), pixels), rngs)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        return self.encoder(images.reshape(len(images), -1))

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
        return self.decoder(self.features(images)).reshape(len(images), *self.shape)


class ConvAutoencoder(nnx.Module):
    """A convolutional autoencoder: two halvings of the side, a dense code, and back; logits out.

    A side that four does not divide is padded with black at its end and cut off again.
    """

    def __init__(self, shape: tuple[int, ...], code: int, rngs: nnx.Rngs, width: int = 16):
        self.shape = tuple(shape)
        height, wide, channels = shape
        self.padding = ((0, 0), (0, -height % 4), (0, -wide % 4), (0, 0))
        self.grid = ((height + 3) // 4, (wide + 3) // 4, 2 * width)
        cells = math.prod(self.grid)
        self.down = nnx.List(
            [
                nnx.Conv(channels * 4, width, (3, 3), rngs=rngs),
                nnx.Conv(width * 4, 2 * width, (3, 3), rngs=rngs),
            ]
        )
        self.to_code = nnx.Linear(cells, code, rngs=rngs)
        self.from_code = nnx.Linear(code, cells, rngs=rngs)
        self.up = nnx.List(
            [
                nnx.Conv(2 * width, width * 4, (3, 3), rngs=rngs),
                nnx.Conv(width, channels * 4, (3, 3), rngs=rngs),
            ]
        )

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        hidden = jnp.pad(images, self.padding)
        for layer in self.down:
            hidden = jax.nn.relu(layer(space_to_depth(hidden)))
        return self.to_code(hidden.reshape(len(hidden), -1))

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
        hidden = self.from_code(self.features(images)).reshape(len(images), *self.grid)
        for layer in self.up:
            hidden = depth_to_space(layer(jax.nn.relu(hidden)))
        return hidden[:, : self.shape[0], : self.shape[1]]


class ConvClassifier(nnx.Module):
    """A small convnet: two 3x3 convolutions, each on a halved side, GroupNorm, a dense head.

    Halving by space-to-depth keeps every convolution's stride at one, which is what XLA does best
    on a CPU. `features` are the last hidden layer, (batch, hidden).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_classes: int,
        rngs: nnx.Rngs,
        width: int = 32,
        hidden: int = 128,
    ):
        height, wide, channels = shape
        self.padding = ((0, 0), (0, -height % 4), (0, -wide % 4), (0, 0))
        cells = ((height + 3) // 4) * ((wide + 3) // 4)
        init = nnx.initializers.he_normal()
        self.convolutions = nnx.List(
            [
                nnx.Conv(channels * 4, width, (3, 3), kernel_init=init, rngs=rngs),
                nnx.Conv(width * 4, 2 * width, (3, 3), kernel_init=init, rngs=rngs),
            ]
        )
        self.norms = nnx.List(
            [
                nnx.GroupNorm(width, num_groups=8, rngs=rngs),
                nnx.GroupNorm(2 * width, num_groups=8, rngs=rngs),
            ]
        )
        self.hidden = nnx.Linear(cells * 2 * width, hidden, kernel_init=init, rngs=rngs)
        self.head = nnx.Linear(hidden, num_classes, rngs=rngs)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        hidden = jnp.pad(images, self.padding)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = jax.nn.relu(norm(convolution(space_to_depth(hidden))))
        return jax.nn.relu(self.hidden(hidden.reshape(len(hidden), -1)))

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        return self.head(self.features(images))


class DenseClassifier(nnx.Module):
    """A fully connected classifier of flattened pixels; `features` are its last hidden layer."""

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
        return jax.nn.relu(self.body(images.reshape(len(images), -1)))

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        return self.head(self.features(images))


def space_to_depth(images: Float[Array, "batch h w c"]) -> Float[Array, "batch h/2 w/2 4*c"]:
    """Blocks of 2x2 pixels moved into the channels; height and width must be even."""
    n, h, w, c = images.shape
    blocks = images.reshape(n, h // 2, 2, w // 2, 2, c)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


def depth_to_space(images: Float[Array, "batch h w 4*c"]) -> Float[Array, "batch 2*h 2*w c"]:
    """The inverse of `space_to_depth`."""
    n, h, w, c = images.shape
    blocks = images.reshape(n, h, w, 2, 2, c // 4)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)
