"""Mark parts of a network, such as group normalisation, that an export makes one operator each.

Other programs have an operator for such a part, which is much faster than the single additions and
products of which JAX's program consists.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec

import jax
from jax.extend import core
from jax.interpreters import batching
from jaxtyping import Array

Arguments = ParamSpec("Arguments")
NAME = "jaxlabel_operation"  # the name of the primitive in a recorded program

_is_recording = contextvars.ContextVar("is_recording", default=False)
_primitive = core.Primitive(NAME)


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Record each operation as one primitive in programs that are traced inside a `with` block."""
    token = _is_recording.set(True)
    try:
        yield
    finally:
        _is_recording.reset(token)


def is_recording() -> bool:
    """Return True inside a `with recording()` block."""
    return _is_recording.get()


def operation(function: Callable[Arguments, Array]) -> Callable[Arguments, Array]:
    """Decorate a function that a recorded program contains as one primitive.

    Outside of `recording` the function is called as it is. The primitive has the parameters
    `function`, which is the decorated function, and `settings`, the pairs of its keyword arguments.

    Args:
      function: a function whose positional arguments are arrays, and whose keyword arguments are
        numbers and other constants.
    """

    @functools.wraps(function)
    def call(*arrays: Arguments.args, **settings: Arguments.kwargs) -> Array:
        if not is_recording():
            return function(*arrays, **settings)
        bound: Array = _primitive.bind(*arrays, function=call, settings=tuple(settings.items()))
        return bound

    return call


def _plain(function: Any, settings: Any) -> Callable[..., Any]:
    """Return an operation without recording, as a function of its arrays alone."""
    return functools.partial(function.__wrapped__, **dict(settings))


def _type_of_result(*arrays: Any, function: Any, settings: Any) -> Any:
    shapes = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]
    result = jax.eval_shape(_plain(function, settings), *shapes)
    return jax.core.ShapedArray(result.shape, result.dtype)


def _under_vmap(arrays: Any, axes: Any, *, function: Any, settings: Any) -> tuple[Array, int]:
    return jax.vmap(_plain(function, settings), in_axes=axes)(*arrays), 0


_primitive.def_abstract_eval(_type_of_result)
batching.primitive_batchers[_primitive] = _under_vmap
