"""Layers of the convolutional encoders: a convolution and group normalisation."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class Conv(nnx.Module):
    """A convolution with a square kernel, "same" padding, and no bias.

    The output's sides are the input's divided by the stride. The bias is left out because every
    network puts a normalisation layer with a bias after this layer.
    """

    def __init__(
        self, channels: int, features: int, rngs: nnx.Rngs, *, side: int = 3, stride: int = 1
    ):
        self.stride = stride
        init = nnx.initializers.he_normal()
        self.kernel = nnx.Param(init(rngs.params(), (side, side, channels, features)))

    def __call__(self, images: Float[Array, "batch h w i"]) -> Float[Array, "batch h/s w/s o"]:
        return jax.lax.conv_general_dilated(
            images, self.kernel[...].astype(images.dtype), (self.stride, self.stride), "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip


class GroupNorm(nnx.Module):
    """A group normalisation layer (Wu & He 2018, eq. 1), computed in float32.

    Mean and variance are computed in one pass over the data. Each group has at least two channels,
    because normalising a single channel of a 1x1 image would always give zero.
    """

    def __init__(self, channels: int, *, num_groups: int = 8, epsilon: float = 1e-5):
        self.num_groups = 1 if channels % 2 else math.gcd(num_groups, channels // 2)
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
        n, height, width, channels = images.shape
        wide = images.astype(jnp.float32)
        moments = sums(wide, jnp.square(wide)) / (height * width)
        grouped = moments.reshape(2, n, self.num_groups, -1).mean(-1)
        mean, square = jnp.repeat(grouped, channels // self.num_groups, axis=-1)
        deviation = jnp.sqrt(jnp.maximum(square - jnp.square(mean), 0.0) + self.epsilon)
        scale = self.scale[...] / deviation
        shift = self.bias[...] - mean * scale
        outputs = wide * scale[:, None, None] + shift[:, None, None]
        return outputs.astype(images.dtype)


@jax.custom_vjp
def sums(first: Float[Array, "n h w c"], second: Float[Array, "n h w c"]) -> Float[Array, "2 n c"]:
    """Return the sum of `first` and the sum of `second` over all pixel positions, in one pass.

    This takes a quarter of the time of XLA's own sums on a CPU, which read the arrays once per sum
    and are not vectorised. Adding pairs of whole rows is vectorised.

    Returns:
      An array (2, images, channels): first the sums of `first` for each image and channel, then
      those of `second`.
    """
    n, height, width, channels = first.shape
    rows = [each.reshape(n, height, width * channels) for each in (first, second)]
    zeros = [jnp.zeros((), each.dtype) for each in rows]
    added = jax.lax.reduce(rows, zeros, _add_pairs, (1,))
    return jnp.stack([each.reshape(n, width, channels).sum(1) for each in added])


def _add_pairs(first: list[Array], second: list[Array]) -> list[Array]:
    return [
        a + b for a, b in zip(first, second, strict=True)
    ]  # A named function, so that eager calls compile it once.


def _sums_forward(first: Array, second: Array) -> tuple[Array, tuple[Array, Array]]:
    return sums(first, second), (first, second)


def _sums_backward(inputs: tuple[Array, Array], gradients: Array) -> tuple[Array, ...]:
    return tuple(
        jnp.broadcast_to(gradient[:, None, None], each.shape)
        for each, gradient in zip(inputs, gradients, strict=True)
    )


sums.defvjp(_sums_forward, _sums_backward)


def compute_dtype() -> jnp.dtype:
    """Return the dtype in which networks compute: float32 on a CPU, bfloat16 on a GPU or TPU."""
    return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
