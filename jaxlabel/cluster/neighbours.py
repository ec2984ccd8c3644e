"""Exact nearest neighbours, block by block: never an n x n matrix."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxlabel.cluster.nearest import block_rows, blocks, shard, smallest
from jaxlabel.errors import UsageError

MOST_SCORES = 2**26  # alive at one time, 256 MB: of a million features 67 queries are a block


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
        raise UsageError(f"{k} neighbours among {available} other images: both must be at least 1; "
                         "are there more images?")  # fmt: skip
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
        mean = jnp.mean(features, axis=0)  # centred, fewer digits are lost in the products
        features, queries = features - mean, queries - mean
    count = k + exclude_self
    columns = shard(features, count, norms=not cosine)
    fitting = max(256, block_rows(len(queries), len(features)))
    size = min(block or fitting, max(16, MOST_SCORES // len(features)), len(queries))

    def nearest(numbered: tuple[Array, Array]) -> tuple[Array, Array]:
        start, rows = numbered
        _, found = smallest(columns, rows, count)
        exact = _distances(rows, features[found], cosine)
        if exclude_self:
            own = start + jnp.arange(size)
            exact = jnp.where(found == own[:, None], jnp.inf, exact)
        exact, found = lax.sort((exact, found), num_keys=2)
        return found[:, :k], exact[:, :k]

    blocked = blocks(queries, size)
    starts = size * jnp.arange(len(blocked))
    indices, distances = lax.map(nearest, (starts, blocked))
    num_queries = len(queries)
    return indices.reshape(-1, k)[:num_queries], distances.reshape(-1, k)[:num_queries]


def _unit(vectors: Float[Array, "n d"]) -> Float[Array, "n d"]:
    norm = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.where(norm > 0, norm, 1.0)


def _distances(
    rows: Float[Array, "b d"], points: Float[Array, "b k d"], cosine: bool
) -> Float[Array, "b k"]:
    if cosine:
        return jnp.maximum(1.0 - jnp.sum(rows[:, None] * points, axis=-1), 0.0)
    return jnp.sqrt(jnp.sum(jnp.square(rows[:, None] - points), axis=-1))
