"""Small convolutional networks: a classifier and an encoder."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxlabel.nets.blocks import space_to_depth
from jaxlabel.nets.layers import BiasedConv, Conv, GroupNorm, GroupNormRelu, compute_dtype
from jaxlabel.nets.operations import operation


class ConvClassifier(nnx.Module):
    """A small image classifier of two 3x3 convolutions with GroupNorm and two dense layers.

    Calling it on images returns the class logits. The method `features(images)` returns the outputs
    of the first dense layer, an array (batch, hidden), where `hidden` is the number of its units.
    Before each convolution, `space_to_depth` halves the image's sides by moving each 2x2 block of
    pixels into the channels. So every convolution has stride 1, which XLA compiles best on a CPU.
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
                BiasedConv(channels * 4, width, (3, 3), kernel_init=init, rngs=rngs),
                BiasedConv(width * 4, 2 * width, (3, 3), kernel_init=init, rngs=rngs),
            ]
        )
        self.norms = nnx.List(
            [
                GroupNormRelu(size, num_groups=math.gcd(8, size), rngs=rngs)
                for size in (width, 2 * width)
            ]
        )
        self.hidden = nnx.Linear(cells * 2 * width, hidden, kernel_init=init, rngs=rngs)
        self.head = nnx.Linear(hidden, num_classes, rngs=rngs)

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        hidden = jnp.pad(images, self.padding)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = norm(convolution(space_to_depth(hidden)))
        return jax.nn.relu(self.hidden(hidden.reshape(hidden.shape[0], -1)))

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        return self.head(self.features(images))


class ConvNet(nnx.Module):
    """A convolutional encoder for small images, with six 3x3 convolutions.

    The convolutions come in three pairs, which run at 1/2, 1/4, and 1/8 of the image's size. Before
    the first convolution, `space_to_depth` halves the sides by moving each 2x2 block of pixels into
    the channels. Before the third and the fifth convolution, means over 2x2 pixels halve them
    again. The pairs have 2, 4, and 4 times `width` channels. GroupNorm and leaky ReLU follow each
    convolution. The features are means over all positions, so images may have any size. No
    convolution runs at the image's full size, because it would be slow: it would have few channels
    and the largest feature maps (times in experiments/train_step.md).
    """

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, width: int = 16):
        two, four = 2 * width, 4 * width
        channels = (4 * shape[-1], two, two, four, four, four, four)
        self.num_features = four
        self.convolutions = nnx.List([Conv(i, o, rngs) for i, o in itertools.pairwise(channels)])
        self.norms = nnx.List([GroupNorm(o) for o in channels[1:]])

    def features(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch d"]:
        hidden = space_to_depth(even(images.astype(compute_dtype())))
        layers = zip(self.convolutions, self.norms, strict=True)
        for number, (convolution, norm) in enumerate(layers):
            if number in (2, 4):
                hidden = halve(hidden)
            hidden = norm(convolution(hidden), negative_slope=0.1)
        return hidden.astype(jnp.float32).mean((1, 2))


def even(images: Float[Array, "batch h w c"]) -> Float[Array, "batch h+h%2 w+w%2 c"]:
    """Return the images padded to even height and width by repeating the last row or column."""
    for axis in (1, 2):
        if images.shape[axis] % 2:
            last = jax.lax.slice_in_dim(images, images.shape[axis] - 1, None, axis=axis)
            images = jax.lax.concatenate([images, last], axis)
    return images


@operation
def halve(images: Float[Array, "batch h w c"]) -> Float[Array, "batch h/2 w/2 c"]:
    """Return the images at half the height and width: each output pixel is the mean of 2x2 pixels.

    If a side is odd, the last row or column is repeated first. The means are computed in float32.
    """
    return _halve(images)


@jax.custom_vjp
def _halve(images: Float[Array, "batch h w c"]) -> Float[Array, "batch h/2 w/2 c"]:
    """Compute `halve` by adding slices: on a CPU, XLA takes four times longer to pad and reduce."""
    upper, lower = _alternate(images.astype(jnp.float32), axis=1)
    (a, b), (c, d) = _alternate(upper, axis=2), _alternate(lower, axis=2)
    return ((a + b + c + d) / 4).astype(images.dtype)


def _alternate(images: Float[Array, "batch h w c"], axis: int) -> tuple[Array, Array]:
    """Split the images into their even and their odd rows (axis 1) or columns (axis 2).

    If their number is odd, the last one is in both parts.
    """
    side = images.shape[axis]
    first = jax.lax.slice_in_dim(images, 0, side, 2, axis)
    if side == 1:
        return first, first
    second = jax.lax.slice_in_dim(images, 1, side, 2, axis)
    if side % 2:
        last = jax.lax.slice_in_dim(images, side - 1, side, 1, axis)
        second = jax.lax.concatenate([second, last], axis)
    return first, second


def _halve_forward(images: Array) -> tuple[Array, Array]:
    return _halve(images), images


def _halve_backward(images: Array, gradient: Array) -> tuple[Array]:
    """Give each pixel a quarter of its mean's gradient, or twice that if the pixel was repeated.

    XLA's own gradient of slices would add up padded arrays.
    """
    _, height, width, _ = images.shape
    n, rows, columns, c = gradient.shape
    quarter = gradient.astype(jnp.float32)[:, :, None, :, None] / 4
    each = jnp.broadcast_to(quarter, (n, rows, 2, columns, 2, c))
    each = each.reshape(n, 2 * rows, 2 * columns, c)[:, :height, :width]
    down, across = np.ones((height, 1, 1), np.float32), np.ones((width, 1), np.float32)
    down[-1] += height % 2
    across[-1] += width % 2
    return ((each * down * across).astype(images.dtype),)


_halve.defvjp(_halve_forward, _halve_backward)
