"""Layers of the convolutional encoders: a convolution and group normalisation."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxlabel.nets import devices
from jaxlabel.nets.native import conv, norm_activation, selected
from jaxlabel.nets.operations import is_recording


class Conv(nnx.Module):
    """A convolution layer with a square kernel, "same" padding, and no bias.

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
        return conv(images, self.kernel[...], stride=self.stride)


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

    def __call__(
        self, images: Float[Array, "batch h w c"], *, negative_slope: float = 1.0
    ) -> Float[Array, "batch h w c"]:
        """Normalise `images`, then apply a leaky ReLU of slope `negative_slope` below zero.

        Slope 0 gives a ReLU; slope 1, the default, applies no activation.
        """
        return norm_activation(
            images, self.scale[...], self.bias[...], num_groups=self.num_groups,
            epsilon=self.epsilon, negative_slope=negative_slope,
        )  # fmt: skip


class BiasedConv(nnx.Conv):
    """Flax's convolution layer with a bias, for stride 1, computed by this project's `native.conv`.

    `native.conv` uses a faster kernel on a CPU if one was selected, and XLA's convolution
    otherwise.
    """

    def __call__(  # type: ignore[override]
        self, inputs: Float[Array, "batch h w i"]
    ) -> Float[Array, "batch h w o"]:
        assert self.bias is not None
        return conv(inputs, self.kernel[...]) + self.bias[...]


class GroupNormRelu(nnx.GroupNorm):
    """Flax's group normalisation layer, followed by a ReLU."""

    def __call__(  # type: ignore[override]
        self, images: Float[Array, "batch h w c"]
    ) -> Float[Array, "batch h w c"]:
        assert self.scale is not None and self.bias is not None
        if selected().name == "xla" and not is_recording():
            return jax.nn.relu(super().__call__(images))
        return norm_activation(
            images, self.scale[...], self.bias[...], num_groups=self.num_groups,
            epsilon=self.epsilon, negative_slope=0.0,
        )  # fmt: skip


def compute_dtype() -> jnp.dtype:
    """Return the dtype of a convolutional network's activations on the current device.

    It is bfloat16 on a GPU or TPU. On a CPU it is the dtype of the selected CPU kernels (the
    setting `cpu_kernels`), float32 by default.
    """
    return jnp.dtype(selected().dtype)


def dense_compute_dtype() -> jnp.dtype:
    """Return the dtype of a fully connected network's activations on the current device.

    It is bfloat16 on a GPU or TPU. It is float32 on a CPU, where XLA multiplies matrices no faster
    in bfloat16.
    """
    return jnp.dtype(jnp.bfloat16 if devices.is_accelerator() else jnp.float32)
