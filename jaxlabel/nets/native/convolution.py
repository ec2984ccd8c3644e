"""Convolution by oneDNN or XLA, differentiable in reverse mode to any order."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlabel.nets.native import reference
from jaxlabel.nets.native.batching import with_vmap
from jaxlabel.nets.native.selection import usable

Shape = tuple[int, ...]


def conv(
    images: Float[Array, "n h w i"], kernel: Float[Array, "a b i o"], *, stride: int = 1
) -> Float[Array, "n h/s w/s o"]:
    """Convolve images with a kernel, with zero padding as in "SAME".

    The sides of the result are the sides of the images divided by `stride`, rounded up. The result
    has the dtype of the images. The kernel's gradient has the dtype of the kernel; oneDNN computes
    it in float32 even if the images are bfloat16.

    Args:
      images: the activations, float32 or bfloat16.
      kernel: the weights, an array (height, width, input channels, output channels).
      stride: the step between two positions of the kernel, along both sides.
    """
    taken = usable(images) and kernel.dtype == jnp.float32 and 0 not in kernel.shape
    if taken and Window(images.shape, kernel.shape, stride).touches_everywhere():
        return _convolve(images, kernel, stride)
    return reference.convolution(images, kernel, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(images: Array, kernel: Array, stride: int) -> Array:
    window = Window(images.shape, kernel.shape, stride)

    def native(images: Array, kernel: Array) -> Array:
        shape = (len(images), *window.output, kernel.shape[3])
        return window.call("jaxlabel_convolution", shape, images.dtype, images, kernel)

    def by_xla(images: Array, kernel: Array) -> Array:
        return reference.convolution(images, kernel, stride)

    return _by_platform(with_vmap(native, (0,)), by_xla)(images, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _input_gradient(gradient: Array, kernel: Array, sides: tuple[int, int], stride: int) -> Array:
    """Compute the gradient of `_convolve` with respect to its images, given that of its result.

    Args:
      gradient: the gradient with respect to the result of the convolution.
      kernel: the weights of the convolution.
      sides: the height and the width of the images.
      stride: the step between two positions of the kernel.
    """
    shape = (len(gradient), *sides, kernel.shape[2])
    window = Window(shape, kernel.shape, stride)

    def native(gradient: Array, kernel: Array) -> Array:
        shape = (len(gradient), *sides, kernel.shape[2])
        name = "jaxlabel_convolution_input_gradient"
        return window.call(name, shape, gradient.dtype, gradient, kernel)

    def by_xla(gradient: Array, kernel: Array) -> Array:
        images = jnp.zeros((len(gradient), *sides, kernel.shape[2]), gradient.dtype)
        return jax.vjp(lambda x: reference.convolution(x, kernel, stride), images)[1](gradient)[0]

    return _by_platform(with_vmap(native, (0,)), by_xla)(gradient, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _weight_gradient(images: Array, gradient: Array, sides: tuple[int, int], stride: int) -> Array:
    """Compute the gradient of `_convolve` with respect to its kernel, in float32.

    Args:
      images: the images of the convolution.
      gradient: the gradient with respect to the result of the convolution.
      sides: the height and the width of the kernel.
      stride: the step between two positions of the kernel.
    """
    shape = (*sides, images.shape[3], gradient.shape[3])
    window = Window(images.shape, shape, stride)

    def native(images: Array, gradient: Array) -> Array:
        name = "jaxlabel_convolution_weight_gradient"
        return window.call(name, shape, jnp.float32, images, gradient)

    def by_xla(images: Array, gradient: Array) -> Array:
        kernel = jnp.zeros(shape, jnp.float32)
        return jax.vjp(lambda w: reference.convolution(images, w, stride), kernel)[1](gradient)[0]

    return _by_platform(with_vmap(native, ()), by_xla)(images, gradient)


class Window:
    """The geometry of a convolution: the sides of its result, its stride and its padding."""

    def __init__(self, images: Shape, kernel: Shape, stride: int):
        self.output = tuple(-(-side // stride) for side in images[1:3])
        pads, self._untouched = [], False
        for side, reach, result in zip(images[1:3], kernel[:2], self.output, strict=True):
            total = max(0, (result - 1) * stride + reach - side)
            pads += [total // 2, total - total // 2]
            for position in range(reach):
                pixels = range(position - total // 2, side, stride)[:result]
                self._untouched |= not any(pixel >= 0 for pixel in pixels)
        self.numbers = np.array([stride, stride, *pads], np.int64)

    def touches_everywhere(self) -> bool:
        """Return True if each weight of the kernel is multiplied by at least one pixel of an image.

        In images of one pixel, for example, the outer weights of a 3 x 3 kernel meet only padding.
        For such weights, oneDNN 3.2 returns an arbitrary gradient in bfloat16.
        """
        return not self._untouched

    def call(self, name: str, shape: Shape, dtype: Any, *arrays: Array) -> Array:
        """Call the function `name` of the compiled oneDNN kernels on arrays.

        Args:
          name: the name under which JAX knows the function.
          shape: the shape of the result.
          dtype: the dtype of the result.
          arrays: the inputs.
        """
        call = jax.ffi.ffi_call(name, jax.ShapeDtypeStruct(shape, dtype))
        return call(*arrays, window=self.numbers)


def _by_platform(native: Callable[..., Array], by_xla: Callable[..., Array]) -> Callable[..., Any]:
    """Return a function that calls `native` on a CPU, and `by_xla` on other devices."""
    return functools.partial(jax.lax.platform_dependent, cpu=native, default=by_xla)


# `_convolve`, `_input_gradient` and `_weight_gradient` are each linear in both arguments. The
# gradients of each one are computed by the other two, so any order of derivative is available.
def _convolve_forward(images: Array, kernel: Array, stride: int) -> tuple[Array, Any]:
    return _convolve(images, kernel, stride), (images, kernel)


def _convolve_backward(stride: int, saved: tuple[Array, Array], gradient: Array) -> Any:
    images, kernel = saved
    return (
        _input_gradient(gradient, kernel, images.shape[1:3], stride),
        _weight_gradient(images, gradient, kernel.shape[:2], stride),
    )


def _input_gradient_forward(
    gradient: Array, kernel: Array, sides: tuple[int, int], stride: int
) -> tuple[Array, Any]:
    return _input_gradient(gradient, kernel, sides, stride), (gradient, kernel)


def _input_gradient_backward(
    sides: tuple[int, int], stride: int, saved: tuple[Array, Array], images: Array
) -> Any:
    gradient, kernel = saved
    return (
        _convolve(images, kernel, stride),
        _weight_gradient(images, gradient, kernel.shape[:2], stride),
    )


def _weight_gradient_forward(
    images: Array, gradient: Array, sides: tuple[int, int], stride: int
) -> tuple[Array, Any]:
    return _weight_gradient(images, gradient, sides, stride), (images, gradient)


def _weight_gradient_backward(
    sides: tuple[int, int], stride: int, saved: tuple[Array, Array], kernel: Array
) -> Any:
    images, gradient = saved
    return (
        _input_gradient(gradient, kernel, images.shape[1:3], stride),
        _convolve(images, kernel, stride),
    )


_convolve.defvjp(_convolve_forward, _convolve_backward)
_input_gradient.defvjp(_input_gradient_forward, _input_gradient_backward)
_weight_gradient.defvjp(_weight_gradient_forward, _weight_gradient_backward)
