"""Collect the nodes of an ONNX graph, and keep track of the shape of each value.

A value that JAX has broadcast keeps sides of length 1 in ONNX as long as possible, because ONNX's
arithmetic broadcasts by itself.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

OPSET = 18
BATCH = "batch"


class Value(NamedTuple):
    """A value in the graph: a constant, or the output of a node.

    Attributes:
      name: the name in the graph; "" for a constant that no node has used yet.
      sides: the sides of the array that ONNX holds: numbers, or `BATCH` for the number of images.
        A side of 1 may stand for a longer side of JAX's array.
      constant: the array, if the value is known without images.
    """

    name: str
    sides: tuple[int | str, ...]
    constant: np.ndarray | None = None


def sides_of(aval: Any) -> tuple[int | str, ...]:
    """Return the sides of a JAX array's type, with `BATCH` for the symbolic one."""
    return tuple(side if isinstance(side, int) else BATCH for side in aval.shape)


def broadcast_sides(values: Sequence[Value]) -> tuple[int | str, ...]:
    """Return the sides of the result of ONNX's arithmetic on these values."""
    rank = max(len(value.sides) for value in values)
    shapes = [(1,) * (rank - len(value.sides)) + value.sides for value in values]
    return tuple(next((side for side in sides if side != 1), 1)
                 for sides in zip(*shapes, strict=True))  # fmt: skip


class Graph:
    """The nodes and constants of an ONNX graph that grows."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray] = {}
        self._count = 0
        self._interned: dict[tuple[Any, ...], str] = {}
        self._made: dict[str, tuple[str, list[str]]] = {}

    def node(
        self, kind: str, inputs: Sequence[str], sides: Sequence[int | str], **attributes: Any
    ) -> Value:
        """Add a node with one output and return the output."""
        from onnx import helper

        self._count += 1
        name = f"{kind.lower()}_{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        self._made[name] = kind, list(inputs)
        return Value(name, tuple(sides))

    def made_by(self, value: Value) -> tuple[str, list[str]]:
        """Return the kind and the inputs of the node that made a value; ("", []) if none did."""
        return self._made.get(value.name, ("", []))

    def constant(self, array: np.ndarray) -> str:
        """Return the name of a constant, and store it unless an equal one is stored."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._interned:
            name = f"constant_{len(self.initializers)}"
            self.initializers[name] = array
            self._interned[key] = name
        return self._interned[key]

    def name(self, value: Value) -> str:
        """Return the name by which nodes refer to a value."""
        return value.name if value.constant is None else self.constant(value.constant)

    def reshape(self, value: Value, sides: Sequence[int | str]) -> Value:
        """Reshape a value; at most one side may be the batch."""
        sides = tuple(sides)
        if sides == value.sides:
            return value
        if value.constant is not None:
            return Value("", sides, value.constant.reshape([int(side) for side in sides]))
        target = np.array([-1 if side == BATCH else side for side in sides], np.int64)
        return self.node("Reshape", [value.name, self.constant(target)], sides)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """Permute the axes of a value."""
        if list(order) == list(range(len(value.sides))):
            return value
        sides = tuple(value.sides[axis] for axis in order)
        if value.constant is not None:
            return Value("", sides, np.transpose(value.constant, order))
        return self.node("Transpose", [value.name], sides, perm=list(order))

    def expanded(self, value: Value, sides: Sequence[int | str], batch_of: str) -> Value:
        """Repeat the sides of length 1 until the value has the sides that JAX's array has.

        Args:
          sides: the sides of JAX's array.
          batch_of: the name of an input whose first side is the number of images.
        """
        sides = tuple(sides)
        if sides == value.sides:
            return value
        if BATCH not in sides:
            target = self.constant(np.array(sides, np.int64))
        else:
            batch = self.node("Shape", [batch_of], (1,), start=0, end=1)
            parts = [
                batch.name if side == BATCH else self.constant(np.array([side], np.int64))
                for side in sides
            ]
            target = self.node("Concat", parts, (len(sides),), axis=0).name
        return self.node("Expand", [self.name(value), target], sides)

    def model(self, shape: Sequence[int], output: Value, description: str) -> bytes:
        """Return the ONNX file of the graph, from input "images" to output "probabilities"."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        nodes = [
            *self.nodes,
            helper.make_node("Identity", [self.name(output)], ["probabilities"], name="last"),
        ]
        images = helper.make_tensor_value_info("images", TensorProto.UINT8, [BATCH, *shape])
        sides = [BATCH, output.sides[1]]
        probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, sides)
        stored = [numpy_helper.from_array(np.ascontiguousarray(array), name)
                  for name, array in self.initializers.items()]  # fmt: skip
        graph = helper.make_graph(nodes, "jaxlabel", [images], [probabilities], stored)
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9,
            producer_name="jaxlabel", doc_string=description,
        )  # fmt: skip
        onnx.checker.check_model(made)
        return bytes(made.SerializeToString())
