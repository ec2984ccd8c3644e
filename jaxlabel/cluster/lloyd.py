"""k-means clustering (k-means++ starts and Lloyd's algorithm) and medoids on the device."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from jaxlabel.cluster.nearest import (
    block_rows,
    divide_into_lanes,
    smallest_scores,
    split_into_blocks,
)
from jaxlabel.errors import DataError, UsageError

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
    init: Float[Array, "k d"] | None = None,
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
    starts = None if init is None else jnp.asarray(init, jnp.float32)
    keys = jax.random.split(key, num_init if init is None else 1)
    result = _best_run(keys, features, num_clusters, starts, num_iterations, tolerance)
    if not jnp.isfinite(result.inertia):
        raise DataError(
            "k-means needs finite features, but these are not finite: look for NaN or inf"
        )
    return result


def medoids(
    features: Float[Array, "n d"], centroids: Float[Array, "k d"], assignments: Int[Array, "n"]
) -> Int[Array, "k"]:
    """Return the index of the medoid of each cluster: its point nearest to the centroid.

    Of several equally near points, the one with the smallest index is the medoid. The index is -1
    for an empty cluster.
    """
    return _medoids(jnp.asarray(features), centroids, assignments)


def distances(
    features: Float[Array, "n d"], centroids: Float[Array, "k d"], assignments: Int[Array, "n"]
) -> Float[Array, "n"]:
    """Return the Euclidean distance of each point to the centroid of its own cluster.

    Args:
      features: one point per row.
      centroids: the centroid of each cluster.
      assignments: for each point, the index of its cluster.
    """
    return jnp.sqrt(_squared_distances(jnp.asarray(features), centroids, assignments))


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
    starts: Float[Array, "k d"] | None,
    num_iterations: int,
    tolerance: float,
) -> KMeans:
    # Centre the features: the scores |c|^2 / 2 - x . c then lose fewer digits.
    mean = jnp.mean(features, axis=0)
    features = features - mean

    def run(key: Array) -> KMeans:
        start = _plus_plus(key, features, num_clusters) if starts is None else starts - mean
        return _lloyd(features, start, num_iterations, tolerance)

    if len(keys) == 1:
        best = run(keys[0])
        return best._replace(centroids=best.centroids + mean)
    runs = lax.map(run, keys)
    best = jax.tree.map(lambda leaf: leaf[jnp.argmin(runs.inertia)], runs)
    return best._replace(centroids=best.centroids + mean)


def _lloyd(
    features: Float[Array, "n d"],
    centroids: Float[Array, "k d"],
    num_iterations: int,
    tolerance: float,
) -> KMeans:
    num_clusters = len(centroids)
    size = block_rows(len(features), num_clusters)
    blocked = split_into_blocks(features, size)
    limit = tolerance * jnp.mean(jnp.var(features, axis=0))

    def assign(centroids: Array) -> Array:
        columns = divide_into_lanes(centroids, 1)
        nearest = lax.map(lambda block: smallest_scores(columns, block, 1)[1][:, 0], blocked)
        return nearest.reshape(-1)[: len(features)]

    def step(state: State) -> State:
        count, centroids, _, shift, _ = state
        done = (count == num_iterations) | (shift <= limit)
        assignments = assign(centroids)
        sums, sizes = _cluster_sums(features, assignments, num_clusters)
        means = sums / jnp.maximum(sizes, 1)[:, None]
        new = lax.cond(
            ~done & jnp.any(sizes == 0),
            lambda: _reseed_empty_clusters(features, centroids, assignments, means, sizes),
            lambda: jnp.where(done, centroids, means),
        )
        shift = jnp.sum(jnp.square(new - centroids))
        return jnp.where(done, count, count + 1), new, assignments, shift, done

    # The last pass only assigns points. With it in the loop, the assignment is compiled once.
    unassigned = jnp.zeros(len(features), jnp.int32)
    start = (jnp.int32(0), centroids, unassigned, jnp.float32(jnp.inf), jnp.bool_(False))
    count, centroids, assignments, _, _ = lax.while_loop(lambda state: ~state[4], step, start)
    sizes = jnp.zeros(num_clusters, jnp.int32).at[assignments].add(1)
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
    sizes: Float[Array, "k"],
) -> Float[Array, "k d"]:
    """Return the new centroids of a k-means step in which some clusters have lost all their points.

    The centroid of a cluster with points is their mean. The points that are farthest from the
    centroid of their cluster become the centroids of the empty clusters, the farthest point first.
    """
    squared = _squared_distances(features, centroids, assignments)
    farthest = lax.top_k(squared, len(centroids))[1]
    rank = jnp.cumsum(sizes == 0) - 1
    return jnp.where((sizes == 0)[:, None], features[farthest[rank]], means)


def _plus_plus(
    key: Key[Array, ""], features: Float[Array, "n d"], num_clusters: int
) -> Float[Array, "k d"]:
    """Choose initial centroids for k-means by greedy k-means++ on a random subsample of the points.

    Each step draws a few candidate points, with probabilities proportional to their squared
    distance to the nearest of the centroids chosen before. The candidate that lowers the inertia
    most becomes a centroid. (The inertia is the sum of the squared distances of all points to their
    nearest centroid.) The subsample has 20 points per cluster, but at least 4,096 points. It need
    not have more, because k-means then improves the centroids on all points.
    """
    num_candidates = 2 + num_clusters.bit_length() // 2
    num_points = min(len(features), max(20 * num_clusters, 4096))
    sample_key, draw_key = jax.random.split(key)
    sample = features
    if num_points < len(features):
        sample = features[jax.random.randint(sample_key, (num_points,), 0, len(features))]
    half = 0.5 * jnp.sum(jnp.square(sample), axis=1)
    draws = jax.random.uniform(draw_key, (num_clusters, num_candidates))

    def to_points(indices: Array) -> Array:
        products = jnp.matmul(sample[indices], sample.T, precision=lax.Precision.HIGHEST)
        return jnp.maximum(half + half[indices][:, None] - products, 0.0)

    def choose(step: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, nearest = state
        cumulative = jnp.cumsum(nearest)
        # With "<=", no point of distance 0 is drawn while there are other points.
        passed = cumulative <= (draws[step] * cumulative[-1])[:, None]
        candidates = jnp.minimum(jnp.sum(passed, axis=1), num_points - 1)
        after = jnp.minimum(nearest, to_points(candidates))
        best = jnp.argmin(jnp.sum(after, axis=1))
        return chosen.at[step].set(candidates[best]), after[best]

    first = (draws[0, 0] * num_points).astype(jnp.int32)
    chosen = jnp.zeros(num_clusters, jnp.int32).at[0].set(first)
    chosen, _ = lax.fori_loop(1, num_clusters, choose, (chosen, to_points(first[None])[0]))
    return sample[chosen]
