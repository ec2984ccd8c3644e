"""Autoencoders: `features(images)` returns the codes; calling the network returns pixel logits."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxlabel.nets.blocks import depth_to_space, space_to_depth
from jaxlabel.nets.dense import Dense
from jaxlabel.nets.layers import BiasedConv


class DenseAutoencoder(nnx.Module):
    """A fully connected autoencoder with ReLU hidden layers (by default 512 and 256 units wide).

    The code of an image is a short vector from which the image can be reconstructed. The method
    `features(images)` returns the codes, an array (batch, code). Calling the network on images
    encodes and decodes them: it returns one logit per pixel and channel, in the shape of the
    images. A sigmoid turns the logits into reconstructed pixels in [0, 1].

    Args:
      shape: height, width, and channels of an image.
      code: the number of dimensions of the code.
      hidden: widths of the encoder's hidden layers, from the pixels to the code. The decoder has
        the same layers in reverse order.
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
    """A convolutional autoencoder.

    Two convolutions each halve the image's sides, and a dense layer maps the result to the code, a
    short vector from which the image can be reconstructed. The decoder mirrors the encoder. The
    method `features(images)` returns the codes. Calling the network on images encodes and decodes
    them: it returns one logit per pixel and channel, in the shape of the images. Images whose sides
    are not multiples of 4 are padded with black at the bottom and on the right, and the output is
    cropped to the original size.
    """

    def __init__(self, shape: tuple[int, ...], code: int, rngs: nnx.Rngs, width: int = 16):
        self.shape = tuple(shape)
        height, wide, channels = shape
        self.padding = ((0, 0), (0, -height % 4), (0, -wide % 4), (0, 0))
        self.grid = ((height + 3) // 4, (wide + 3) // 4, 2 * width)
        cells = math.prod(self.grid)
        self.down = nnx.List(
            [
                BiasedConv(channels * 4, width, (3, 3), rngs=rngs),
                BiasedConv(width * 4, 2 * width, (3, 3), rngs=rngs),
            ]
        )
        self.to_code = nnx.Linear(cells, code, rngs=rngs)
        self.from_code = nnx.Linear(code, cells, rngs=rngs)
        self.up = nnx.List(
            [
                BiasedConv(2 * width, width * 4, (3, 3), rngs=rngs),
                BiasedConv(width, channels * 4, (3, 3), rngs=rngs),
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
