"""Convert single JAX primitives to ONNX nodes; `CONVERTERS` has a function for each primitive."""

import string
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxlabel.errors import JaxlabelError
from jaxlabel.experiment.export.onnx_graph import Graph, Value, sides_of

END = 2**31 - 1  # the end of a slice up to the last element
START = -(2**31)  # the end of a reversed slice down to the first element


class Call:
    """One application of a JAX primitive, which is to be converted to ONNX nodes.

    Attributes:
      graph: the ONNX graph to which the nodes are added.
      inputs: the primitive's inputs, as values of the ONNX graph.
      parameters: the primitive's parameters, such as the axes of a sum.
      sides: the shape of the primitive's first output.
    """

    def __init__(self, graph: Graph, equation: Any, inputs: list[Value]):
        self.graph, self.inputs = graph, inputs
        self.parameters: dict[str, Any] = equation.params
        self.sides = sides_of(equation.outvars[0].aval)
        self._full = [sides_of(atom.aval) for atom in equation.invars]

    def whole(self, number: int = 0) -> Value:
        """Return input `number` in the full shape that JAX's array has.

        It is repeated along axes whose length is 1 in ONNX only.
        """
        return self.graph.expanded(self.inputs[number], self._full[number], "images")

    def is_empty(self, number: int) -> bool:
        """Return True if an axis of input `number` has length 0."""
        return 0 in self._full[number]


def _cast(call: Call) -> Value:
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(call.parameters["new_dtype"]))
    return call.graph.elementwise("Cast", call.inputs, to=kind)


def _square(call: Call) -> Value:
    return call.graph.elementwise("Mul", call.inputs * 2)


def _integer_power(call: Call) -> Value:
    if call.parameters["y"] == 2:
        return _square(call)
    if call.parameters["y"] == 4:  # ONNX runtime's Pow is slow
        return call.graph.elementwise("Mul", [_square(call)] * 2)
    power = Value("", (), np.array(call.parameters["y"], np.float32))
    return call.graph.elementwise("Pow", [*call.inputs, power])


def _rsqrt(call: Call) -> Value:
    return call.graph.elementwise("Reciprocal", [call.graph.elementwise("Sqrt", call.inputs)])


def _log1p(call: Call) -> Value:
    one = Value("", (), np.array(1, np.float32))
    return call.graph.elementwise("Log", [call.graph.elementwise("Add", [*call.inputs, one])])


def _not_equal(call: Call) -> Value:
    return call.graph.elementwise("Not", [call.graph.elementwise("Equal", call.inputs)])


def _is_finite(call: Call) -> Value:
    tests = [call.graph.elementwise(kind, call.inputs) for kind in ("IsNaN", "IsInf")]
    return call.graph.elementwise("Not", [call.graph.elementwise("Or", tests)])


def _select(call: Call) -> Value:
    condition, if_false, if_true = call.inputs
    slope = _leaky_slope(call)
    if slope is not None:
        return call.graph.elementwise("LeakyRelu", [if_true], alpha=slope)
    return call.graph.elementwise("Where", [condition, if_true, if_false])


def _leaky_slope(call: Call) -> float | None:
    """Return the slope if a `select` primitive computes a leaky ReLU, else None.

    A leaky ReLU is `x if x >= 0 else slope * x`.
    """
    condition, if_false, if_true = call.inputs
    test, compared = call.graph.made_by(condition)
    kind, factors = call.graph.made_by(if_false)
    if test != "GreaterOrEqual" or kind != "Mul" or compared[0] != if_true.name:
        return None
    constants = [call.graph.initializers.get(name) for name in (compared[1], *factors)]
    zero, slopes = constants[0], [each for each in constants[1:] if each is not None]
    if if_true.name not in factors or zero is None or zero.any() or len(slopes) != 1:
        return None
    return float(slopes[0]) if slopes[0].size == 1 else None


def _clamp(call: Call) -> Value:
    low, value, high = call.inputs
    return call.graph.elementwise("Min", [call.graph.elementwise("Max", [value, low]), high])


def _reshape(call: Call) -> Value:
    return call.graph.reshape(call.whole(), call.sides)


def _broadcast(call: Call) -> Value:
    """Convert the JAX primitive that inserts axes into an array and repeats it along some axes.

    Only the axes are inserted. Repeated axes keep length 1, because ONNX broadcasts by itself.
    """
    sides: list[int | str] = [1] * len(call.sides)
    for axis, side in zip(call.parameters["broadcast_dimensions"], call.inputs[0].sides,
                          strict=True):  # fmt: skip
        sides[axis] = side
    return call.graph.reshape(call.inputs[0], sides)


def _transpose(call: Call) -> Value:
    return call.graph.transpose(call.inputs[0], call.parameters["permutation"])


def _slice(call: Call) -> Value:
    value, parameters = call.whole(), call.parameters
    strides = parameters["strides"] or (1,) * len(value.sides)
    axes = [axis for axis, side in enumerate(value.sides)
            if side != call.sides[axis] or strides[axis] != 1]  # fmt: skip
    if not axes:
        return value
    given = (parameters["start_indices"], parameters["limit_indices"], strides)
    rows = [[int(row[axis]) for axis in axes] for row in given]
    return _sliced(call, value, rows[0], rows[1], axes, rows[2])


def _reverse(call: Call) -> Value:
    axes = list(call.parameters["dimensions"])
    count = len(axes)
    return _sliced(call, call.whole(), [END] * count, [START] * count, axes, [-1] * count)


def _sliced(
    call: Call, value: Value, starts: list[int], ends: list[int], axes: list[int], steps: list[int]
) -> Value:
    arrays = [np.array(row, np.int64) for row in (starts, ends, axes, steps)]
    names = [call.graph.name(value), *map(call.graph.constant, arrays)]
    return call.graph.node("Slice", names, call.sides)


def _pad(call: Call) -> Value:
    value, graph = call.whole(0), call.graph
    low, high, interior = np.array(call.parameters["padding_config"], np.int64).T
    if interior.any():
        raise JaxlabelError("the network pads between pixels, which the ONNX writer does not know")
    amounts = graph.constant(np.concatenate([low, high]))
    fill = graph.name(call.inputs[1])
    return graph.node("Pad", [graph.name(value), amounts, fill], call.sides)


def _concatenate(call: Call) -> Value:
    parts = [call.whole(number) for number in range(len(call.inputs)) if not call.is_empty(number)]
    if len(parts) == 1:
        return parts[0]
    names = [call.graph.name(part) for part in parts]
    return call.graph.node("Concat", names, call.sides, axis=call.parameters["dimension"])


def _stack(call: Call) -> Value:
    axis, sides = int(call.parameters["axis"]), list(call.sides)
    sides[axis] = 1
    parts = [call.graph.reshape(call.whole(number), sides) for number in range(len(call.inputs))]
    return call.graph.node("Concat", [call.graph.name(part) for part in parts], call.sides,
                           axis=axis)  # fmt: skip


def _split(call: Call) -> list[Value]:
    value, axis, start, parts = call.whole(), call.parameters["axis"], 0, []
    for size in map(int, call.parameters["sizes"]):
        arrays = [np.array([number], np.int64) for number in (start, start + size, axis)]
        sides = [size if i == axis else side for i, side in enumerate(value.sides)]
        names = [call.graph.name(value), *map(call.graph.constant, arrays)]
        parts.append(call.graph.node("Slice", names, sides))
        start += size
    return parts


def _product(call: Call) -> Value:
    """Convert a matrix product to the ONNX operator MatMul if possible, else to Einsum."""
    graph, left, right = call.graph, call.whole(0), call.whole(1)
    (left_sum, right_sum), (left_batch, right_batch) = call.parameters["dimension_numbers"]
    last = len(left.sides) - 1
    if not left_batch and len(right.sides) == 2 and tuple(left_sum) == (last,):
        matrix = graph.transpose(right, (right_sum[0], 1 - right_sum[0]))
        return graph.node("MatMul", [graph.name(left), graph.name(matrix)], call.sides)
    letters = iter(string.ascii_lowercase)
    first = [next(letters) for _ in left.sides]
    second = [next(letters) for _ in right.sides]
    for one, other in zip([*left_sum, *left_batch], [*right_sum, *right_batch], strict=True):
        second[other] = first[one]
    shared = [first[axis] for axis in left_batch]
    used = {*left_sum, *left_batch}, {*right_sum, *right_batch}
    kept = [letter for axis, letter in enumerate(first) if axis not in used[0]]
    kept += [letter for axis, letter in enumerate(second) if axis not in used[1]]
    equation = f"{''.join(first)},{''.join(second)}->{''.join(shared + kept)}"
    names = [graph.name(left), graph.name(right)]
    return graph.node("Einsum", names, call.sides, equation=equation)


def _convolution(call: Call) -> Value:
    """Convert a convolution. JAX has the channels last and ONNX has them before the height."""
    graph, parameters = call.graph, call.parameters
    numbers = parameters["dimension_numbers"]
    if any(side != 1 for side in parameters["lhs_dilation"]) or parameters["batch_group_count"] > 1:
        raise JaxlabelError("the network uses a transposed convolution, which the ONNX writer does "
                            "not know")  # fmt: skip
    images = graph.transpose(call.whole(0), numbers.lhs_spec)
    kernel = graph.transpose(call.whole(1), numbers.rhs_spec)
    low, high = np.array(parameters["padding"]).T.tolist()
    sides = tuple(call.sides[axis] for axis in numbers.out_spec)
    made = graph.node(
        "Conv", [graph.name(images), graph.name(kernel)], sides, pads=[*low, *high],
        strides=list(parameters["window_strides"]), dilations=list(parameters["rhs_dilation"]),
        group=parameters["feature_group_count"],
    )  # fmt: skip
    return graph.transpose(made, np.argsort(numbers.out_spec).tolist())


CONVERTERS: dict[str, Callable[[Call], Value | list[Value]]] = {
    "broadcast_in_dim": _broadcast,
    "clamp": _clamp,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "convert_element_type": _cast,
    "dot_general": _product,
    "integer_pow": _integer_power,
    "is_finite": _is_finite,
    "log1p": _log1p,
    "ne": _not_equal,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _reverse,
    "rsqrt": _rsqrt,
    "select_n": _select,
    "slice": _slice,
    "split": _split,
    "square": _square,
    "squeeze": _reshape,
    "stack": _stack,
    "transpose": _transpose,
}
