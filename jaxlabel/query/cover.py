"""Query strategies that cover the features by balls (ProbCover) or kernels (MaxHerding).

Each is the greedy maximisation of a monotone submodular function. Distances are computed in blocks,
so no n x n matrix is in memory.

The radius and the bandwidth are chosen without labels and shrink as the number of labels grows:
they are multiples of the median over the points of the distance to the (n / labels)-th neighbour,
so that the ball of each label holds about its share of the points. (ProbCover's own rule, the
largest radius at which balls are pure in k-means clusters, needs the number of classes.)
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxlabel.cluster.nearest import block_rows, split_into_blocks
from jaxlabel.query.seeding import CHUNK, draw_candidates, nearest_squared

# ProbCover's radius and MaxHerding's bandwidth as multiples of `ball_radius`. They gave the highest
# accuracy of a nearest-neighbour classifier with 10, 40, and 100 labels of 8,000 images of MNIST
# and Overhead-MNIST (64 principal components of pixels), among .6, .8, 1, 1.2 for the radius and
# .35, .5, .7, 1, 1.4, 2 for the bandwidth.
BALL, KERNEL = 0.8, 1.4
MOST_CANDIDATES = 10_000  # the size of MaxHerding's candidate sample
SAMPLE = 500  # points whose distances to all points `ball_radius` uses
CANDIDATES = 128  # the number of gains that the lazy greedy algorithm updates at once


def probcover(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Return the indices of up to `count` points to label whose balls cover the most points.

    This is ProbCover (Yehuda et al. 2022, algorithm 1). All balls have the same radius, 0.8 times
    the result of `ball_radius`. A point is covered if it lies in the ball around a labelled or
    chosen point. Each step chooses the point whose ball holds the most uncovered points. Fewer than
    `count` indices are returned if all points are covered.
    """
    features = features - jnp.mean(features, axis=0)
    squared_radius = (BALL * ball_radius(key, features, len(asked) + count)) ** 2
    uncovered = np.asarray(nearest_squared(features, asked)) > squared_radius
    degrees = _count_in_balls(features, uncovered, squared_radius)
    excluded = np.isin(np.arange(len(features)), asked)
    chosen: list[int] = []
    while len(chosen) < count and uncovered.any():
        best = int(np.argmax(np.where(excluded, 0, degrees)))
        chosen.append(best)
        excluded[best] = True
        newly_covered = uncovered & (
            np.asarray(_squared_to_point(features, best)) <= squared_radius
        )
        uncovered &= ~newly_covered
        # Each point is covered once, so all these counts together cost no more than the first one.
        degrees -= _count_in_balls(features, newly_covered, squared_radius)
    return np.array(chosen, np.int64)


def maxherding(
    key: Key[Array, ""], features: Float[Array, "n d"], count: int, asked: Int[np.ndarray, "m"]
) -> Int[np.ndarray, "count"]:
    """Return the indices of `count` points to label that add most to the coverage (MaxHerding).

    Bae et al. 2024. The coverage is sum_x max_s k(x, s), where x runs over all points and s over
    the points that are labelled or chosen. The kernel k(x, s) = exp(-|x - s|^2 / r^2) measures
    similarity, with r = 1.4 times the result of `ball_radius`. Each step chooses the candidate that
    adds most to the coverage. If there are more than 10,000 points, the candidates are a random
    sample of 10,000, or of 10 times `count` if that is more. Not every candidate's gain is
    recomputed in each step (lazy greedy, Minoux 1978): gains never grow from step to step, so only
    candidates whose old gain exceeds the best new one are updated. The result is the same.
    """
    features = features - jnp.mean(features, axis=0)
    scale = 1 / (KERNEL * ball_radius(key, features, len(asked) + count)) ** 2
    similarity = jnp.exp(-scale * jnp.asarray(nearest_squared(features, asked)))
    pool = draw_candidates(key, len(features), count, asked, MOST_CANDIDATES)
    gains = np.array(_all_gains(features, similarity, features[pool], scale))
    chosen: list[int] = []
    for _ in range(count):
        place = _argmax_gain(features, similarity, scale, pool, gains)
        gains[place] = -np.inf
        chosen.append(int(pool[place]))
        similarity = _add_to_cover(features, similarity, scale, chosen[-1])
    return np.array(chosen, np.int64)


def ball_radius(key: Key[Array, ""], features: Float[Array, "n d"], num_labels: int) -> float:
    """Return a radius such that a ball around a typical point holds n / num_labels of the n points.

    It is the median distance of a point to its (n / num_labels)-th nearest other point. The median
    is over a random sample of 500 points.

    Args:
      features: one point per row.
      num_labels: the number of labelled points, including those to be labelled next.
    """
    num_points = len(features)
    sample = jax.random.choice(key, num_points, (min(SAMPLE, num_points),), replace=False)
    squared = np.array(_squared_distances(features, features[sample]))
    rank = min(max(1, round(num_points / num_labels)), num_points - 1)
    ranked = np.partition(squared, rank, axis=1)[:, rank]  # rank 0 is the point itself
    return float(np.sqrt(max(np.median(ranked), np.finfo(np.float32).tiny)))


@jax.jit
def _squared_to_point(features: Float[Array, "n d"], index: Int[Array, ""]) -> Float[Array, "n"]:
    return jnp.sum(jnp.square(features - features[index]), axis=1)


@jax.jit
def _squared_distances(
    features: Float[Array, "n d"], points: Float[Array, "m d"]
) -> Float[Array, "m n"]:
    norms = jnp.sum(jnp.square(features), axis=1)
    products = jnp.matmul(points, features.T, precision=lax.Precision.HIGHEST)
    products = lax.optimization_barrier(products)  # without it, recomputed for each use
    point_norms = jnp.sum(jnp.square(points), axis=1)[:, None]
    return jnp.maximum(point_norms + norms - 2 * products, 0.0)


def _count_in_balls(
    features: Float[Array, "n d"], members: Bool[np.ndarray, "n"], squared_radius: float
) -> Int[np.ndarray, "n"]:
    """Return, for each point, the number of `members` within a given distance of it.

    Args:
      features: one point per row.
      members: a boolean mask of the points to count.
      squared_radius: the square of the distance.
    """
    counts = np.zeros(len(features), np.int64)
    indices = np.flatnonzero(members)
    while len(indices):
        size = 8 * CHUNK if len(indices) > 4 * CHUNK else CHUNK
        chunk, indices = indices[:size], indices[size:]
        points = features[np.resize(chunk, size)]
        counts += np.asarray(_count(features, points, np.arange(size) < len(chunk), squared_radius))
    return counts


@jax.jit
def _count(
    features: Float[Array, "n d"],
    points: Float[Array, "c d"],
    is_real: Bool[Array, "c"],
    squared_radius: Float[Array, ""],
) -> Int[Array, "n"]:
    # Sum over the first axis: over the last axis, a CPU adds one number at a time.
    def count(rows: Float[Array, "b d"]) -> Int[Array, "b"]:
        inside = (_squared_distances(rows, points) <= squared_radius) & is_real[:, None]
        return jnp.sum(inside, axis=0, dtype=jnp.int32)

    rows = split_into_blocks(features, block_rows(len(features), len(points)))
    return lax.map(count, rows).reshape(-1)[: len(features)]


def _argmax_gain(
    features: Float[Array, "n d"],
    similarity: Float[Array, "n"],
    scale: float,
    pool: Int[np.ndarray, "p"],
    gains: Float[np.ndarray, "p"],
) -> int:
    """Return the candidate that adds most to the coverage, as a position in `pool`.

    The coverage is the sum of `similarity` over all points, and a candidate's gain is how much it
    would raise this sum. The function is lazy: it recomputes only the gains of candidates whose
    upper bound could be the largest, and writes them into `gains`.

    Args:
      features: one point per row.
      similarity: for each point, its kernel value with the most similar labelled or chosen point.
      scale: the factor of the squared distance in the kernel's exponent.
      pool: the indices of the candidates.
      gains: an upper bound of each candidate's gain; minus infinity if it is chosen already.
    """
    best, best_gain = -1, -np.inf
    size = min(CANDIDATES, len(gains))
    order = np.argsort(-gains, kind="stable")
    for start in range(0, len(order), size):
        candidates = order[start : start + size]
        if gains[candidates[0]] <= best_gain or np.isneginf(gains[candidates[0]]):
            break
        rows = features[pool[np.resize(candidates, size)]]
        renewed = np.asarray(_gains(features, similarity, rows, scale))[: len(candidates)]
        renewed = np.where(np.isneginf(gains[candidates]), -np.inf, renewed)
        gains[candidates] = renewed
        if renewed.max() > best_gain:
            best, best_gain = int(candidates[np.argmax(renewed)]), float(renewed.max())
    return best


@jax.jit
def _gains(
    features: Float[Array, "n d"],
    similarity: Float[Array, "n"],
    candidates: Float[Array, "c d"],
    scale: Float[Array, ""],
) -> Float[Array, "c"]:
    size = block_rows(len(features), len(candidates))
    # Padded rows have the largest possible similarity, so they add nothing to the gains.
    held = jnp.pad(similarity, (0, -len(similarity) % size), constant_values=1.0)

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        rows, held = block
        kernel = jnp.exp(-scale * _squared_distances(candidates, rows))
        return total + jnp.sum(jnp.maximum(kernel - held[:, None], 0.0), axis=0), None

    rows = split_into_blocks(features, size)
    return lax.scan(add, jnp.zeros(len(candidates)), (rows, held.reshape(-1, size)))[0]


@jax.jit
def _all_gains(
    features: Float[Array, "n d"],
    similarity: Float[Array, "n"],
    points: Float[Array, "p d"],
    scale: Float[Array, ""],
) -> Float[Array, "p"]:
    candidates = split_into_blocks(points, min(4 * CANDIDATES, len(points)))
    gains = lax.map(lambda rows: _gains(features, similarity, rows, scale), candidates)
    return gains.reshape(-1)[: len(points)]


@jax.jit
def _add_to_cover(
    features: Float[Array, "n d"],
    similarity: Float[Array, "n"],
    scale: Float[Array, ""],
    index: Int[Array, ""],
) -> Float[Array, "n"]:
    return jnp.maximum(similarity, jnp.exp(-scale * _squared_to_point(features, index)))
