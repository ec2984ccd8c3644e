"""Collect the nodes of an ONNX graph, and keep the shape of each value.

If JAX broadcasts an array, its value in the ONNX graph keeps sides of length 1 as long as possible,
because ONNX's arithmetic broadcasts by itself.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

OPSET = 18
BATCH = "batch"


class Value(NamedTuple):
    """A value in an ONNX graph: a constant, or the output of a node.

    Attributes:
      name: the name in the graph; empty for a constant that no node has used yet.
      sides: the lengths of the array's axes in ONNX: numbers, or `BATCH` for the number of images.
        The length is 1 for an axis along which JAX has repeated the array.
      constant: the array, if the value does not depend on the images; else None.
    """

    name: str
    sides: tuple[int | str, ...]
    constant: np.ndarray | None = None


def sides_of(aval: Any) -> tuple[int | str, ...]:
    """Return the shape of a JAX array type, with `BATCH` for the symbolic number of images."""
    return tuple(side if isinstance(side, int) else BATCH for side in aval.shape)


def broadcast_sides(values: Sequence[Value]) -> tuple[int | str, ...]:
    """Return the shape of the result of an elementwise operation on values, after broadcasting."""
    rank = max(len(value.sides) for value in values)
    shapes = [(1,) * (rank - len(value.sides)) + value.sides for value in values]
    return tuple(next((side for side in sides if side != 1), 1)
                 for sides in zip(*shapes, strict=True))  # fmt: skip


class Graph:
    """An ONNX graph under construction: the nodes and constants that were added so far."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray] = {}
        self._count = 0
        self._interned: dict[tuple[Any, ...], str] = {}
        self._made: dict[str, tuple[str, list[str]]] = {}
        self._transposed: dict[str, tuple[Value, tuple[int, ...]]] = {}

    def node(
        self, kind: str, inputs: Sequence[str], sides: Sequence[int | str], **attributes: Any
    ) -> Value:
        """Add a node with one output to the graph, and return the output.

        Args:
          kind: the name of the ONNX operator, such as "MatMul".
          inputs: the names of the inputs.
          sides: the shape of the output.
          attributes: the attributes of the operator.
        """
        from onnx import helper

        self._count += 1
        name = f"{kind.lower()}_{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        self._made[name] = kind, list(inputs)
        return Value(name, tuple(sides))

    def made_by(self, value: Value) -> tuple[str, list[str]]:
        """Return the operator and the input names of the node whose output is `value`.

        The result is ("", []) if the value is not the output of a node.
        """
        return self._made.get(value.name, ("", []))

    def constant(self, array: np.ndarray) -> str:
        """Store an array in the graph and return its name; equal arrays are stored once."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._interned:
            name = f"constant_{len(self.initializers)}"
            self.initializers[name] = array
            self._interned[key] = name
        return self._interned[key]

    def name(self, value: Value) -> str:
        """Return the name of a value in the graph; a constant is first stored in the graph."""
        return value.name if value.constant is None else self.constant(value.constant)

    def reshape(self, value: Value, sides: Sequence[int | str]) -> Value:
        """Return a value with another shape; a node is added if needed.

        At most one element of `sides`, the new shape, may be `BATCH`.
        """
        sides = tuple(sides)
        if sides == value.sides:
            return value
        if value.constant is not None:
            return Value("", sides, value.constant.reshape([int(side) for side in sides]))
        target = np.array([-1 if side == BATCH else side for side in sides], np.int64)
        return self.node("Reshape", [value.name, self.constant(target)], sides)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """Return a value with its axes in another order; a node is added if needed."""
        if value.name in self._transposed:  # two transpositions become one, or none
            source, earlier = self._transposed[value.name]
            return self.transpose(source, [earlier[axis] for axis in order])
        if list(order) == list(range(len(value.sides))):
            return value
        sides = tuple(value.sides[axis] for axis in order)
        if value.constant is not None:
            return Value("", sides, np.transpose(value.constant, order))
        if [axis for axis in order if value.sides[axis] != 1] == [
            axis for axis, side in enumerate(value.sides) if side != 1
        ]:  # only axes of length 1 move: a Reshape does not copy the numbers
            made = self.reshape(value, sides)
            if made is value:
                return value
        else:
            made = self.node("Transpose", [value.name], sides, perm=list(order))
        self._transposed[made.name] = value, tuple(order)
        return made

    def order_of(self, value: Value) -> tuple[int, ...]:
        """Return the order of axes to which `transpose` has brought a value; else ()."""
        return self._transposed[value.name][1] if value.name in self._transposed else ()

    def elementwise(self, kind: str, inputs: Sequence[Value], **attributes: Any) -> Value:
        """Add a node for an elementwise operator, which broadcasts its inputs.

        If the inputs are transposed, the operator is applied before the transposition, which may
        then cancel out with a later one.

        Args:
          kind: the name of the ONNX operator, such as "Add".
          inputs: the inputs.
          attributes: the attributes of the operator.
        """
        arrays = [value for value in inputs if value.sides != ()]
        orders = {self.order_of(value) for value in arrays if value.constant is None}
        order = orders.pop() if len(orders) == 1 else ()
        if order and {len(value.sides) for value in arrays} == {len(order)}:
            back = np.argsort(order).tolist()
            before = [value if value.sides == () else self.transpose(value, back)
                      for value in inputs]  # fmt: skip
            return self.transpose(self.elementwise(kind, before, **attributes), order)
        names = [self.name(value) for value in inputs]
        return self.node(kind, names, broadcast_sides(inputs), **attributes)

    def images(self, shape: Sequence[int]) -> Value:
        """Return the graph's input "images" (batch, height, width, channels).

        Grey images are stored with the channel first: ONNX Runtime's arithmetic is 50 times slower
        if the last axis has length 1.

        Args:
          shape: height, width and channels of an image.
        """
        height, width, channels = shape
        given = Value("images", (BATCH, height, width, channels))
        if channels > 1:
            return given
        return self.transpose(self.reshape(given, (BATCH, 1, height, width)), (0, 2, 3, 1))

    def expanded(self, value: Value, sides: Sequence[int | str], batch_of: str) -> Value:
        """Return a value repeated along its axes of length 1 to the shape of JAX's array.

        Args:
          value: the value, which may have axes of length 1 along which JAX has repeated the array.
          sides: the shape of JAX's array.
          batch_of: the name of an input whose first axis has the length of the number of images.
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
        """Return the bytes of the ONNX file of the graph.

        Args:
          shape: height, width and channels of the input "images".
          output: the value that becomes the output "probabilities".
          description: a text to store in the file.
        """
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        last = helper.make_node("Identity", [self.name(output)], ["probabilities"], name="last")
        nodes, used = [last], set(last.input)
        for node in reversed(self.nodes):  # without the nodes whose output nothing uses
            if used & set(node.output):
                nodes.insert(0, node)
                used |= set(node.input)
        images = helper.make_tensor_value_info("images", TensorProto.UINT8, [BATCH, *shape])
        sides = [BATCH, output.sides[1]]
        probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, sides)
        stored = [numpy_helper.from_array(np.ascontiguousarray(array), name)
                  for name, array in self.initializers.items() if name in used]  # fmt: skip
        graph = helper.make_graph(nodes, "jaxlabel", [images], [probabilities], stored)
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9,
            producer_name="jaxlabel", doc_string=description,
        )  # fmt: skip
        onnx.checker.check_model(made)
        return bytes(made.SerializeToString())
