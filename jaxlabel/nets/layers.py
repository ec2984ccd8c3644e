"""The layers that the convolutional encoders are made of."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class Conv(nnx.Module):
    """A square convolution without a bias (a norm follows it), padded to keep the side / stride."""

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
    """Group normalisation (Wu & He 2018, eq. 1), the moments in float32 in one pass.

    A group holds at least two channels: of a single pixel something is left to see.
    """

    def __init__(self, channels: int, *, num_groups: int = 8, epsilon: float = 1e-5):
        self.num_groups = 1 if channels % 2 else math.gcd(num_groups, channels // 2)
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, images: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
        n, channels = len(images), images.shape[-1]
        wide = images.astype(jnp.float32)
        moments = jnp.stack([wide.mean((1, 2)), jnp.square(wide).mean((1, 2))])
        grouped = moments.reshape(2, n, self.num_groups, -1).mean(-1)
        mean, square = jnp.repeat(grouped, channels // self.num_groups, axis=-1)
        deviation = jnp.sqrt(jnp.maximum(square - jnp.square(mean), 0.0) + self.epsilon)
        scale = self.scale[...] / deviation
        shift = self.bias[...] - mean * scale
        outputs = wide * scale[:, None, None] + shift[:, None, None]
        return outputs.astype(images.dtype)


def compute_dtype() -> jnp.dtype:
    """What a network computes in on this backend: bfloat16 on GPU and TPU, float32 on the CPU."""
    return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
