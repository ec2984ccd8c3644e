"""Convert a classifier to a program of JAX primitives: uint8 images in, probabilities out.

The program computes in float32 on every device and takes any number of images.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export
from jax.extend import core
from jaxtyping import Array, Float, UInt8

from jaxlabel.augment import as_float
from jaxlabel.nets import native, operations

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
      jaxpr: the program. It calls no other programs and uses no half precision. Parts that other
        formats have an operator for are one primitive each (`nets.operations`).
      argument: the shape and dtype of the images; the number of images is a symbol.
    """

    def __init__(self, model: Any, shape: tuple[int, ...]):
        self.shape, self._model = tuple(shape), model
        (batch,) = jax_export.symbolic_shape("batch")
        self.argument = jax.ShapeDtypeStruct((batch, *self.shape), jnp.uint8)
        self.jaxpr = self._program()

    def one_by_one(self) -> Any:
        """Return the program as `vmap` makes it of the network for a single image.

        It is slower, but a network may index the images in any way.
        """
        return self._program(one_by_one=True)

    def _program(self, one_by_one: bool = False) -> Any:
        with plain_kernels(), operations.recording():
            traced = _traced(self._model, self.argument, one_by_one)
            return jax.make_jaxpr(_in_float32(traced))(self.argument)

    def __call__(self, images: UInt8[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Return the class probabilities of uint8 images."""
        with plain_kernels():
            argument = jax.ShapeDtypeStruct(images.shape, images.dtype)
            return _in_float32(_traced(self._model, argument))(images)

    def stablehlo(self) -> bytes:
        """Return the program as bytes in the format of `jax.export`, for CPU, CUDA and TPU.

        Raises:
          ImportError: the package flatbuffers is not installed.
        """
        whole = _in_float32(self.jaxpr)
        with plain_kernels():
            exported = jax_export.export(jax.jit(whole), platforms=("cpu", "cuda", "tpu"))
            return bytes(exported(self.argument).serialize())


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """Let networks compute convolutions and norms by XLA, not by oneDNN, inside a `with` block."""
    before = native.selected().name
    native.select("xla")
    try:
        yield
    finally:
        native.select(before)


def _traced(model: Any, argument: jax.ShapeDtypeStruct, one_by_one: bool = False) -> Any:
    """Return the program (a jaxpr) from a batch of uint8 images to the probabilities of `model`.

    Args:
      model: a network that is called with float32 images in [0, 1] and returns logits.
      argument: the shape and dtype of the images.
      one_by_one: whether `vmap` applies the network to one image at a time. This is done in any
        case if the network cannot be traced with a symbolic number of images, for example because
        it calls `len(images)`.
    """

    def probabilities(images: Array) -> Array:
        return jax.nn.softmax(model(as_float(images)))

    if not one_by_one:
        with contextlib.suppress(Exception):  # whatever a network does with the number of images
            return jax.make_jaxpr(probabilities)(argument)
    return jax.make_jaxpr(jax.vmap(lambda image: probabilities(image[None])[0]))(argument)


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
        if name == operations.NAME:  # recorded again, or computed in its parts
            settings = dict(equation.params["settings"])
            outputs = [equation.params["function"](*inputs, **settings)]
        elif name in CALLS:
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
