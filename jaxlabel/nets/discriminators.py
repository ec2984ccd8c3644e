"""Discriminators of the semi-supervised GAN (Salimans et al. 2016, section 6.1).

A discriminator is a classifier with noise layers, which add noise only if the call gets a random
key: call `model(images, key)` for training and `model(images)` for evaluation.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from jaxlabel.nets.blocks import space_to_depth
from jaxlabel.nets.conv import halve
from jaxlabel.nets.gradients import fine_maps
from jaxlabel.nets.layers import Conv, compute_dtype, dense_compute_dtype

# Standard deviations of the noise on the pixels and on each hidden layer, as in the paper's code.
NOISE = (0.3, 0.5)
HEAD = 5  # the number of the head's noise; the noise of the layers before it has smaller numbers


class NormedLinear(nnx.Module):
    """A linear layer with weight normalisation, w = g v / ||v|| (Salimans & Kingma 2016, eq. 2).

    The gain g is learned if `learn_gain` is True, as in a network's last layer, else fixed at
    sqrt(2): a hidden layer could learn so large a gain that a discriminator's noise has no effect.
    """

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs, *, learn_gain: bool = False):
        self.kernel = nnx.Param(nnx.initializers.he_normal()(rngs.params(), (inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.gain = nnx.Param(jnp.ones(outputs)) if learn_gain else None

    def __call__(self, inputs: Float[Array, "batch i"]) -> Float[Array, "batch o"]:
        kernel = self.kernel[...]
        gain = math.sqrt(2.0) if self.gain is None else self.gain[...]
        scale = gain * jax.lax.rsqrt(jnp.sum(jnp.square(kernel), axis=0) + 1e-12)
        outputs = (inputs @ kernel.astype(inputs.dtype)).astype(jnp.float32)
        return (outputs * scale + self.bias[...]).astype(inputs.dtype)


class NormedConv(nnx.Module):
    """A 3x3 convolution with weight normalisation (Salimans & Kingma 2016) and gain sqrt(2)."""

    def __init__(self, channels: int, features: int, rngs: nnx.Rngs):
        self.convolution = Conv(channels, features, rngs)
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, images: Float[Array, "batch h w i"]) -> Float[Array, "batch h w o"]:
        squares = jnp.sum(jnp.square(self.convolution.kernel[...]), axis=(0, 1, 2))
        scale = math.sqrt(2.0) * jax.lax.rsqrt(squares + 1e-12)
        outputs = self.convolution(images).astype(jnp.float32) * scale + self.bias[...]
        return outputs.astype(images.dtype)


class Discriminator(nnx.Module):
    """What the discriminators share: the noise, and the head that gives the class logits.

    A subclass has a layer `head` and a method `features(images, key)`, which adds noise to the
    inputs of its layers under other numbers than `HEAD`.

    Args:
      noise: the standard deviations of the noise are multiplied by this; 1 gives those of the
        paper.
    """

    head: NormedLinear

    def __init__(self, num_classes: int, noise: float):
        self.num_classes = num_classes
        self.pixel_noise, self.noise = noise * NOISE[0], noise * NOISE[1]

    def features(
        self, images: Float[Array, "batch h w c"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch d"]:
        """Return the feature vectors of images; with a random key, noise is added on the way."""
        raise NotImplementedError

    def __call__(
        self, images: Float[Array, "batch h w c"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch classes"]:
        return self.classify(self.features(images, key), key)

    def classify(
        self, features: Float[Array, "batch d"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch classes"]:
        """Return the class logits for feature vectors that the method `features` computed.

        If `key`, a random key, is not None, Gaussian noise is added to the features first.
        """
        return self.head(add_noise(features, self.noise, key, HEAD))


class DenseDiscriminator(Discriminator):
    """The fully connected, weight-normalised GAN discriminator for MNIST of Salimans et al. 2016.

    It has five hidden layers. Calling the network on images returns the class logits. If the call
    gets a random key, Gaussian noise is added to the pixels and to the output of every hidden
    layer.

    Args:
      width: units of the first layer. The second layer has half as many units, and each of the
        other three a quarter.
      noise: the standard deviations of the noise are multiplied by this; 1 gives those of the
        paper.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_classes: int,
        rngs: nnx.Rngs,
        *,
        width: int = 1000,
        noise: float = 1.0,
    ):
        super().__init__(num_classes, noise)
        widths = (math.prod(shape), width, width // 2, *(width // 4,) * 3)
        self.layers = nnx.List([NormedLinear(i, o, rngs) for i, o in itertools.pairwise(widths)])
        self.head = NormedLinear(widths[-1], num_classes, rngs, learn_gain=True)

    def features(
        self, images: Float[Array, "batch h w c"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch d"]:
        hidden = images.reshape(images.shape[0], -1).astype(dense_compute_dtype())
        for number, layer in enumerate(self.layers):
            hidden = add_noise(hidden, self.noise if number else self.pixel_noise, key, number)
            hidden = jax.nn.relu(layer(hidden))
        return hidden.astype(jnp.float32)


class ConvDiscriminator(Discriminator):
    """A convolutional, weight-normalised GAN discriminator.

    It has two convolutions at 1/2 of the image's size, two at 1/4, and a dense hidden layer.
    Calling the network on images returns the class logits. If the call gets a random key, Gaussian
    noise is added to the pixels, to the inputs of the third convolution, and to the inputs of each
    dense layer. Not strides but `space_to_depth` halves the sides: it moves 2x2 blocks of pixels
    into the channels.

    Args:
      width: channels of the first two convolutions; the other two have twice as many.
      noise: the standard deviations of the noise are multiplied by this; 1 gives 0.3 for the pixels
        and 0.5 for the layers.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        num_classes: int,
        rngs: nnx.Rngs,
        *,
        width: int = 32,
        noise: float = 1.0,
    ):
        super().__init__(num_classes, noise)
        maps = jax.eval_shape(self.maps, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
        wide = jax.ShapeDtypeStruct((*maps.shape[:3], width), jnp.float32)
        _, rows, columns, halved = jax.eval_shape(self.halve, wide).shape
        channel_pairs = ((maps.shape[-1], width), (width, width), (halved, 2 * width),
                         (2 * width, 2 * width))  # fmt: skip
        self.convolutions = nnx.List([NormedConv(i, o, rngs) for i, o in channel_pairs])
        self.hidden = NormedLinear(rows * columns * 2 * width, 8 * width, rngs)
        self.head = NormedLinear(8 * width, num_classes, rngs, learn_gain=True)

    def maps(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch rows columns d"]:
        """Return the first convolution's inputs: blocks of 2x2 pixels, moved into the channels."""
        height, width = images.shape[1:3]
        return space_to_depth(jnp.pad(images, ((0, 0), (0, -height % 4), (0, -width % 4), (0, 0))))

    def halve(self, maps: Float[Array, "batch h w d"]) -> Float[Array, "batch rows columns e"]:
        """Return the inputs of the third convolution, whose sides are half as long."""
        return space_to_depth(maps)

    def features(
        self, images: Float[Array, "batch h w c"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch d"]:
        hidden = self.maps(images).astype(compute_dtype())
        for number, convolution in enumerate(self.convolutions):
            if number == 2:
                hidden = self.halve(hidden)
            if number % 2 == 0:
                deviation = self.noise if number else self.pixel_noise
                hidden = add_noise(hidden, deviation, key, number)
            hidden = jax.nn.leaky_relu(convolution(hidden), 0.1)
        flat = hidden.reshape(hidden.shape[0], -1)
        hidden = add_noise(flat, self.noise, key, len(self.convolutions))
        return jax.nn.leaky_relu(self.hidden(hidden), 0.1).astype(jnp.float32)


class GradientConvDiscriminator(ConvDiscriminator):
    """A convolutional GAN discriminator on the raw pixels and HOG-like features of 2x2 pixels.

    It is a `ConvDiscriminator` with the inputs of `FineGradientConvNet`. Means over 2x2 cells halve
    the sides before the third convolution. The first noise is added to these inputs, which are
    scaled: its standard deviation of 0.3 is 0.15 for a pixel in [0, 1].
    """

    def maps(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch rows columns d"]:
        """Return the first convolution's inputs: pixels and HOG-like features of each cell."""
        return fine_maps(images)

    def halve(self, maps: Float[Array, "batch h w d"]) -> Float[Array, "batch rows columns d"]:
        """Return the inputs of the third convolution: the means of blocks of 2x2 cells."""
        return halve(maps)


def add_noise(
    values: Float[Array, "batch *shape"], deviation: float, key: Key[Array, ""] | None, layer: int
) -> Float[Array, "batch *shape"]:
    """Return `values` plus Gaussian noise, or `values` unchanged if no random key is given.

    Args:
      deviation: the standard deviation of the noise.
      key: the random key of the noise; None for no noise.
      layer: the index of the network layer whose inputs are `values`. It is folded into the key, so
        that each layer gets different noise.
    """
    if key is None:
        return values
    drawn = cheap_normal(jax.random.fold_in(key, layer), values.shape)
    return values + (deviation * drawn).astype(values.dtype)


def cheap_normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Return an array of approximately normal random numbers with mean 0 and variance 1.

    On a CPU this is 20 times faster than `jax.random.normal`, with which the noise of five layers
    takes as long as the rest of a network. The function hashes a counter with the
    key (the finaliser of MurmurHash3) and sums the four bytes of each hash (Irwin-Hall).
    """
    seed = jax.random.bits(key, (2,), jnp.uint32)
    counter = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    mixed = (counter ^ seed[0]) * jnp.uint32(0x9E3779B9) + seed[1]
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> shift)) * jnp.uint32(factor)
    mixed = mixed ^ (mixed >> 16)
    pairs = (mixed & 0x00FF00FF) + ((mixed >> 8) & 0x00FF00FF)
    total = ((pairs & 0xFFFF) + (pairs >> 16)).astype(jnp.int32)
    # the sum of four uniform bytes has mean 510 and variance 4 (256^2 - 1) / 12
    return (total - 510).astype(jnp.float32) / math.sqrt((2.0**16 - 1) / 3)
