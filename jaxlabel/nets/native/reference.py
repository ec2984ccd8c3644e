"""Convolutions and norms computed by XLA: on GPU and TPU, and where oneDNN cannot be used."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def convolution(
    images: Float[Array, "n h w i"], kernel: Float[Array, "a b i o"], stride: int
) -> Float[Array, "n h/s w/s o"]:
    """Convolve images with a kernel, with zero padding as in "SAME".

    The sides of the result are the sides of the images divided by `stride`, rounded up.
    """
    return jax.lax.conv_general_dilated(
        images, kernel.astype(images.dtype), (stride, stride), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


def norm_activation(
    images: Float[Array, "n h w c"],
    scale: Float[Array, "c"],
    bias: Float[Array, "c"],
    num_groups: int,
    epsilon: float,
    negative_slope: float,
) -> Float[Array, "n h w c"]:
    """Normalise groups of channels (Wu & He 2018, eq. 1), then apply a leaky ReLU.

    The means and variances are computed in float32, in one pass over the images.
    """
    n, height, width, channels = images.shape
    wide = images.astype(jnp.float32)
    moments = sums(wide, jnp.square(wide)) / (height * width)
    grouped = moments.reshape(2, n, num_groups, -1).mean(-1)
    mean, square = jnp.repeat(grouped, channels // num_groups, axis=-1)
    deviation = jnp.sqrt(jnp.maximum(square - jnp.square(mean), 0.0) + epsilon)
    factor = scale / deviation
    shift = bias - mean * factor
    outputs = wide * factor[:, None, None] + shift[:, None, None]
    return activation(outputs.astype(images.dtype), negative_slope)


def activation(values: Float[Array, "*shape"], negative_slope: float) -> Float[Array, "*shape"]:
    """Apply a leaky ReLU: multiply negative values by `negative_slope`.

    A slope of 0 gives a ReLU, and a slope of 1 returns the values unchanged.
    """
    if negative_slope == 1:
        return values
    if negative_slope == 0:
        return jax.nn.relu(values)
    return jax.nn.leaky_relu(values, negative_slope)


@jax.custom_vjp
def sums(first: Float[Array, "n h w c"], second: Float[Array, "n h w c"]) -> Float[Array, "2 n c"]:
    """Sum each of two arrays (n, h, w, c) over its rows and columns; return an array (2, n, c).

    The two sums are computed in one pass. XLA's own sums take four times as long on a CPU: they
    take one pass for each array, and are not vectorised. Adding whole rows in pairs is vectorised.
    """
    n, height, width, channels = first.shape
    rows = [each.reshape(n, height, width * channels) for each in (first, second)]
    zeros = [jnp.zeros((), each.dtype) for each in rows]
    added = jax.lax.reduce(rows, zeros, _add_pairs, (1,))
    return jnp.stack([each.reshape(n, width, channels).sum(1) for each in added])


def _add_pairs(first: list[Array], second: list[Array]) -> list[Array]:
    return [
        a + b for a, b in zip(first, second, strict=True)
    ]  # not a lambda, so that JAX compiles it only once


def _sums_forward(first: Array, second: Array) -> tuple[Array, tuple[Array, Array]]:
    return sums(first, second), (first, second)


def _sums_backward(inputs: tuple[Array, Array], gradients: Array) -> tuple[Array, ...]:
    return tuple(
        jnp.broadcast_to(gradient[:, None, None], each.shape)
        for each, gradient in zip(inputs, gradients, strict=True)
    )


sums.defvjp(_sums_forward, _sums_backward)
