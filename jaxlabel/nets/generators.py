"""Generators of the semi-supervised GAN.

A generator maps Gaussian latent vectors to images in [0, 1].
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxlabel.nets.blocks import depth_to_space
from jaxlabel.nets.discriminators import NormedLinear
from jaxlabel.nets.layers import Conv, compute_dtype


class DenseGenerator(nnx.Module):
    """A fully connected generator with the kinds of layers that Salimans et al. 2016 use for MNIST.

    Its hidden layers have batch normalisation and softplus activations. Calling it on latent
    vectors returns images in [0, 1]. The latent vectors are Gaussian here, while the published code
    of Salimans et al. draws them uniformly from 0 to 1.
    """

    def __init__(
        self, shape: tuple[int, ...], latent: int, rngs: nnx.Rngs, *, hidden: Sequence[int]
    ):
        self.shape = tuple(shape)
        init = nnx.initializers.he_normal()
        widths = (latent, *hidden)
        self.layers = nnx.List(
            [
                nnx.Linear(i, o, kernel_init=init, use_bias=False, rngs=rngs)
                for i, o in itertools.pairwise(widths)
            ]
        )
        self.norms = nnx.List([BatchScale(o) for o in hidden])
        self.last = NormedLinear(hidden[-1], math.prod(shape), rngs, learn_gain=True)

    def __call__(self, latents: Float[Array, "batch latent"]) -> Float[Array, "batch h w c"]:
        hidden = latents
        for layer, norm in zip(self.layers, self.norms, strict=True):
            hidden = jax.nn.softplus(norm(layer(hidden)))
        return jax.nn.sigmoid(self.last(hidden)).reshape(len(latents), *self.shape)


class ConvGenerator(nnx.Module):
    """A convolutional GAN generator.

    A dense layer makes feature maps with sides of 1/4 of the image's, and each of two convolutions
    doubles the sides. Calling the network on latent vectors returns images in [0, 1].
    """

    def __init__(self, shape: tuple[int, ...], latent: int, rngs: nnx.Rngs, *, width: int = 32):
        self.shape = tuple(shape)
        self.grid = ((shape[0] + 3) // 4, (shape[1] + 3) // 4, 4 * width)
        self.first = nnx.Linear(latent, math.prod(self.grid), use_bias=False, rngs=rngs)
        self.up = nnx.List([Conv(4 * width, 8 * width, rngs), Conv(2 * width, 4 * shape[-1], rngs)])
        self.norms = nnx.List([BatchScale(4 * width), BatchScale(2 * width)])
        self.bias = nnx.Param(jnp.zeros(shape[-1]))

    def __call__(self, latents: Float[Array, "batch latent"]) -> Float[Array, "batch h w c"]:
        hidden = self.first(latents).reshape(len(latents), *self.grid).astype(compute_dtype())
        for convolution, norm in zip(self.up, self.norms, strict=True):
            hidden = depth_to_space(convolution(jax.nn.relu(norm(hidden))))
        pixels = jax.nn.sigmoid(hidden.astype(jnp.float32) + self.bias[...])
        return pixels[:, : self.shape[0], : self.shape[1]]


class BatchScale(nnx.Module):
    """A batch normalisation layer without running averages, for GAN generators.

    It always normalises by the mean and variance of the current batch, which is enough because a
    generator is only called on whole batches. Ordinary batch normalisation is avoided because its
    running averages are updated in place, and a function under plain `jax.jit` would lose these
    updates. Without any batch normalisation many of the generator's units would die.
    """

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, inputs: Float[Array, "batch *space c"]) -> Float[Array, "batch *space c"]:
        wide = inputs.astype(jnp.float32)
        axes = tuple(range(inputs.ndim - 1))
        centred = wide - jnp.mean(wide, axis=axes)
        deviation = jnp.sqrt(jnp.mean(jnp.square(centred), axis=axes) + 1e-5)
        return (centred / deviation * self.scale[...] + self.bias[...]).astype(inputs.dtype)
