"""k-means (k-means++ and Lloyd) and medoids on the device."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key

from jaxlabel.cluster.nearest import block_rows, blocks, shard, smallest
from jaxlabel.errors import DataError, UsageError

Sums = tuple[Float[Array, "k d"], Float[Array, "k"]]
State = tuple[Array, Array, Array, Array, Array]  # count, centroids, assignments, shift, done


class KMeans(NamedTuple):
    """A clustering: each point belongs to its nearest centroid."""

    centroids: Float[Array, "k d"]
    assignments: Int[Array, "n"]
    inertia: Float[Array, ""]  # sum of squared distances to the own centroid
    sizes: Int[Array, "k"]  # 0 is possible only where there are fewer distinct points than k
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
    """The best of `num_init` runs of Lloyd's algorithm (Lloyd 1982) by inertia.

    Starts are drawn by greedy k-means++ (Arthur & Vassilvitskii 2007) on a random subsample, or
    are the given `init`. A cluster that loses all its points starts again at the point that is
    farthest from its centroid. The same key gives the same result, bit for bit.

    Args:
      num_iterations: the most updates of the centroids in a run.
      tolerance: stop when the centroids' summed squared shift is at most this times the features'
        mean variance (scikit-learn's rule); 0 stops only when nothing moves.

    Raises:
      UsageError: more clusters than points, or an `init` of another shape.
      DataError: features that are not finite.
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
        raise DataError("k-means was given features that are not finite: look for NaN or inf")
    return result


def medoids(
    features: Float[Array, "n d"], centroids: Float[Array, "k d"], assignments: Int[Array, "n"]
) -> Int[Array, "k"]:
    """The index of each cluster's point nearest to its centroid; -1 where a cluster is empty.

    Of equally near points it is the first.
    """
    return _medoids(jnp.asarray(features), centroids, assignments)


def distances(
    features: Float[Array, "n d"], centroids: Float[Array, "k d"], assignments: Int[Array, "n"]
) -> Float[Array, "n"]:
    """Each point's Euclidean distance to the centroid of its cluster."""
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
    # centred features lose fewer digits in |c|^2 / 2 - x . c
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
    blocked = blocks(features, size)
    limit = tolerance * jnp.mean(jnp.var(features, axis=0))

    def assign(centroids: Array) -> Array:
        columns = shard(centroids, 1)
        nearest = lax.map(lambda block: smallest(columns, block, 1)[1][:, 0], blocked)
        return nearest.reshape(-1)[: len(features)]

    def step(state: State) -> State:
        count, centroids, _, shift, _ = state
        done = (count == num_iterations) | (shift <= limit)
        assignments = assign(centroids)
        sums, sizes = _sums(features, assignments, num_clusters)
        means = sums / jnp.maximum(sizes, 1)[:, None]
        new = lax.cond(
            ~done & jnp.any(sizes == 0),
            lambda: _reseed(features, centroids, assignments, means, sizes),
            lambda: jnp.where(done, centroids, means),
        )
        shift = jnp.sum(jnp.square(new - centroids))
        return jnp.where(done, count, count + 1), new, assignments, shift, done

    # the last pass only assigns: written so, the assignment is compiled once
    nowhere = jnp.zeros(len(features), jnp.int32)
    start = (jnp.int32(0), centroids, nowhere, jnp.float32(jnp.inf), jnp.bool_(False))
    count, centroids, assignments, _, _ = lax.while_loop(lambda state: ~state[4], step, start)
    sizes = jnp.zeros(num_clusters, jnp.int32).at[assignments].add(1)
    inertia = jnp.sum(_squared_distances(features, centroids, assignments))
    return KMeans(centroids, assignments, inertia, sizes, count)


def _sums(features: Float[Array, "n d"], assignments: Int[Array, "n"], num_clusters: int) -> Sums:
    """The sum and the number of the points of each cluster."""
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
    # a GPU's scatter adds in any order, so that two runs differ; a matrix product does not
    size = block_rows(len(features), num_clusters)
    padded = blocks(jnp.pad(features, ((0, 0), (0, 1)), constant_values=1.0), size)
    owners = blocks(assignments[:, None], size)[:, :, 0]

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        rows, owner = block
        member = (owner[None, :] == jnp.arange(num_clusters)[:, None]).astype(jnp.float32)
        return total + jnp.matmul(member, rows, precision=lax.Precision.HIGHEST), None

    total = jnp.zeros((num_clusters, features.shape[1] + 1))
    total, _ = lax.scan(add, total, (padded, owners))
    return total[:, :-1], total[:, -1]


def _reseed(
    features: Float[Array, "n d"],
    centroids: Float[Array, "k d"],
    assignments: Int[Array, "n"],
    means: Float[Array, "k d"],
    sizes: Float[Array, "k"],
) -> Float[Array, "k d"]:
    """The means, and for the empty clusters the points farthest from their centroids, in order."""
    squared = _squared_distances(features, centroids, assignments)
    farthest = lax.top_k(squared, len(centroids))[1]
    rank = jnp.cumsum(sizes == 0) - 1
    return jnp.where((sizes == 0)[:, None], features[farthest[rank]], means)


def _plus_plus(
    key: Key[Array, ""], features: Float[Array, "n d"], num_clusters: int
) -> Float[Array, "k d"]:
    """Greedy k-means++ starts from a subsample: each the best of a few drawn by squared distance.

    20 points for each cluster to be found suffice for the start; Lloyd sees all of them.
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
        # "<=" never draws a point of distance 0 while another is left
        passed = cumulative <= (draws[step] * cumulative[-1])[:, None]
        candidates = jnp.minimum(jnp.sum(passed, axis=1), num_points - 1)
        after = jnp.minimum(nearest, to_points(candidates))
        best = jnp.argmin(jnp.sum(after, axis=1))
        return chosen.at[step].set(candidates[best]), after[best]

    first = (draws[0, 0] * num_points).astype(jnp.int32)
    chosen = jnp.zeros(num_clusters, jnp.int32).at[0].set(first)
    chosen, _ = lax.fori_loop(1, num_clusters, choose, (chosen, to_points(first[None])[0]))
    return sample[chosen]
