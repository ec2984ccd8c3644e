"""Exact search for each row's points of smallest score, such as its nearest neighbours.

XLA's argmin and top_k read a row one number at a time on a CPU: on 60,000 x 256 scores they take
three times as long as the matrix product that computes the scores. Here the points are divided into
lanes (point i is in lane i mod num_lanes). One vectorised pass computes the smallest score of each
lane, and only the lanes that can hold one of the smallest scores are searched.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

# The number of scores in memory at one time: on a CPU they should fit into the cores' cache.
BLOCK_SCORES = {"cpu": 2**19}
BLOCK_SCORES_ELSEWHERE = 2**25

Pair = tuple[Array, Array]


def block_rows(num_rows: int, num_columns: int) -> int:
    """Return the number of rows of a distance matrix to compute at once on this machine.

    A block of this many rows fits into memory, and on a CPU about into its cache. The result is at
    most `num_rows`.

    Args:
      num_rows: the number of rows of the whole matrix.
      num_columns: the number of columns of the matrix.
    """
    scores = BLOCK_SCORES.get(jax.default_backend(), BLOCK_SCORES_ELSEWHERE)
    return max(1, min(num_rows, max(64, scores // num_columns)))


def split_into_blocks(rows: Float[Array, "n d"], size: int) -> Float[Array, "blocks size d"]:
    """Split a matrix into blocks of `size` rows, and return them stacked on a new first axis.

    The last block is filled up with rows of zeros.
    """
    num_blocks = -(-len(rows) // size)
    return jnp.pad(rows, ((0, num_blocks * size - len(rows)), (0, 0))).reshape(num_blocks, size, -1)


class Columns(NamedTuple):
    """The points that `smallest_scores` searches, divided into groups ("lanes") for speed.

    The score of a point for a query vector is |point|^2 / 2 - query . point, or only -query .
    point. Point i is in lane i mod num_lanes. The search first finds the smallest score of each
    lane, and then looks only into the lanes where this score is small.

    Attributes:
      points: the points, padded with zeros to a multiple of the number of lanes.
      offsets: the first term of each point's score, |point|^2 / 2, or 0 if the score has only the
        second term; infinite for padding.
    """

    points: Float[Array, "depth*lanes d"]
    offsets: Float[Array, "depth lanes"]


def divide_into_lanes(
    points: Float[Array, "m d"], count: int, *, norms: bool = True,
    num_valid: int | Int[Array, ""] | None = None,
) -> Columns:  # fmt: skip
    """Divide points into groups ("lanes"), in which `smallest_scores` searches faster.

    The number of lanes is the one that makes the search for the `count` smallest scores fastest.
    The score of a point for a query vector is |point|^2 / 2 - query . point, which orders points by
    their Euclidean distance to the query vector.

    Args:
      points: the points to search, one per row.
      count: the number of smallest scores to find.
      norms: False to use the score -query . point, without |point|^2 / 2.
      num_valid: the search finds only the first `num_valid` points; None for all points.

    Returns:
      The points in lanes, and the part |point|^2 / 2 of their scores.
    """
    num_points = len(points)
    # The search ranks all num_points / depth lanes, then searches `count` lanes of this depth.
    depth = max(1, min(num_points // count, round((num_points / count) ** 0.5)))
    lanes = -(-num_points // depth)
    missing = depth * lanes - num_points
    half = 0.5 * jnp.sum(jnp.square(points), axis=1) if norms else jnp.zeros(num_points)
    if num_valid is not None:
        half = jnp.where(jnp.arange(num_points) < num_valid, half, np.inf)
    half = jnp.pad(half, (0, missing), constant_values=np.inf)
    return Columns(jnp.pad(points, ((0, missing), (0, 0))), half.reshape(depth, lanes))


def smallest_scores(
    columns: Columns, rows: Float[Array, "b d"], count: int
) -> tuple[Float[Array, "b count"], Int[Array, "b count"]]:
    """Find, for each query vector, the `count` points of smallest score, such as the nearest ones.

    The score of a point is |point|^2 / 2 - query . point, which is smallest for the nearest point.
    If `divide_into_lanes` was called with `norms=False`, the score is -query . point.

    Args:
      columns: the points to search, from `divide_into_lanes`.
      rows: the query vectors, one per row.
      count: the number of points to find for each query vector.

    Returns:
      For each query vector, the `count` smallest scores in ascending order, and the indices of the
      points with these scores.
    """
    depth, num_lanes = columns.offsets.shape
    products = jnp.matmul(rows, columns.points.T, precision=lax.Precision.HIGHEST)
    # Without the barriers, XLA would recompute the product for each of its uses.
    products = lax.optimization_barrier(products).reshape(-1, depth, num_lanes)
    minima = lax.optimization_barrier(jnp.min(columns.offsets - products, axis=1))
    _, lanes = _lowest(minima, count)
    in_lanes = jnp.take_along_axis(products, lanes[:, None, :], axis=2)
    scores = jnp.swapaxes(columns.offsets, 0, 1)[lanes] - jnp.swapaxes(in_lanes, 1, 2)
    scores = lax.optimization_barrier(scores.reshape(len(rows), -1))
    values, position = _lowest(scores, count)
    lane = jnp.take_along_axis(lanes, position // depth, axis=1)
    return values, (position % depth) * num_lanes + lane


def _lowest(
    scores: Float[Array, "b m"], count: int
) -> tuple[Float[Array, "b count"], Int[Array, "b count"]]:
    if count > 1:
        values, columns = lax.top_k(-scores, count)
        return -values, columns
    index = lax.broadcasted_iota(jnp.int32, scores.shape, 1)

    def lower(first: Pair, second: Pair) -> Pair:
        keep = first[0] <= second[0]
        return jnp.where(keep, first[0], second[0]), jnp.where(keep, first[1], second[1])

    initial = (np.float32(np.inf), np.int32(0))
    value, column = lax.reduce((scores, index), initial, lower, (1,))
    return value[:, None], column[:, None]
