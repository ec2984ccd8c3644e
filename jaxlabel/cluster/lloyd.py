"""k-means clustering (Lloyd's algorithm) and medoids on the device."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxlabel.cluster.nearest import (
    block_rows,
    divide_into_lanes,
    smallest_scores,
    split_into_blocks,
)
from jaxlabel.cluster.plus_plus import plus_plus
from jaxlabel.errors import DataError, UsageError

# Up to this number of given centroids, k-means is compiled once: fewer ones are padded.
MIN_CLUSTERS = 64

Sums = tuple[Float[Array, "k d"], Float[Array, "k"]]
State = tuple[Array, Array, Array, Array, Array]  # count, centroids, assignments, shift, done


class KMeans(NamedTuple):
    """The result of k-means clustering.

    Attributes:
      centroids: the mean of each cluster.
      assignments: for each point, the index of the nearest centroid, which is that of its cluster.
      inertia: the sum over all points of the squared distance to the centroid of their cluster.
      sizes: the number of points in each cluster; 0 only if there are fewer distinct points than
        clusters.
      num_iterations: the number of times that the centroids were updated.
    """

    centroids: Float[Array, "k d"]
    assignments: Int[Array, "n"]
    inertia: Float[Array, ""]
    sizes: Int[Array, "k"]
    num_iterations: Int[Array, ""]


def kmeans(
    key: Key[Array, ""],
    features: Float[Array, "n d"],
    num_clusters: int,
    *,
    init: Float[Array, "k d"] | Float[np.ndarray, "k d"] | None = None,
    num_iterations: int = 100,
    num_init: int = 1,
    tolerance: float = 1e-4,
) -> KMeans:
    """Cluster the points in `features` by k-means and return the best of `num_init` runs.

    The best run is the one of lowest inertia. A run starts from the centroids `init`. If `init` is
    None, it starts from centroids that greedy k-means++ (Arthur & Vassilvitskii 2007) chooses on a
    random subsample. It continues by Lloyd's algorithm (Lloyd 1982). A cluster that loses all its
    points restarts at the point farthest from its centroid. Calls with equal arguments return bit
    for bit the same result.

    Args:
      init: the initial centroids, for a single run; None for k-means++.
      num_iterations: the largest number of updates of the centroids in a run.
      num_init: the number of runs from different random starts; ignored if `init` is given.
      tolerance: a run stops when the summed squared shift of the centroids is at most `tolerance`
        times the mean variance of the features (scikit-learn's rule). With 0 a run stops only when
        no centroid moves.

    Raises:
      UsageError: there are more clusters than points, or `init` has the wrong shape.
      DataError: a feature is not finite.
    """
    features = jnp.asarray(features, jnp.float32)
    if not 1 <= num_clusters <= len(features):
        raise UsageError(
            f"{num_clusters} clusters of {len(features)} points: ask for 1 to {len(features)}"
        )
    if init is not None and init.shape != (num_clusters, features.shape[1]):
        raise UsageError(
            f"init has shape {init.shape}: {(num_clusters, features.shape[1])} is needed"
        )
    if init is None:
        keys = jax.random.split(key, num_init)
        result = _best_run(keys, features, num_clusters, num_iterations, tolerance)
    else:
        start = _pad_centroids(np.asarray(init, np.float32), len(features))
        padded = _run_from(start, features, num_clusters, num_iterations, tolerance)
        centroids, sizes = (np.asarray(a)[:num_clusters] for a in (padded[0], padded[3]))
        result = padded._replace(centroids=centroids, sizes=sizes)
    if not np.isfinite(result.inertia):
        raise DataError(
            "k-means needs finite features, but these are not finite: look for NaN or inf"
        )
    return result


def medoids(
    features: Float[Array, "n d"], centroids: Float[Array, "k d"], assignments: Int[Array, "n"]
) -> Int[np.ndarray, "k"]:
    """Return the index of the medoid of each cluster: its point nearest to the centroid.

    Of several equally near points, the one with the smallest index is the medoid. The index is -1
    for an empty cluster.
    """
    padded = _pad_centroids(centroids, len(features))
    return np.asarray(_medoids(jnp.asarray(features), padded, assignments))[: len(centroids)]


def distances(
    features: Float[Array, "n d"], centroids: Float[Array, "k d"], assignments: Int[Array, "n"]
) -> Float[np.ndarray, "n"]:
    """Return the Euclidean distance of each point to the centroid of its own cluster.

    Args:
      features: one point per row.
      centroids: the centroid of each cluster.
      assignments: for each point, the index of its cluster.
    """
    padded = _pad_centroids(centroids, len(features))
    return np.sqrt(_squared_distances(jnp.asarray(features), padded, assignments))


def _pad_centroids(
    centroids: Float[Array, "k d"] | Float[np.ndarray, "k d"], num_points: int
) -> Float[np.ndarray, "m d"]:
    """Append zeros to the centroids, so that functions compiled for few clusters are shared.

    Args:
      num_points: the number of points; it bounds the number of centroids.
    """
    rows = np.asarray(centroids)
    missing = max(0, min(MIN_CLUSTERS, num_points) - len(rows))
    return np.pad(rows, ((0, missing), (0, 0)))


@jax.jit
def _squared_distances(
    features: Float[Array, "n d"], centroids: Float[Array, "k d"], assignments: Int[Array, "n"]
) -> Float[Array, "n"]:
    return jnp.sum(jnp.square(features - centroids[assignments]), axis=1)


@jax.jit
def _medoids(
    features: Float[Array, "n d"], centroids: Float[Array, "k d"], assignments: Int[Array, "n"]
) -> Int[Array, "k"]:
    num_clusters, num_points = len(centroids), len(features)
    squared = _squared_distances(features, centroids, assignments)
    least = jax.ops.segment_min(squared, assignments, num_clusters)
    candidates = jnp.where(squared == least[assignments], jnp.arange(num_points), num_points)
    first = jax.ops.segment_min(candidates, assignments, num_clusters)
    return jnp.where(first < num_points, first, -1)


@partial(jax.jit, static_argnames="num_clusters")
def _best_run(
    keys: Key[Array, "runs"],
    features: Float[Array, "n d"],
    num_clusters: int,
    num_iterations: int,
    tolerance: float,
) -> KMeans:
    # Centre the features: the scores |c|^2 / 2 - x . c then lose fewer digits.
    mean = jnp.mean(features, axis=0)
    features = features - mean

    def run(key: Array) -> KMeans:
        start = plus_plus(key, features, num_clusters)
        return _lloyd(features, start, num_clusters, num_iterations, tolerance)

    if len(keys) == 1:
        best = run(keys[0])
        return best._replace(centroids=best.centroids + mean)
    runs = lax.map(run, keys)
    best = jax.tree.map(lambda leaf: leaf[jnp.argmin(runs.inertia)], runs)
    return best._replace(centroids=best.centroids + mean)


@jax.jit
def _run_from(
    start: Float[Array, "m d"],
    features: Float[Array, "n d"],
    num_clusters: Int[Array, ""],
    num_iterations: int,
    tolerance: float,
) -> KMeans:
    """Run k-means from the first `num_clusters` rows of `start`; the other rows are padding."""
    mean = jnp.mean(features, axis=0)
    result = _lloyd(features - mean, start - mean, num_clusters, num_iterations, tolerance)
    return result._replace(centroids=result.centroids + mean)


def _lloyd(
    features: Float[Array, "n d"],
    centroids: Float[Array, "m d"],
    num_clusters: int | Int[Array, ""],
    num_iterations: int,
    tolerance: float,
) -> KMeans:
    """Run Lloyd's algorithm on centred features.

    Args:
      centroids: the initial centroids, of which only the first `num_clusters` count.
    """
    num_rows = len(centroids)
    is_cluster = jnp.arange(num_rows) < num_clusters
    size = block_rows(len(features), num_rows)
    blocked = split_into_blocks(features, size)
    limit = tolerance * jnp.mean(jnp.var(features, axis=0))

    def assign(centroids: Array) -> Array:
        columns = divide_into_lanes(centroids, 1, num_valid=num_clusters)
        nearest = lax.map(lambda block: smallest_scores(columns, block, 1)[1][:, 0], blocked)
        return nearest.reshape(-1)[: len(features)]

    def step(state: State) -> State:
        count, centroids, _, shift, _ = state
        done = (count == num_iterations) | (shift <= limit)
        assignments = assign(centroids)
        sums, sizes = _cluster_sums(features, assignments, num_rows)
        means = jnp.where(is_cluster[:, None], sums / jnp.maximum(sizes, 1)[:, None], centroids)
        is_empty = (sizes == 0) & is_cluster
        new = lax.cond(
            ~done & jnp.any(is_empty),
            lambda: _reseed_empty_clusters(features, centroids, assignments, means, is_empty),
            lambda: jnp.where(done, centroids, means),
        )
        shift = jnp.sum(jnp.square(new - centroids))
        return jnp.where(done, count, count + 1), new, assignments, shift, done

    # The last pass only assigns points. With it in the loop, the assignment is compiled once.
    unassigned = jnp.zeros(len(features), jnp.int32)
    start = (jnp.int32(0), centroids, unassigned, jnp.float32(jnp.inf), jnp.bool_(False))
    count, centroids, assignments, _, _ = lax.while_loop(lambda state: ~state[4], step, start)
    sizes = jnp.zeros(num_rows, jnp.int32).at[assignments].add(1)
    inertia = jnp.sum(_squared_distances(features, centroids, assignments))
    return KMeans(centroids, assignments, inertia, sizes, count)


def _cluster_sums(
    features: Float[Array, "n d"], assignments: Int[Array, "n"], num_clusters: int
) -> Sums:
    """Return two arrays: for each cluster, the sum of its points, and the number of its points."""
    return lax.platform_dependent(
        features,
        assignments,
        cpu=partial(_sums_by_scatter, num_clusters=num_clusters),
        default=partial(_sums_by_product, num_clusters=num_clusters),
    )


def _sums_by_scatter(
    features: Float[Array, "n d"], assignments: Int[Array, "n"], num_clusters: int
) -> Sums:
    sums = jax.ops.segment_sum(features, assignments, num_clusters)
    return sums, jnp.zeros(num_clusters).at[assignments].add(1.0)


def _sums_by_product(
    features: Float[Array, "n d"], assignments: Int[Array, "n"], num_clusters: int
) -> Sums:
    # A GPU's scatter adds in any order, so runs would differ; a matrix product is deterministic.
    size = block_rows(len(features), num_clusters)
    padded = split_into_blocks(jnp.pad(features, ((0, 0), (0, 1)), constant_values=1.0), size)
    owners = split_into_blocks(assignments[:, None], size)[:, :, 0]

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        rows, owner = block
        member = (owner[None, :] == jnp.arange(num_clusters)[:, None]).astype(jnp.float32)
        return total + jnp.matmul(member, rows, precision=lax.Precision.HIGHEST), None

    total = jnp.zeros((num_clusters, features.shape[1] + 1))
    total, _ = lax.scan(add, total, (padded, owners))
    return total[:, :-1], total[:, -1]


def _reseed_empty_clusters(
    features: Float[Array, "n d"],
    centroids: Float[Array, "k d"],
    assignments: Int[Array, "n"],
    means: Float[Array, "k d"],
    is_empty: Bool[Array, "k"],
) -> Float[Array, "k d"]:
    """Return the new centroids of a k-means step in which some clusters have lost all their points.

    The centroid of a cluster with points is their mean. The points that are farthest from the
    centroid of their cluster become the centroids of the empty clusters, the farthest point first.
    """
    squared = _squared_distances(features, centroids, assignments)
    farthest = lax.top_k(squared, len(centroids))[1]
    rank = jnp.cumsum(is_empty) - 1
    return jnp.where(is_empty[:, None], features[farthest[rank]], means)
