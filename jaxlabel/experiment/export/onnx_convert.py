"""Convert a program of JAX primitives to the file format ONNX.

This module converts the primitives of which jaxlabel's networks consist. jax2onnx converts more of
them, but it requires another version of Orbax than jaxlabel, and it raises an error for the sums of
`nets.GroupNorm`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from jaxlabel.errors import JaxlabelError
from jaxlabel.experiment.export import onnx_operations
from jaxlabel.experiment.export.onnx_graph import (
    BATCH,
    Graph,
    Value,
    sides_of,
)
from jaxlabel.experiment.export.onnx_primitives import CONVERTERS, Call
from jaxlabel.experiment.export.tracing import Program
from jaxlabel.nets import operations

# The primitives that ONNX has under another name, with the same inputs.
ELEMENTWISE = {
    "add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow",
    "max": "Max", "min": "Min", "neg": "Neg", "exp": "Exp", "log": "Log", "sqrt": "Sqrt",
    "abs": "Abs", "tanh": "Tanh", "logistic": "Sigmoid", "erf": "Erf", "sign": "Sign",
    "floor": "Floor", "ceil": "Ceil", "sin": "Sin", "cos": "Cos", "gt": "Greater", "lt": "Less",
    "ge": "GreaterOrEqual", "le": "LessOrEqual", "eq": "Equal", "and": "And", "or": "Or",
    "not": "Not",
}  # fmt: skip
IDENTITIES = ("stop_gradient", "copy", "copy_p", "optimization_barrier", "reduce_precision")
REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}


def to_onnx(program: Program, description: str = "") -> bytes:
    """Convert a classifier to ONNX, and return the bytes of the file.

    The input "images" is uint8 (batch, height, width, channels), and the output "probabilities" is
    float32 (batch, classes).

    Args:
      program: the classifier.
      description: a text to store in the file.

    Raises:
      JaxlabelError: the classifier uses a primitive that this converter does not know.
      ImportError: the package onnx is not installed.
    """
    try:
        return _convert_program(program.jaxpr, program.shape, description)
    except (JaxlabelError, jax.errors.InconclusiveDimensionOperation):  # it indexes the batch
        return _convert_program(program.one_by_one(), program.shape, description)


def _convert_program(program: Any, shape: tuple[int, ...], description: str) -> bytes:
    """Convert a program from images to probabilities; the other arguments are those of `to_onnx`.

    Raises:
      JaxlabelError: the program has a primitive that this converter does not know.
    """
    jaxpr = program.jaxpr
    graph, values = Graph(), {}
    for variable, constant in zip(jaxpr.constvars, program.consts, strict=True):
        values[variable] = _constant(constant)
    values[jaxpr.invars[0]] = graph.images(shape)

    def read(atom: Any) -> Value:
        return _constant(atom.val) if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        outputs = _convert(graph, equation, inputs)
        values |= dict(zip(equation.outvars, outputs, strict=True))
    last = jaxpr.outvars[0]
    output = graph.expanded(read(last), sides_of(last.aval), "images")
    return graph.model(shape, output, description)


def _constant(array: Any) -> Value:
    array = np.asarray(array)
    return Value("", array.shape, array)


def _convert(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """Convert one JAX primitive: add its ONNX nodes to the graph, and return its outputs.

    If all inputs are constants, the outputs are computed now, and no node is added.

    Args:
      graph: the ONNX graph.
      equation: the application of the primitive in JAX's program.
      inputs: its inputs in the ONNX graph.

    Raises:
      JaxlabelError: the primitive is not known.
    """
    name = equation.primitive.name
    known = all(value.constant is not None for value in inputs)
    whole = all(BATCH not in sides_of(out.aval) for out in equation.outvars)
    if known and whole:  # the result does not depend on the images
        return _constant_outputs(equation, inputs)
    if name in IDENTITIES:
        return inputs
    if name == operations.NAME:
        convert = onnx_operations.CONVERTERS[equation.params["function"]]
        return [convert(graph, inputs, dict(equation.params["settings"]))]
    if name in ELEMENTWISE:
        return [_elementwise(graph, ELEMENTWISE[name], inputs)]
    if name in REDUCTIONS or name == "reduce":
        return _reduce(graph, equation, inputs)
    if name not in CONVERTERS:
        raise JaxlabelError(
            f"the network uses {name}, which the ONNX writer does not know: export it with "
            "--formats=safetensors,stablehlo"
        )
    result = CONVERTERS[name](Call(graph, equation, inputs))
    return result if isinstance(result, list) else [result]


def _constant_outputs(equation: Any, inputs: list[Value]) -> list[Value]:
    """Compute the outputs of a JAX primitive whose inputs are all constants."""
    arrays = [
        jax.numpy.broadcast_to(np.asarray(value.constant), atom.aval.shape)
        for value, atom in zip(inputs, equation.invars, strict=True)
    ]
    outputs = equation.primitive.bind(*arrays, **equation.params)
    return [_constant(each) for each in (outputs if equation.primitive.multiple_results
                                         else [outputs])]  # fmt: skip


def _elementwise(graph: Graph, kind: str, inputs: Sequence[Value]) -> Value:
    divisor = inputs[-1].constant
    if kind == "Div" and divisor is not None and divisor.dtype == np.float32 and divisor.all():
        # ONNX runtime divides ten times slower than it multiplies
        kind, inputs = "Mul", [inputs[0], _constant((1 / divisor).astype(np.float32))]
    return graph.elementwise(kind, inputs)


def _reduce(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """Add the ONNX nodes for a JAX primitive that takes sums, maxima or minima over axes.

    `lax.reduce` may reduce several arrays at once; it is converted if it sums each of them.

    Raises:
      JaxlabelError: it is `lax.reduce` with a function other than addition.
    """
    name, parameters = equation.primitive.name, equation.params
    axes = parameters["axes"] if name in REDUCTIONS else parameters["dimensions"]
    kind, count = REDUCTIONS.get(name, "ReduceSum"), len(equation.outvars)
    if name == "reduce":
        inner = [one.primitive.name for one in parameters["jaxpr"].eqns]
        zeros = all(value.constant is not None and not value.constant.any()
                    for value in inputs[count:])  # fmt: skip
        if inner != ["add"] * count or not zeros:
            raise JaxlabelError("the network uses lax.reduce with another function than sums")
    outputs = []
    for value, atom in zip(inputs[:count], equation.invars, strict=False):
        full = sides_of(atom.aval)
        sides = [full[i] if i in axes else side for i, side in enumerate(value.sides)]
        whole = graph.expanded(value, sides, "images")
        order = graph.order_of(whole)
        kept = [axis for i, axis in enumerate(order) if i not in axes]
        if order and kept == sorted(kept):  # the sum before and after the transposition is the same
            whole = graph.transpose(whole, np.argsort(order).tolist())
            axes = sorted(order[axis] for axis in axes)
        left = tuple(side for i, side in enumerate(whole.sides) if i not in axes)
        axes_name = graph.constant(np.array(axes, np.int64))
        outputs.append(graph.node(kind, [graph.name(whole), axes_name], left, keepdims=0))
    return outputs
