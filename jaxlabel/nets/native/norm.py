"""Group normalisation followed by a leaky ReLU, computed in one pass by a C++ kernel or by XLA."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlabel.nets.native import reference
from jaxlabel.nets.native.batching import with_vmap
from jaxlabel.nets.native.selection import usable
from jaxlabel.nets.operations import operation


class Norm(NamedTuple):
    """The fixed settings of a group normalisation that is followed by a leaky ReLU.

    Attributes:
      num_groups: the number of groups of channels.
      epsilon: the number that is added to each variance.
      negative_slope: the factor of negative values in the leaky ReLU.
    """

    num_groups: int
    epsilon: float
    negative_slope: float


@operation
def norm_activation(
    images: Float[Array, "n h w c"],
    scale: Float[Array, "c"],
    bias: Float[Array, "c"],
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    negative_slope: float = 1.0,
) -> Float[Array, "n h w c"]:
    """Normalise groups of channels (Wu & He 2018, eq. 1), then apply a leaky ReLU.

    Args:
      images: the activations, float32 or bfloat16. Their means and variances are computed in
        float32.
      scale: the number by which each normalised channel is multiplied.
      bias: the number that is then added to each channel.
      num_groups: the number of groups of channels.
      epsilon: the number that is added to each variance.
      negative_slope: the factor of negative values: 0 gives a ReLU, 1 leaves out the activation.
    """
    settings = Norm(num_groups, epsilon, negative_slope)
    if usable(images) and scale.dtype == bias.dtype == jnp.float32:
        return _normalise(images, scale, bias, settings)[0]
    return reference.norm_activation(images, scale, bias, *settings)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalise(images: Array, scale: Array, bias: Array, settings: Norm) -> tuple[Array, Array]:
    """Return the result of `norm_activation`, and the moments that the backward pass needs.

    The moments are the mean and 1 / (standard deviation) of each group of channels in each image.
    No gradient flows through them; only `_gradients` uses them.
    """

    def native(images: Array, scale: Array, bias: Array) -> Any:
        moments = jax.ShapeDtypeStruct((len(images), 2 * settings.num_groups), jnp.float32)
        result = jax.ShapeDtypeStruct(images.shape, images.dtype)
        call = jax.ffi.ffi_call("jaxlabel_norm", (result, moments))
        return tuple(call(
            images, scale, bias, groups=np.int64(settings.num_groups),
            slope=np.float32(settings.negative_slope), epsilon=np.float32(settings.epsilon),
        ))  # fmt: skip

    def by_xla(images: Array, scale: Array, bias: Array) -> Any:
        moments = jnp.zeros((len(images), 2 * settings.num_groups), jnp.float32)  # not used
        return reference.norm_activation(images, scale, bias, *settings), moments

    return jax.lax.platform_dependent(
        images, scale, bias, cpu=with_vmap(native, (0,)), default=by_xla
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _gradients(
    images: Array, gradient: Array, scale: Array, bias: Array, moments: Array, settings: Norm
) -> tuple[Array, Array, Array]:
    """Compute the gradients of `_normalise` with respect to images, scale and bias.

    Args:
      images: the activations.
      gradient: the gradient with respect to the normalised result.
      scale: the factor of each channel.
      bias: the number added to each channel.
      moments: the means and 1 / (standard deviations) that `_normalise` returned.
      settings: the settings of the normalisation.
    """

    def native(images: Array, gradient: Array, scale: Array, bias: Array, moments: Array) -> Any:
        of_images = jax.ShapeDtypeStruct(images.shape, images.dtype)
        of_channels = jax.ShapeDtypeStruct((len(images), images.shape[3]), jnp.float32)
        call = jax.ffi.ffi_call("jaxlabel_norm_gradient", (of_images, of_channels, of_channels))
        return tuple(call(
            images, gradient, scale, bias, moments, groups=np.int64(settings.num_groups),
            slope=np.float32(settings.negative_slope),
        ))  # fmt: skip

    def on_cpu(*arrays: Array) -> tuple[Array, Array, Array]:
        of_images, of_scale, of_bias = with_vmap(native, (0, 1, 4))(*arrays)
        return of_images, of_scale.sum(0), of_bias.sum(0)

    def by_xla(
        images: Array, gradient: Array, scale: Array, bias: Array, moments: Array
    ) -> tuple[Array, Array, Array]:
        return _gradients_by_xla(images, gradient, scale, bias, settings)

    return jax.lax.platform_dependent(
        images, gradient, scale, bias, moments, cpu=on_cpu, default=by_xla
    )


def _gradients_by_xla(
    images: Array, gradient: Array, scale: Array, bias: Array, settings: Norm
) -> tuple[Array, Array, Array]:
    """Compute the gradients of `_normalise` by XLA, which is slower than the C++ kernel.

    Unlike those of the C++ kernel, these gradients can be differentiated again.
    """

    def normalise(images: Array, scale: Array, bias: Array) -> Array:
        return reference.norm_activation(images, scale, bias, *settings)

    return jax.vjp(normalise, images, scale, bias)[1](gradient)


def _normalise_forward(images: Array, scale: Array, bias: Array, settings: Norm) -> tuple[Any, Any]:
    result, moments = _normalise(images, scale, bias, settings)
    return (result, moments), (images, scale, bias, moments)


def _normalise_backward(settings: Norm, saved: Any, gradients: tuple[Array, Array]) -> Any:
    images, scale, bias, moments = saved
    return _gradients(images, gradients[0], scale, bias, moments, settings)


def _gradients_forward(
    images: Array, gradient: Array, scale: Array, bias: Array, moments: Array, settings: Norm
) -> tuple[Any, Any]:
    gradients = _gradients(images, gradient, scale, bias, moments, settings)
    return gradients, (images, gradient, scale, bias, moments)


def _gradients_backward(settings: Norm, saved: Any, cotangents: Any) -> Any:
    *arrays, moments = saved

    def gradients(images: Array, gradient: Array, scale: Array, bias: Array) -> Any:
        return _gradients_by_xla(images, gradient, scale, bias, settings)

    # The moments are computed from the images, so the gradients with respect to the images already
    # include what flows through the moments.
    return (*jax.vjp(gradients, *arrays)[1](cotangents), jnp.zeros_like(moments))


_normalise.defvjp(_normalise_forward, _normalise_backward)
_gradients.defvjp(_gradients_forward, _gradients_backward)
