"""Convert whole parts of networks to ONNX operators: norms, means of pixels, oriented gradients.

`CONVERTERS` has a function for each operation (`jaxlabel.nets.operations`). The nodes have the
channels before the height, as ONNX's operators do; the transpositions between them cancel out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxlabel.errors import JaxlabelError
from jaxlabel.experiment.export.onnx_graph import Graph, Value
from jaxlabel.nets import blocks, conv, gradients, native

CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def _norm(graph: Graph, inputs: list[Value], settings: dict[str, Any]) -> Value:
    """Convert group normalisation: normalise each group, then scale the channels, then activate.

    Scale and bias are a convolution of 1x1 pixels over one channel each, because ONNX Runtime
    computes it and the leaky ReLU in one pass.
    """
    images, scale, bias = inputs
    value = graph.transpose(images, CHANNELS_FIRST)
    n, channels, height, width = value.sides
    groups = settings["num_groups"]
    size = int(channels) // groups * int(height) * int(width)
    rows = graph.reshape(value, (n, groups, size))
    neutral = [graph.constant(np.full(groups, number, np.float32)) for number in (1, 0)]
    normed = graph.node("InstanceNormalization", [rows.name, *neutral], rows.sides,
                        epsilon=settings["epsilon"])  # fmt: skip
    normed = graph.reshape(normed, value.sides)
    kernel = graph.reshape(scale, (channels, 1, 1, 1))
    names = [normed.name, graph.name(kernel), graph.name(bias)]
    scaled = graph.node("Conv", names, value.sides, kernel_shape=[1, 1], group=channels)
    activated = _activation(graph, scaled, settings["negative_slope"])
    return graph.transpose(activated, CHANNELS_LAST)


def _activation(graph: Graph, value: Value, slope: float) -> Value:
    """Add a leaky ReLU with a slope below zero; slope 0 gives a ReLU, and slope 1 nothing."""
    if slope == 1:
        return value
    if slope == 0:
        return graph.node("Relu", [value.name], value.sides)
    return graph.node("LeakyRelu", [value.name], value.sides, alpha=slope)


def _halve(graph: Graph, inputs: list[Value], _: dict[str, Any]) -> Value:
    """Convert means over 2x2 pixels; at an odd side, the last mean is over the last row alone."""
    value = graph.transpose(inputs[0], CHANNELS_FIRST)
    n, channels, height, width = value.sides
    odd = [int(side) % 2 for side in (height, width)]
    sides = (n, channels, (int(height) + 1) // 2, (int(width) + 1) // 2)
    made = graph.node("AveragePool", [value.name], sides, kernel_shape=[2, 2], strides=[2, 2],
                      pads=[0, 0, *odd], count_include_pad=0)  # fmt: skip
    return graph.transpose(made, CHANNELS_LAST)


def _space_to_depth(graph: Graph, inputs: list[Value], _: dict[str, Any]) -> Value:
    value = graph.transpose(inputs[0], CHANNELS_FIRST)
    n, channels, height, width = value.sides
    sides = (n, 4 * int(channels), int(height) // 2, int(width) // 2)
    made = graph.node("SpaceToDepth", [value.name], sides, blocksize=2)
    return graph.transpose(made, CHANNELS_LAST)


def _gradient_maps(graph: Graph, inputs: list[Value], settings: dict[str, Any]) -> Value:
    """Convert the maps of oriented gradients: a convolution for the gradients, one for the cells.

    A gradient of size `s` counts for an orientation with `relu(along / s)**4 * s`, where `along` is
    its component in this direction. This is computed as `relu(along)**4 / s**3`. As each
    orientation has an opposite one, the squares of all `relu(along)` have the sum
    `s**2 * bins / 4`.

    Raises:
      JaxlabelError: the number of orientations is not even, or it is 2.
    """
    value = graph.transpose(inputs[0], CHANNELS_FIRST)
    n, channels, height, width = value.sides
    bins, cell = settings["bins"], settings["cell"]
    if bins % 2 or bins < 4:
        raise JaxlabelError("the ONNX writer takes oriented gradients with 4, 6, 8, ... bins")
    one = graph.constant(np.array([1], np.int64))  # the axis of the channels
    grey = value
    if channels != 1:
        grey = graph.node("ReduceMean", [value.name, one], (n, 1, height, width), keepdims=1)
    along = graph.node(
        "Conv", [grey.name, graph.constant(_directions(bins))], (n, bins, height, width),
        kernel_shape=[3, 3], pads=[1, 1, 1, 1],
    )  # fmt: skip
    power = _multiply(graph, *[graph.node("Relu", [along.name], along.sides)] * 2)
    total = graph.node("ReduceSum", [power.name, one], grey.sides, keepdims=1)
    squared = _multiply(graph, total, _number(4 / bins))
    squared = graph.node("Add", [squared.name, graph.name(_number(1e-8))], grey.sides)
    cubed = _multiply(graph, squared, graph.node("Sqrt", [squared.name], grey.sides))
    factor = graph.node("Reciprocal", [cubed.name], grey.sides)
    pooled = _pooled(graph, _multiply(graph, _multiply(graph, power, power), factor), cell)
    if settings["pixels"]:
        sides = (n, bins + int(channels), *pooled.sides[2:])
        names = [pooled.name, _pooled(graph, value, cell).name]
        pooled = graph.node("Concat", names, sides, axis=1)
    large = graph.node("Max", [pooled.name, graph.name(_number(1e-6))], pooled.sides)
    return graph.transpose(graph.node("Sqrt", [large.name], pooled.sides), CHANNELS_LAST)


def _number(value: float) -> Value:
    return Value("", (), np.array(value, np.float32))


def _multiply(graph: Graph, first: Value, second: Value) -> Value:
    return graph.node("Mul", [first.name, graph.name(second)], first.sides)


def _directions(bins: int) -> Float[np.ndarray, "bins 1 3 3"]:
    """Return the kernel of a convolution for the component of the gradient in each direction."""
    kernel = np.zeros((bins, 1, 3, 3), np.float32)
    angles = np.arange(bins) * 2 * np.pi / bins
    kernel[:, 0, 1, 2], kernel[:, 0, 1, 0] = np.cos(angles), -np.cos(angles)
    kernel[:, 0, 2, 1], kernel[:, 0, 0, 1] = np.sin(angles), -np.sin(angles)
    return kernel


def _pooled(graph: Graph, value: Value, cell: int) -> Value:
    """Convert `gradients.pool_cells` along height and width: a convolution of each channel."""
    n, channels, height, width = value.sides
    down, right = (gradients.cell_weights(int(side), cell) for side in (height, width))
    weights = np.outer(down.weights, right.weights).astype(np.float32)
    kernel = np.repeat(weights[None, None], int(channels), axis=0)
    return graph.node(
        "Conv", [value.name, graph.constant(kernel)],
        (n, channels, down.num_cells, right.num_cells),
        kernel_shape=list(weights.shape), strides=[cell, cell], group=channels,
        pads=[down.before, right.before, down.after, right.after],
    )  # fmt: skip


CONVERTERS: dict[Callable[..., Any], Callable[[Graph, list[Value], dict[str, Any]], Value]] = {
    native.norm_activation: _norm,
    conv.halve: _halve,
    blocks.space_to_depth: _space_to_depth,
    gradients.gradient_maps: _gradient_maps,
}
