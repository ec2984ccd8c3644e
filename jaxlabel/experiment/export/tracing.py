"""Convert a classifier to a program of JAX primitives: uint8 images in, probabilities out.

The program computes in float32 on every device and takes any number of images.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export
from jax.extend import core
from jaxtyping import Array, Float, UInt8

from jaxlabel.augment import as_float

# The primitives that only call another program, and the parameter that holds it.
CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr", "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}  # fmt: skip
HALF = (jnp.bfloat16, jnp.float16)


class Program:
    """A classifier as a program of JAX primitives, from uint8 images to float32 probabilities.

    Args:
      model: a network that is called with float32 images in [0, 1] and returns logits.
      shape: height, width and channels of an image.

    Attributes:
      jaxpr: the program. It calls no other programs and uses no half precision.
      argument: the shape and dtype of the images; the number of images is a symbol.
    """

    def __init__(self, model: Any, shape: tuple[int, ...]):
        self.shape, self._model = tuple(shape), model
        (batch,) = jax_export.symbolic_shape("batch")
        self.argument = jax.ShapeDtypeStruct((batch, *self.shape), jnp.uint8)
        with plain_kernels():
            traced = jax.make_jaxpr(_probabilities_of(model))(self.argument)
            self.jaxpr = jax.make_jaxpr(_in_float32(traced))(self.argument)

    def __call__(self, images: UInt8[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Return the class probabilities of uint8 images."""
        with plain_kernels():
            argument = jax.ShapeDtypeStruct(images.shape, images.dtype)
            traced = jax.make_jaxpr(_probabilities_of(self._model))(argument)
            return _in_float32(traced)(images)

    def stablehlo(self) -> bytes:
        """Return the program as bytes in the format of `jax.export`, for CPU, CUDA and TPU.

        Raises:
          ImportError: the package flatbuffers is not installed.
        """
        whole = _in_float32(self.jaxpr)
        exported = jax_export.export(jax.jit(whole), platforms=("cpu", "cuda", "tpu"))
        return bytes(exported(self.argument).serialize())


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """Let networks compute convolutions and norms by XLA, not by oneDNN, inside a `with` block."""
    try:
        native = importlib.import_module("jaxlabel.nets.native")
    except ModuleNotFoundError:  # this version of jaxlabel has no kernels of its own
        yield
        return
    before = native.selected().name
    native.select("xla")
    try:
        yield
    finally:
        native.select(before)


def _probabilities_of(model: Any) -> Callable[[Array], Array]:
    """Return a function from a batch of uint8 images to the class probabilities of `model`.

    `vmap` applies the model to one image at a time, because a network may call `len(images)`, for
    which JAX raises an error if the number of images is a symbol.
    """

    def of_one(image: Array) -> Array:
        return jax.nn.softmax(model(as_float(image[None])))[0]

    return jax.vmap(of_one)


def _in_float32(program: Any) -> Callable[[Array], Array]:
    """Return a function that computes a program with all numbers in float32.

    Programs that it calls are computed as parts of it.
    """

    def run(images: Array) -> Array:
        return _replay(program.jaxpr, program.consts, [images])[0]

    return run


def _replay(jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Compute a program (a jaxpr) in float32, primitive by primitive; return its outputs."""
    values = dict(zip(jaxpr.constvars, map(_array_in_float32, constants), strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> Any:
        return _array_in_float32(atom.val) if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        name = equation.primitive.name
        if name in CALLS:
            inner = equation.params[CALLS[name]]
            consts = getattr(inner, "consts", ())
            outputs = _replay(getattr(inner, "jaxpr", inner), consts, inputs)
        else:
            bound = equation.primitive.bind(*inputs, **_parameters_in_float32(equation.params))
            outputs = bound if equation.primitive.multiple_results else [bound]
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _array_in_float32(value: Any) -> Any:
    """Return a half-precision array as float32, and anything else unchanged."""
    return jnp.asarray(value, jnp.float32) if getattr(value, "dtype", None) in HALF else value


def _parameters_in_float32(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a JAX primitive's parameters, changed so that it computes in float32."""
    changed = dict(parameters)
    for name in ("new_dtype", "preferred_element_type", "dtype"):
        if changed.get(name) in HALF:
            changed[name] = jnp.dtype(jnp.float32)
    if "precision" in changed:
        changed["precision"] = (jax.lax.Precision.HIGHEST,) * 2
    return changed
