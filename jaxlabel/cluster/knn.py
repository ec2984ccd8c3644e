"""Exact nearest neighbours, block by block: never an n x n matrix."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxlabel.cluster.nearest import Columns, block_rows, blocks
from jaxlabel.errors import UsageError


def knn(
    features: Float[Array, "n d"],
    queries: Float[Array, "m d"] | None,
    k: int,
    *,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    block: int = 0,
) -> tuple[Int[Array, "m k"], Float[Array, "m k"]]:
    """The k nearest features of each query, nearest first, and their distances.

    With `queries=None` each feature asks for its neighbours, itself left out. The cosine distance
    is 1 - cos, and 1 to a vector of zeros. In a small set k is all there are. `block` is the
    number of queries at once; 0 chooses it for this machine.

    Raises:
      UsageError: no neighbour to be had, another metric, or queries of other dimension.
    """
    available = len(features) - (queries is None)
    if min(k, available) < 1:
        raise UsageError(f"{k} neighbours among {available} others: both must be at least 1")
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
def _knn(features, queries, k, cosine, block):
    exclude_self = queries is None
    queries = features if exclude_self else queries
    if cosine:
        features, queries = _unit(features), _unit(queries)
    else:
        mean = jnp.mean(features, axis=0)  # centred, fewer digits are lost in the products
        features, queries = features - mean, queries - mean
    columns = Columns(features, k + exclude_self, offsets=not cosine)
    size = min(block or max(64, block_rows(len(queries), len(features))), len(queries))

    def nearest(numbered):
        start, rows = numbered
        _, found = columns.smallest(rows)
        exact = _distances(rows, features[found], cosine)
        if exclude_self:
            own = start + jnp.arange(size)
            exact = jnp.where(found == own[:, None], jnp.inf, exact)
        exact, found = lax.sort((exact, found), num_keys=2)
        return found[:, :k], exact[:, :k]

    blocked = blocks(queries, size)
    starts = size * jnp.arange(len(blocked))
    indices, distances = lax.map(nearest, (starts, blocked))
    return tuple(a.reshape(-1, k)[: len(queries)] for a in (indices, distances))


def _unit(vectors):
    norm = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.where(norm > 0, norm, 1.0)


def _distances(rows, points, cosine):
    if cosine:
        return jnp.maximum(1.0 - jnp.sum(rows[:, None] * points, axis=-1), 0.0)
    return jnp.sqrt(jnp.sum(jnp.square(rows[:, None] - points), axis=-1))
