"""Exact nearest neighbours, computed in blocks so that no n x n matrix is in memory."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxlabel.cluster.nearest import (
    block_rows,
    divide_into_lanes,
    smallest_scores,
    split_into_blocks,
)
from jaxlabel.errors import UsageError

# The largest number of scores in memory at one time: 256 MB, or 67 queries of a million features.
MAX_SCORES = 2**26


def knn(
    features: Float[Array, "n d"],
    queries: Float[Array, "m d"] | None,
    k: int,
    *,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    block: int = 0,
) -> tuple[Int[Array, "m k"], Float[Array, "m k"]]:
    """Find the k nearest neighbours of each query among the points in `features`.

    Args:
      features: the points to search, one per row.
      queries: the points whose neighbours to find. None to find, for each point of `features`, its
        neighbours among the other points.
      k: the number of neighbours of each query. If there are fewer points, all of them are
        returned.
      metric: "euclidean", or "cosine" for the distance 1 - cos(angle). The cosine distance of any
        vector to a vector of zeros is 1.
      block: the number of queries to process at once; 0 to choose a number that suits this machine.

    Returns:
      The indices of each query's neighbours in `features`, nearest first, and their distances.

    Raises:
      UsageError: there are no points to search, `k` is below 1, the metric is unknown, or the
        dimensions of `queries` and `features` differ.
    """
    available = len(features) - (queries is None)
    if min(k, available) < 1:
        raise UsageError(
            f"cannot find {k} neighbours among {available} other images: both numbers must be at "
            "least 1"
        )
    if metric not in ("euclidean", "cosine"):
        raise UsageError(f"metric {metric!r}: it is euclidean or cosine")
    if queries is not None and queries.shape[1] != features.shape[1]:
        raise UsageError(
            f"queries have {queries.shape[1]} dimensions, the features {features.shape[1]}"
        )
    features = jnp.asarray(features, jnp.float32)
    queries = None if queries is None else jnp.asarray(queries, jnp.float32)
    return _knn(features, queries, min(k, available), metric == "cosine", block)


@partial(jax.jit, static_argnames=("k", "cosine", "block"))
def _knn(
    features: Float[Array, "n d"],
    queries: Float[Array, "m d"] | None,
    k: int,
    cosine: bool,
    block: int,
) -> tuple[Int[Array, "m k"], Float[Array, "m k"]]:
    exclude_self = queries is None
    if queries is None:
        queries = features
    if cosine:
        features, queries = _unit(features), _unit(queries)
    else:
        mean = jnp.mean(features, axis=0)  # centred: products lose fewer digits
        features, queries = features - mean, queries - mean
    count = k + exclude_self
    columns = divide_into_lanes(features, count, norms=not cosine)
    fitting = max(256, block_rows(len(queries), len(features)))
    size = min(block or fitting, max(16, MAX_SCORES // len(features)), len(queries))

    def nearest(numbered: tuple[Array, Array]) -> tuple[Array, Array]:
        start, rows = numbered
        _, candidates = smallest_scores(columns, rows, count)
        own = start + jnp.arange(size) if exclude_self else None
        return rank_candidates(features, rows, candidates, own, k, cosine=cosine)

    blocked = split_into_blocks(queries, size)
    starts = size * jnp.arange(len(blocked))
    indices, distances = lax.map(nearest, (starts, blocked))
    num_queries = len(queries)
    return indices.reshape(-1, k)[:num_queries], distances.reshape(-1, k)[:num_queries]


def rank_candidates(
    features: Float[Array, "n d"],
    rows: Float[Array, "b d"],
    candidates: Int[Array, "b count"],
    own: Int[Array, "b"] | None,
    k: int,
    *,
    cosine: bool = False,
) -> tuple[Int[Array, "b k"], Float[Array, "b k"]]:
    """Return the k nearest of each query's candidates, nearest first, and their distances.

    Args:
      features: the points to search, of unit length if `cosine` is set.
      rows: the queries.
      candidates: for each query, the indices of points of which the nearest are wanted.
      own: for each query, the index of the point that is no neighbour, because it is the query
        itself; None if there is none.
      k: the number of neighbours.
      cosine: True for the cosine distance, False for the Euclidean one.
    """
    exact = _distances(rows, features[candidates], cosine)
    if own is not None:
        exact = jnp.where(candidates == own[:, None], jnp.inf, exact)
    exact, candidates = lax.sort((exact, candidates), num_keys=2)
    return candidates[:, :k], exact[:, :k]


def _unit(vectors: Float[Array, "n d"]) -> Float[Array, "n d"]:
    norm = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.where(norm > 0, norm, 1.0)


def _distances(
    rows: Float[Array, "b d"], points: Float[Array, "b k d"], cosine: bool
) -> Float[Array, "b k"]:
    if cosine:
        return jnp.maximum(1.0 - jnp.sum(rows[:, None] * points, axis=-1), 0.0)
    return jnp.sqrt(jnp.sum(jnp.square(rows[:, None] - points), axis=-1))
